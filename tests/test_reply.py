"""The reply to the thread fits a mail and leaves nothing out in silence."""

import pandas as pd
import pytest

from swaplib.analysis.reply import reply_text

SHORT = ["start with the first?", "why two?"]
ASKED = pd.DataFrame({"question": ["Q1", "Q2"], "short": SHORT, "asked_by": ["Barry Song"] * 2})
SENTENCE = "Less than the noise, simulated. " * 4
FOUND = pd.DataFrame({"question": ["Q1"], "verdict": ["undecided"], "sentence": [SENTENCE]})


def test_a_reply_quotes_each_question_in_72_columns_and_counts_those_without_an_answer():
    lines = reply_text("Hi,", ASKED, FOUND, "To reproduce:\n  run 06").splitlines()
    assert max(map(len, lines)) <= 72
    wanted = {"> Q1 (Barry Song): start with the first?", "  run 06", "Not answered: 1 of 2 questions."}
    assert wanted <= set(lines)


def test_an_answer_says_its_verdict_before_its_sentence():
    assert "first?\nUndecided. Less than the noise" in reply_text("Hi,", ASKED, FOUND, "")


@pytest.mark.parametrize(("line", "words"), [(" " + "x" * 72, "73 columns"), ("x\n\n" * 60, "at most 120")])
def test_a_reply_that_no_mail_should_have_is_refused(line, words):
    with pytest.raises(ValueError, match=words):
        reply_text(line, ASKED, FOUND, "")
