"""The reply to the thread fits a mail and leaves nothing out in silence."""

import pandas as pd
import pytest

from swaplib.analysis.reply import reply_text

ASKED = pd.DataFrame(
    {"question": ["Q1", "Q2"], "short": ["start with the first?", "why two?"], "asked_by": ["Barry Song"] * 2}
)
FOUND = pd.DataFrame(
    {"question": ["Q1"], "sentence": ["Simulated: " + "no difference that is above the noise " * 4]}
)


def test_a_reply_quotes_each_question_in_72_columns_and_counts_those_without_an_answer():
    lines = reply_text("Hi,", ASKED, FOUND, "a  b\n1  2", "To reproduce:\n  run 06").splitlines()
    assert max(map(len, lines)) <= 72
    wanted = {
        "> Q1 (Barry Song): start with the first?",
        "a  b",
        "  run 06",
        "Not answered: 1 of 2 questions.",
    }
    assert wanted <= set(lines)


@pytest.mark.parametrize(("table", "words"), [("x" * 73, "73 columns"), ("x\n" * 200, "lines; at most 120")])
def test_a_reply_that_no_mail_should_have_is_refused(table, words):
    with pytest.raises(ValueError, match=words):
        reply_text("Hi,", ASKED, FOUND, table, "")
