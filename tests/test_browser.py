"""What a reader sees in a real browser: notebooks run in JupyterLab, sliders move figures, the report is whole."""

import re
import shutil
import statistics
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from lab_server import PATIENCE_S, browser, jupyterlab

from swaplib.execution import Execution
from swaplib.notebooks import collection, explorers
from swaplib.report import write_report
from swaplib.results import Results

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
EXPLORER = "explore/explorer.ipynb"
FIGURE = ".jp-OutputArea svg[role=img]"
WIDE, PHONE = {"width": 1400, "height": 1100}, {"width": 390, "height": 844}

# From a key on a slider to the frame that shows another picture, in milliseconds.
ANSWER_MS = """async ([handle, times]) => {
    const box = document.querySelector(".jp-OutputArea svg[role=img]").parentElement;
    const measured = [];
    for (let i = 0; i < times; i++) {
        const changed = new Promise(done => new MutationObserver((_, observer) => {
            observer.disconnect();
            requestAnimationFrame(() => done(performance.now()));
        }).observe(box, {childList: true, subtree: true}));
        const start = performance.now();
        const key = {key: i % 2 ? "ArrowLeft" : "ArrowRight", bubbles: true};
        handle.dispatchEvent(new KeyboardEvent("keydown", key));
        measured.push(await changed - start);
        await new Promise(go => setTimeout(go, 200));
    }
    return measured;
}"""

# The contrast of each text with what is behind it, where that is less than WCAG's 4.5.
TOO_PALE = """() => {
    const light = c => c.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const parts = colour => colour.match(/[\\d.]+/g).map(Number);
    const behind = element => {
        for (; element; element = element.parentElement) {
            const colour = parts(getComputedStyle(element).backgroundColor);
            if (colour.length == 3 || colour[3] == 1) return colour;
        }
    };
    const pale = [];
    for (const element of document.querySelectorAll("a, p, td, th, li, h1, h2, summary, code, span, footer, label")) {
        if (!element.textContent.trim() || element.closest("details:not([open]) > :not(summary)")) continue;
        if (element.closest(".swaplib-finding")) continue;  // a half-transparent tint
        const [a, b] = [parts(getComputedStyle(element).color).slice(0, 3), behind(element).slice(0, 3)].map(light);
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < 4.5) pale.push([element.tagName, element.className, element.textContent.slice(0, 30), contrast]);
    }
    return pale;
}"""


@pytest.fixture(scope="module")
def chromium(require):
    """Start a browser, where there is one."""
    place = shutil.which("chromium") or shutil.which("chromium-browser")
    require("browser", place, "chromium is not installed")
    with browser(place) as started:
        yield started


@pytest.fixture
def show(chromium):
    """Open pages of a size and a colour scheme; they are closed after the test."""
    opened = []

    def new_page(**about):
        opened.append(chromium.new_context(**{"viewport": WIDE, **about}))
        opened[-1].set_default_timeout(1000 * PATIENCE_S)
        return opened[-1].new_page()

    yield new_page
    for context in opened:
        context.close()


@pytest.fixture(scope="module")
def lab(chromium, tmp_path_factory):
    """Serve a copy of the notebooks, so that nothing here changes them."""
    place = tmp_path_factory.mktemp("lab")
    shutil.copytree(
        NOTEBOOKS, place / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints", "traces")
    )
    with jupyterlab(place / "notebooks", place) as running:
        yield running


@pytest.fixture(scope="module")
def report(chromium, tmp_path_factory):
    """Write the report of the notebooks as they are stored."""
    notebooks = collection(NOTEBOOKS)
    results = Results(tmp_path_factory.mktemp("report"), notebooks)
    for notebook in notebooks:
        results.keep(Execution(notebook, {}, notebook.path.read_text(encoding="utf-8"), None, 1.0))
    return write_report(results, notebooks, explorers(NOTEBOOKS)).parent


def errors(cells):
    """Return the outputs that no reader should meet."""
    outputs = [output for cell in cells for output in cell["outputs"]]
    return [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]


def test_the_first_notebook_runs_in_jupyterlab(lab, show):
    page = show()
    lab.open(page, "00_start_here.ipynb")
    cells = lab.run_all(page, "00_start_here.ipynb")
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert errors(cells) == []
    assert page.locator(".jp-OutputArea .swaplib-finding").first.is_visible()
    assert page.locator(".jp-OutputArea img").first.is_visible()


@pytest.fixture(scope="module")
def explorer(chromium, lab):
    """Open the explorer and run it; both tests leave its controls where they start."""
    context = chromium.new_context(viewport=WIDE)
    context.set_default_timeout(1000 * PATIENCE_S)
    page = context.new_page()
    lab.open(page, EXPLORER)
    assert errors(lab.run_all(page, EXPLORER)) == []
    page.locator(FIGURE).wait_for()
    yield page
    context.close()


def changed(page, before):
    """Wait until the figure is another one, and return it."""
    page.wait_for_function(f"before => document.querySelector('{FIGURE}')?.outerHTML != before", arg=before)
    return page.locator(FIGURE).evaluate("figure => figure.outerHTML")


def choose(page, control, value):
    """Choose from the list that has this label."""
    page.locator(".widget-dropdown", has_text=control).locator("select").select_option(value)


def test_the_explorer_answers_to_its_controls_in_jupyterlab(lab, explorer):
    figure = explorer.locator(FIGURE)
    start = figure.evaluate("figure => figure.outerHTML")
    explorer.locator(".widget-slider", has_text="processes").locator(".noUi-handle").focus()
    explorer.keyboard.press("ArrowRight")
    more = changed(explorer, start)
    assert "13 processes" in more
    choose(explorer, "policy A", "reaper")
    assert "under reaper" in re.search('aria-label="(.*?)"', changed(explorer, more))[1]

    choose(explorer, "machine", "rpi-4b")
    alert = explorer.locator(".jp-OutputArea [role=alert]")
    alert.wait_for()
    assert "At most 3 of its processes fit" in alert.inner_text()
    assert figure.count() == 0

    explorer.get_by_role("button", name="Reset").click()
    figure.wait_for()
    assert changed(explorer, more) == start
    explorer.get_by_role("button", name="Write traces").click()
    explorer.locator(".jp-OutputArea [role=status]", has_text="ui.perfetto.dev").wait_for()
    traces = [entry["name"] for entry in lab.api("GET", "contents/explore/traces")["content"]]
    assert sorted(traces) == ["camera-phone-8gb-6.11-async-v3.json", "camera-phone-8gb-6.11-sync.json"]


def test_the_time_from_slider_to_figure_is_reported_and_never_asserted(explorer):
    handle = (
        explorer.locator(".widget-slider", has_text="B: threshold").locator(".noUi-handle").element_handle()
    )
    took = explorer.evaluate(ANSWER_MS, [handle, 12])
    print(
        f"slider to figure: {min(took):.0f}, {statistics.median(took):.0f}, {max(took):.0f} ms (min, median, max)"
    )


def look(page, path):
    """Open a page of the report; return what it asked for from elsewhere, and what its console said."""
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(path.as_uri())
    return [url for url in asked if urlsplit(url).scheme not in ("file", "data")], said


def test_no_page_of_the_report_asks_another_host_complains_or_scrolls_sideways_on_a_phone(report, show):
    page = show(viewport=PHONE)
    paths = sorted(report.glob("*.html"))
    assert len(paths) == len(collection(NOTEBOOKS)) + 4
    for path in paths:
        assert look(page, path) == ([], []), path.name
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], f"{path.name} is {width} px wide"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(report, show, scheme):
    page = show(color_scheme=scheme)
    for name in ("index", "00_start_here", "03_gather", "data"):
        look(page, report / f"{name}.html")
        assert page.evaluate(TOO_PALE) == [], name


def test_figures_keep_their_white_ground_on_a_dark_page(report, show):
    page = show(color_scheme="dark")
    look(page, report / "00_start_here.html")
    for figure in page.locator(".output_png img").all():
        assert figure.evaluate("figure => getComputedStyle(figure).backgroundColor") == "rgb(255, 255, 255)"


def test_headings_go_down_one_level_at_a_time(report, show):
    page = show()
    for path in sorted(report.glob("*.html")):
        look(page, path)
        levels = page.evaluate(
            "[...document.querySelectorAll('h1, h2, h3, h4')].map(h => Number(h.tagName[1]))"
        )
        assert levels.count(1) == 1, path.name
        assert levels[0] == 1, path.name
        assert all(after <= before + 1 for before, after in pairwise(levels)), f"{path.name}: {levels}"


def test_the_report_is_walked_through_by_its_links(report, show):
    page = show()
    look(page, report / "index.html")
    page.locator("article h2 a").first.click()
    assert page.locator("h1").inner_text().endswith("Start here")
    page.get_by_role("navigation", name="Previous and next").get_by_role("link", name="Next").click()
    assert page.locator("h1").inner_text().endswith("Patch tables")
    page.get_by_role("link", name="Data", exact=True).click()
    page.get_by_role("link", name="how they were made").click()
    assert page.locator("h1").inner_text().startswith("Measurements")
    page.locator("header a").first.click()
    assert page.url.endswith("index.html")


def test_code_unfolds_cell_by_cell_and_all_at_once(report, show):
    page = show()
    look(page, report / "03_gather.html")
    code = page.locator("details.code", has_text="Code, cell 2").locator(".highlight")
    assert not code.is_visible()
    page.get_by_text("Code, cell 2").click()
    assert code.is_visible()
    page.get_by_text("Code, cell 2").click()
    assert not code.is_visible()
    page.get_by_label("Show all code").check()
    assert code.is_visible()
