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
from swaplib.page_body import Body, first_figure, notebook_body, text_body
from swaplib.report import write_report
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
    assert set(real) == {"index", "01_dice", "06_show", "data", "measurements", "model"}
    for text in real.values():
        assert [address for address in Addresses(text).loaded if not address.startswith("data:")] == []


def test_no_page_holds_a_script(real):
    for text in real.values():
        assert "script" not in Addresses(text).tags


def test_figures_and_pictures_are_inside_the_page(real):
    found = Addresses(real["06_show"])
    assert sorted(address.split(";")[0] for address in found.loaded if address != "data:,") == [
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
            assert (
                link.startswith(("https://", "#"))
                or link.removesuffix(".ipynb").removesuffix(".html") in real
            )


def test_code_is_folded_and_parameters_are_shown(real):
    assert real["01_dice"].count('<details class="code" open="">') == 1
    assert real["01_dice"].index("Parameters, cell 1") < real["01_dice"].index("throws")
    assert '<details class="code"><summary>Code, cell 2</summary>' in real["01_dice"]


def test_a_notebooks_title_stands_once(real):
    assert real["01_dice"].count("<h1>") == 1
    assert '<h1><span class="number">01</span>Dice</h1>' in real["01_dice"]


def test_a_page_names_its_place_and_the_front_page_its_language(real):
    assert '<a href="data.html" aria-current="page">Data</a>' in real["data"]
    for text in real.values():
        assert '<html lang="en">' in text
        assert text.count('<main id="content">') == 1
        assert '<a class="skip" href="#content">' in text


def test_every_picture_has_a_text_for_those_who_do_not_see_it(real):
    for text in real.values():
        for picture in re.findall(r"<img[^>]*>", text):
            assert re.search(r'alt="[^"]{3,}"', picture), picture[-200:]
    assert 'alt="a picture"' in real["06_show"]


def test_the_texts_on_data_and_model_are_pages(real):
    assert "Everything the notebooks reason about" in real["data"]
    assert "measurements.html" in Addresses(real["data"]).links
    assert "<h1>Measurements of process exit" in real["measurements"]
    assert "The simulator, file by file" in real["model"]
    assert "¶" not in "".join(real.values())
    assert re.findall(r"<h2[^>]*>(.*?)</h2>", real["data"]) == ["Files", "Columns"]


def body(*cells, links=None, tmp_path):
    """Convert a notebook of markdown texts and (source, html output) pairs."""
    made = []
    for count, cell in enumerate(cells, 1):
        if isinstance(cell, str):
            made.append(nbformat.v4.new_markdown_cell(cell))
        else:
            output = nbformat.v4.new_output("display_data", data={"text/html": cell[1]})
            made.append(nbformat.v4.new_code_cell(cell[0], outputs=[output], execution_count=count))
    path = tmp_path / "07_x.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=made), path)
    return notebook_body(path, tmp_path, links or {})


def test_columns_of_words_their_heads_and_the_index_are_marked_and_columns_of_numbers_are_not(tmp_path):
    frame = pd.DataFrame(
        {"n": [1, 2], "verdict": ["equal", "x"], "share": [0.5, None]}, index=["first", "second"]
    )
    made = body(("frame", frame.rename_axis("place").to_html()), tmp_path=tmp_path).html
    marked = re.findall(r'<t[hd] class="text[^>]*>([^<]*)<', made)
    assert [word for word in marked if word] == ["verdict", "place", "first", "equal", "second", "x"]


def test_names_in_a_table_are_not_broken_at_a_hyphen_and_sentences_may_be(tmp_path):
    frame = pd.DataFrame({"what": ["gathers as v3 does, then frees"]}, index=["slot-cache-async"])
    made = body(("frame", frame.to_html()), tmp_path=tmp_path).html
    assert '<th class="text short" scope="row">slot-cache-async<' in made
    assert '<td class="text">gathers' in made


def test_heads_of_a_table_say_whether_they_are_of_a_column_or_a_row_and_it_scrolls_by_itself(tmp_path):
    made = body(("frame", pd.DataFrame({"n": [1]}).to_html()), "| a |\n|---|\n| 1 |", tmp_path=tmp_path).html
    assert re.findall(r'<th [^>]*scope="(\w+)"', made) == ["col", "col", "row", "col"]
    assert made.count('<div aria-label="Table" class="scroll" role="group" tabindex="0"><table') == 2


def test_printed_sentences_are_set_as_prose_and_aligned_columns_stay_aligned(tmp_path):
    printed = {"It is 3.\nAnd so on.": "prose", "name  value\na     1": "aligned", "{'a': 1}": "aligned"}
    for text, kind in printed.items():
        cell = nbformat.v4.new_code_cell("print()", outputs=[nbformat.v4.new_output("stream", text=text)])
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "07_x.ipynb")
        made = notebook_body(tmp_path / "07_x.ipynb", tmp_path, {}).html
        assert f'<pre class="{kind}">{text.splitlines()[0]}' in made


def test_the_style_that_pandas_writes_beside_one_table_does_not_reach_the_others(tmp_path):
    assert "<style" not in body(("frame", pd.DataFrame({"n": [1]})._repr_html_()), tmp_path=tmp_path).html


def test_sections_are_listed_in_order_and_can_be_reached(tmp_path):
    made = body("# 07 · Title\n\nText", "## One & two", "## One & two", tmp_path=tmp_path)
    assert isinstance(made, Body)
    assert made.sections == [("section-1", "One & two"), ("section-2", "One & two")]
    assert [re.search(rf'id="{anchor}"', made.html) is not None for anchor, _ in made.sections] == [
        True,
        True,
    ]
    assert "<h1" not in made.html


def test_a_link_to_a_file_that_the_report_lacks_becomes_text():
    links = {"01_dice.ipynb": "01_dice.html", "data/README.md": "data.html"}
    text = "[a](01_dice.ipynb#x) [b](../data/README.md) [c](09_no.ipynb) [d](https://kernel.org) [e](#here)"
    made = text_body(text, links).html
    assert Addresses(made).links == ["01_dice.html#x", "data.html", "https://kernel.org", "#here"]
    assert " c " in made


def test_the_key_figure_is_the_first_after_the_answer_and_else_the_first():
    def shown(data):
        return {"cell_type": "code", "outputs": [{"data": {"image/png": data}, "metadata": {}}]}

    heading = {"cell_type": "markdown", "source": ["# Title\n", "\n", "## What it costs"]}
    cells = [shown("QQ=="), heading, {"cell_type": "code", "outputs": []}, shown("Qg==\n"), shown("Qw==")]
    found = first_figure(cells, after=2)
    assert (found.address, found.alt) == ("data:image/png;base64,Qg==", "What it costs")
    assert first_figure(cells[:2], after=1).address.endswith("QQ==")
    assert first_figure([heading], after=0) is None


@pytest.fixture
def written(tmp_path):
    """Write a report on outputs made by hand: one answered, one failed, one that did not start."""
    notebooks = collection(write_collection(tmp_path / "notebooks", **{"03_broken": BROKEN}))
    results = Results(tmp_path / "results", notebooks)
    bundle = finding("Q1", "It is <b>3</b> & more.", values={}, verdict="a < b")._repr_mimebundle_()
    _, dice, coins, broken = notebooks
    results.keep(Execution(dice, {"label": "<i>"}, stored(dice, "execute_result", data=bundle), None, 1.26))
    results.keep(Execution(coins, {}, None, "did not start: no <kernel>", 0.5))
    error = {
        "ename": "ValueError",
        "evalue": "<script>x</script>",
        "traceback": ["ValueError: <script>x</script>"],
    }
    output = stored(broken, "error", **error)
    results.keep(Execution(broken, {}, output, "cell [3]: ValueError: <script>x</script>", 2))
    write_notebook(tmp_path / "slide.ipynb", [("", "# Slide\n\nHow <far>?")])
    return write_report(results, notebooks, collection(tmp_path))


def stored(notebook, output_type, **content):
    """Return a notebook's text with one output in its last cell."""
    executed = nbformat.read(notebook.path, 4)
    executed.cells[-1].outputs = [nbformat.v4.new_output(output_type, **content)]
    return nbformat.writes(executed)


def test_the_front_page_shows_question_answer_verdict_time_and_parameters(written):
    text = written.read_text()
    assert "How many sides has the die, and why?" in text
    assert "It is &lt;b&gt;3&lt;/b&gt; &amp; more." in text
    assert '<span class="label">Q1</span>a &lt; b' in text
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
        assert (
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; ' in path.read_text()
        )


def test_the_front_page_lists_the_questions_of_the_thread_with_the_answers_of_this_run(written):
    rows = re.findall(r"<tr><td>(Q\d+)</td>(.*?)</tr>", written.read_text(), re.S)
    assert [name for name, _ in rows] == [f"Q{number}" for number in range(1, 17)]
    assert "<strong>a &lt; b</strong>" in rows[0][1]
    assert 'href="#01_dice"' in rows[0][1]
    assert all("not in this run" in text for _, text in rows[1:])


def test_the_front_page_says_how_to_open_an_explorer(written):
    assert "How &lt;far&gt;?" in written.read_text()
    assert "slide.ipynb</code>" in written.read_text()


def test_anchors_on_the_front_page_are_unique_and_reached(written):
    text = written.read_text()
    names = re.findall(r' id="([^"]*)"', text)
    assert len(names) == len(set(names))
    assert {link[1:] for link in Addresses(text).links if link.startswith("#")} <= set(names)
