"""The report needs nothing from outside, escapes what it shows, and hides no failure."""

import json
import re
from html.parser import HTMLParser

import nbformat
import pytest
from small_collection import BROKEN, write_collection

from swaplib.answers import finding
from swaplib.report import keep, kept, open_results, write_report
from swaplib.run import Execution, UsageError, collection

PICTURE = "iVBORw0KGgo="
SHOW = "# 06 · Show\n\nWhat?\n\n![a picture](a.png)\n\n[Dice](01_dice.ipynb#x) [none](09_no.ipynb)"


class Addresses(HTMLParser):
    """Collect every address from which a page would load something, its links and its tags."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.links, self.tags = re.findall(r"@import[^;]*|(?<=url\()[^)]*", text), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if tag == "a" and name == "href":
                self.links.append(value)
            elif name in ("src", "href", "srcset", "poster", "data", "action", "xlink:href") and value:
                self.loaded.append(value)


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    """Make a collection of which one notebook shows a picture, and one fails."""
    more = {"03_broken": BROKEN, "06_show": [("", SHOW), ("", "1")]}
    folder = write_collection(tmp_path / "notebooks", **more)
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    monkeypatch.setenv("SWAPLIB_NOTEBOOKS", str(folder))
    return collection()


@pytest.fixture
def written(notebooks, tmp_path):
    """Write a report on outputs made by hand: two answered, one failed, one did not start."""
    _, dice, coins, broken, show = notebooks
    results = tmp_path / "results"
    results.mkdir()
    answer = finding("Q2", "It is <b>3</b> & more.", values={}, verdict="a < b")._repr_mimebundle_()
    first = finding("Q1", "Yes.", values={}, verdict="yes")._repr_mimebundle_()
    failed = {"output_type": "error", "ename": "ValueError", "evalue": "<script>x</script>", "traceback": []}
    keep(results, Execution(dice, stored(dice, {"data": answer}), "", 1.26))
    keep(results, Execution(show, stored(show, {"data": first}, {"data": {"image/png": PICTURE}}), "", 1))
    keep(results, Execution(coins, "", "did not start: no <kernel>", 0.5))
    keep(results, Execution(broken, stored(broken, failed), "cell [3]", 2))
    index = write_report(results, notebooks)
    return {path.stem: path.read_text() for path in index.parent.glob("*.html")}


def stored(notebook, *outputs):
    """Return a notebook's text with outputs in its last cell, which was executed."""
    executed = nbformat.read(notebook.path, 4)
    display = {"output_type": "display_data", "metadata": {}}
    executed.cells[-1].outputs = [nbformat.from_dict({**display, **output}) for output in outputs]
    for output in executed.cells[-1].outputs:
        if output.output_type == "error":
            del output["metadata"]
    executed.cells[-1].execution_count = 3
    return nbformat.writes(executed)


def test_every_page_is_whole_and_a_policy_forbids_to_load_anything(written):
    assert set(written) == {"index", "01_dice", "02_coins", "03_broken", "06_show"}
    for text in written.values():
        found = Addresses(text)
        assert [address for address in found.loaded if not address.startswith("data:")] == []
        assert "script" not in found.tags
        assert re.search("<meta [^>]*content=\"default-src 'none'; ", text)
    assert sum(address.startswith("data:image/png") for address in Addresses(written["06_show"]).loaded) == 2


def test_every_link_leads_somewhere_and_what_the_report_lacks_becomes_text(written):
    for text in written.values():
        anchors = re.findall(r' id="([^"]*)"', text)
        for link in Addresses(text).links:
            page, _, anchor = link.partition("#")
            assert page.removesuffix(".html") in written if page else anchor in anchors
    assert "01_dice.html#x" in Addresses(written["06_show"]).links
    assert re.search(r"\bnone\b", written["06_show"])


def test_code_is_folded_and_parameters_are_shown(written):
    assert written["01_dice"].count('<details open="">') == 1
    assert written["01_dice"].index("<summary>Parameters") < written["01_dice"].index("throws")
    assert "<summary>Code, cell 3</summary>" in written["01_dice"]


def test_the_front_page_shows_question_answer_verdict_and_key_figure(written):
    text = written["index"]
    assert "How many sides has the die, and why?" in text
    assert "It is &lt;b&gt;3&lt;/b&gt; &amp; more." in text
    assert "<strong>a &lt; b</strong>" in text
    assert text.count(PICTURE) == 1
    assert re.findall(r"<tr><td>(Q\d+)", text) == ["Q2", "Q1", "Q2"], "one of the five, then all"


def test_a_failure_is_shown_with_its_error_escaped(written):
    for page in ("index", "03_broken"):
        assert "Failed: ValueError: &lt;script&gt;x&lt;/script&gt;" in written[page]
    for page in ("index", "02_coins"):
        assert "did not start: no &lt;kernel&gt;" in written[page]


def test_what_a_cell_tagged_reply_prints_stands_in_a_file(notebooks, tmp_path):
    executed = nbformat.reads(stored(notebooks[1]), 4)
    executed.cells[-1].metadata["tags"] = ["reply"]
    executed.cells[-1].outputs = [nbformat.v4.new_output("stream", text="Hi,\n")]
    keep(tmp_path, Execution(notebooks[1], nbformat.writes(executed), "", 1))
    write_report(tmp_path, notebooks)
    assert (tmp_path / "reply.txt").read_text() == "Hi,\n"


@pytest.mark.parametrize("text", ["", '{"cells": [', "[]", '{"cells": [], "metadata": 3}', "\x00"])
def test_a_damaged_notebook_is_said_and_left_out_and_nothing_is_removed(text, notebooks, tmp_path, capsys):
    results = tmp_path / "results"
    results.mkdir()
    keep(results, Execution(notebooks[1], stored(notebooks[1]), "", 1))
    (results / "02_coins.ipynb").write_text(text)
    (results / "77_mine.ipynb").write_text("{}")
    (results / "manifest.json").write_text(json.dumps({"../x": 1}))
    assert set(kept(results, notebooks)) == {"01_dice"}
    assert "02_coins.ipynb is damaged and left out; `run 02` makes it anew" in capsys.readouterr().err
    assert "02_coins" not in write_report(results, notebooks).read_text()
    assert (results / "77_mine.ipynb").exists()


def test_a_folder_of_somebody_else_or_of_a_run_that_goes_on_is_left_as_it_is(notebooks, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    for name, words in (("mine", "files that are not from a former run"), ("used", "another run writes")):
        with open_results(tmp_path / "used"), pytest.raises(UsageError, match=words):
            open_results(tmp_path / name).__enter__()
    with open_results(tmp_path / "used"):  # as soon as it has ended
        assert len(list((tmp_path / "used").iterdir())) == 1
