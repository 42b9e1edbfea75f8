"""The report needs nothing from outside, escapes what it shows, and hides no failure."""

import re
from html.parser import HTMLParser

import nbformat
import pandas as pd
import pytest
from small_collection import BROKEN, DICE, write_collection, write_notebook

from swaplib import cli
from swaplib.answers import finding
from swaplib.execution import Execution
from swaplib.notebooks import collection
from swaplib.report import _align_words, write_report
from swaplib.results import Results

PICTURE = b"\x89PNG\r\n\x1a\n" + b"\0" * 16

SHOW = [
    (
        "",
        "# 06 · Show\n\nWhat does a page hold?\n\n"
        "![a picture](figures/a.png)\n\n[Dice](01_dice.ipynb) and [more](https://kernel.org)",
    ),
    (
        "",
        """
        import matplotlib.pyplot as plt
        import pandas as pd
        from IPython.display import SVG, display

        display(pd.DataFrame({"entries": [1, 2]}).style.set_caption("styled"))
        display(SVG('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'))
        plt.plot([1, 2])
        plt.show()
        """,
    ),
]


class Addresses(HTMLParser):
    """Collect every address from which a page would load something, and count its pictures."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.links, self.tags = [], [], []
        self.feed(text)
        self.loaded += re.findall(r"@import[^;]*|(?<=url\()[^)]*", text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if tag == "a" and name == "href":
                self.links.append(value)
            elif name in ("src", "href", "srcset", "poster", "data", "action", "xlink:href") and value:
                self.loaded.append(value)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Run notebooks for real, with a table, a figure, a drawing and a picture."""
    place = tmp_path_factory.mktemp("real")
    (place / "notebooks" / "figures").mkdir(parents=True)
    (place / "notebooks" / "figures" / "a.png").write_bytes(PICTURE)
    write_notebook(place / "notebooks" / "01_dice.ipynb", DICE)
    write_notebook(place / "notebooks" / "06_show.ipynb", SHOW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWAPLIB_NOTEBOOKS", str(place / "notebooks"))
        assert cli.main(["run"]) == 0
    return {path.stem: path.read_text() for path in (place / "results").glob("*.html")}


def test_no_script_style_image_or_import_has_an_external_address(real):
    assert set(real) == {"index", "01_dice", "06_show"}
    for text in real.values():
        assert [address for address in Addresses(text).loaded if not address.startswith("data:")] == []


def test_no_page_holds_a_script(real):
    for text in real.values():
        assert "script" not in Addresses(text).tags


def test_figures_and_pictures_are_inside_the_page(real):
    found = Addresses(real["06_show"])
    assert sorted(address.split(";")[0] for address in found.loaded) == [
        "data:image/png",
        "data:image/png",
        "data:image/svg+xml",
    ]
    assert "table" in found.tags


def test_a_link_to_a_notebook_leads_to_its_page(real):
    assert "01_dice.html" in Addresses(real["06_show"]).links
    assert "https://kernel.org" in Addresses(real["06_show"]).links


def test_every_link_inside_the_report_leads_somewhere(real):
    for text in real.values():
        for link in Addresses(text).links:
            assert link.startswith(("https://", "#")) or link.removesuffix(".ipynb").removesuffix(".html") in real


def test_columns_of_words_and_their_heads_are_marked_and_columns_of_numbers_are_not():
    frame = pd.DataFrame({"n": [1, 2], "verdict": ["equal", "x"], "share": [0.5, None]}, index=["first", "second"])
    marked = _align_words(frame.to_html())
    assert re.findall(r'class="text">([^<]*)<', marked) == ["verdict", "equal", "x"]
    assert marked.replace(' class="text"', "") == frame.to_html()


@pytest.fixture
def written(tmp_path):
    """Write a report on outputs made by hand: one answered, one failed, one that did not start."""
    notebooks = collection(write_collection(tmp_path / "notebooks", **{"03_broken": BROKEN}))
    results = Results(tmp_path / "results", notebooks)
    bundle = finding("Q1", "It is <b>3</b> & more.", values={}, verdict="a < b")._repr_mimebundle_()
    _, dice, coins, broken = notebooks
    results.keep(Execution(dice, {"label": "<i>"}, stored(dice, "execute_result", data=bundle), None, 1.26))
    results.keep(Execution(coins, {}, None, "did not start: no <kernel>", 0.5))
    error = {"ename": "ValueError", "evalue": "<script>x</script>", "traceback": ["ValueError: <script>x</script>"]}
    output = stored(broken, "error", **error)
    results.keep(Execution(broken, {}, output, "cell [3]: ValueError: <script>x</script>", 2))
    return write_report(results, notebooks)


def stored(notebook, output_type, **content):
    """Return a notebook's text with one output in its last cell."""
    executed = nbformat.read(notebook.path, 4)
    executed.cells[-1].outputs = [nbformat.v4.new_output(output_type, **content)]
    return nbformat.writes(executed)


def test_the_front_page_shows_question_answer_verdict_time_and_parameters(written):
    text = written.read_text()
    assert "How many sides has the die, and why?" in text
    assert "It is &lt;b&gt;3&lt;/b&gt; &amp; more." in text
    assert "a &lt; b" in text
    assert "1.3 s" in text
    assert "label = &lt;i&gt;" in text


def test_what_did_not_run_is_not_in_the_report(written):
    assert "00_start" not in written.read_text()
    assert not (written.parent / "00_start.html").exists()


def test_a_failed_notebook_is_shown_as_failed_with_its_error_escaped(written):
    for name in ("index", "03_broken"):
        text = (written.parent / f"{name}.html").read_text()
        assert "ailed</strong>" in text
        assert "cell [3]: ValueError: &lt;script&gt;x&lt;/script&gt;" in text
        assert "<script>" not in text


def test_a_notebook_that_did_not_start_has_a_page_that_says_so(written):
    assert "did not start: no &lt;kernel&gt;" in (written.parent / "02_coins.html").read_text()
    assert Addresses(written.read_text()).links.count("02_coins.ipynb") == 0


def test_pages_lead_to_their_neighbours(written):
    links = Addresses((written.parent / "02_coins.html").read_text()).links
    assert {"01_dice.html", "03_broken.html", "index.html"} <= set(links)


def test_every_page_states_a_policy_that_forbids_loading(written):
    for path in written.parent.glob("*.html"):
        assert '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; ' in path.read_text()
