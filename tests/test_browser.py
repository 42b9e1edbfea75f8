"""What a reader sees in a browser: notebooks run in JupyterLab, sliders move figures, the report is whole."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

import swaplib
from swaplib import cli

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
FIGURE = ".jp-OutputArea .widget-html img"
TOKEN = "tests"
PATIENCE_S = 300  # on busy CPUs, where the simulator may have to be compiled first
KERNEL_IS_THERE = """async () => {
    const context = window.jupyterapp.shell.currentWidget.sessionContext;
    await context.ready;
    const kernel = context.session.kernel;
    await kernel.info;
    while (kernel.connectionStatus !== "connected" || kernel.status !== "idle")
        await new Promise(again => setTimeout(again, 50));
}"""


class Lab:
    """JupyterLab on a free port: `api` asks it, `run_all` executes a notebook in the browser."""

    def __init__(self, port):
        self.address = f"http://127.0.0.1:{port}"

    def api(self, method, path):
        request = urllib.request.Request(f"{self.address}/api/{path}", method=method)
        request.add_header("Authorization", f"token {TOKEN}")
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.loads(answer.read() or "null")

    def run_all(self, page, notebook):
        """Open a notebook, run its cells, and return the cells of code as the saved file then holds them."""
        page.goto(f"{self.address}/lab/tree/{notebook}?token={TOKEN}&reset")
        page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        page.evaluate(KERNEL_IS_THERE)
        for command in ("notebook:run-all-cells", "docmanager:save"):
            page.evaluate(f"window.jupyterapp.commands.execute('{command}')")
        cells = self.api("GET", f"contents/{notebook}")["content"]["cells"]
        return [cell for cell in cells if cell["cell_type"] == "code"]


@pytest.fixture(scope="module")
def chromium(require):
    """Start a browser, where there is one."""
    place = shutil.which("chromium") or shutil.which("chromium-browser")
    require("browser", place, "chromium is not installed")
    from playwright.sync_api import sync_playwright

    quiet = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
    options = [*quiet, *["--no-sandbox"] * (os.geteuid() == 0)]  # root has no sandbox to offer
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=place, args=options, timeout=1000 * PATIENCE_S)
        yield started
        started.close()


@pytest.fixture
def page(request, chromium):
    """Open a page, as wide as the test says (a computer's without a word); it is closed after the test."""
    context = chromium.new_context(viewport={"width": getattr(request, "param", 1400), "height": 1100})
    context.set_default_timeout(1000 * PATIENCE_S)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def lab(chromium, tmp_path_factory):
    """Serve a copy of the notebooks with settings of its own; at the end no kernel and no server is left."""
    place = tmp_path_factory.mktemp("lab")
    leave = shutil.ignore_patterns(".ipynb_checkpoints")
    shutil.copytree(NOTEBOOKS, place / "notebooks", ignore=leave)
    settings = place / "settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text('{"windowingMode": "none"}')  # else only the visible cells are in the page
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = ["JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"]
    folders = {name: str(place / name) for name in [*own, "JUPYTERLAB_WORKSPACES_DIR"]}
    environment = {**os.environ, **folders, "JUPYTER_TOKEN": TOKEN}
    environment |= {"JUPYTERLAB_SETTINGS_DIR": str(place / "settings"), "PYTHONPATH": str(NOTEBOOKS.parent)}
    environment |= {"SWAPLIB_NOTEBOOKS": str(place / "notebooks")}
    options = ["--expose-app-in-browser", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command = [sys.executable, "-m", "jupyterlab", *options, f"--ServerApp.root_dir={place / 'notebooks'}"]
    running, log = Lab(port), place / "server.log"
    with log.open("w") as said:
        server = subprocess.Popen(command, env=environment, cwd=place, stdout=said, stderr=said)
    try:
        for _ in range(5 * PATIENCE_S):
            with contextlib.suppress(OSError):
                running.api("GET", "status")
                break
            assert server.poll() is None, log.read_text()
            time.sleep(0.2)
        yield running
        for session in running.api("GET", "sessions"):
            running.api("DELETE", f"sessions/{session['id']}")
    finally:
        server.terminate()
        server.wait(30)


def errors(cells):
    """Return the outputs that no reader should meet."""
    outputs = [output for cell in cells for output in cell["outputs"]]
    return [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]


def test_the_first_notebook_runs_in_jupyterlab(lab, page):
    cells = lab.run_all(page, "00_start_here.ipynb")
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert errors(cells) == []
    assert page.locator(".jp-OutputArea img").first.is_visible()


def test_the_explorer_answers_to_its_controls_in_jupyterlab(lab, page):
    def changed(before):
        page.wait_for_function(f"before => document.querySelector('{FIGURE}')?.alt != before", arg=before)
        return page.locator(FIGURE).get_attribute("alt")

    def choose(control, value):
        page.locator(".widget-dropdown", has_text=control).locator("select").select_option(value)

    assert errors(lab.run_all(page, "explore/explorer.ipynb")) == []
    start = changed(None)
    page.locator(".widget-slider", has_text="processes").locator(".noUi-handle").focus()
    page.keyboard.press("ArrowRight")
    more = changed(start)
    choose("policy A", "reaper")
    assert "under reaper" in changed(more)
    choose("machine", "rpi-4b")
    assert "machine 'rpi-4b' has" in page.locator(".jp-OutputArea [role=alert]").inner_text()
    page.get_by_role("button", name="Reset").click()
    page.locator(FIGURE).wait_for()
    assert changed(more) == start
    # Dragged and reset at once: the last setting wins.
    load = page.locator(".widget-slider", has_text="load")
    value, box = load.locator(".widget-readout").inner_text(), load.locator(".noUi-handle").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] - 30, box["y"] + 5, steps=5)
    page.mouse.up()
    assert load.locator(".widget-readout").inner_text() != value
    page.get_by_role("button", name="Reset").dispatch_event("click")
    load.locator(".widget-readout", has_text=value).wait_for()
    page.wait_for_timeout(1000)  # a value that overtook the reset would be shown by now
    page.wait_for_function(f"start => document.querySelector('{FIGURE}')?.alt == start", arg=start)
    assert load.locator(".widget-readout").inner_text() == value


@pytest.mark.parametrize("page", [390], indirect=True)
def test_no_page_of_a_report_asks_another_host_complains_or_scrolls_sideways_on_a_phone(page, tmp_path):
    assert cli.main(["run", "01", "--out", str(tmp_path)]) == 0
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    for path in tmp_path.rglob("*.html"):
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path.name
    assert {urlsplit(url).scheme for url in asked} <= {"file", "data"}
    assert (tmp_path / "index.html").as_uri() in asked
    assert said == []


def test_the_public_names_are_completed_by_tab():
    shell = InteractiveShell()
    shell.run_cell("import swaplib")
    with provisionalcompleter():
        found = (shell.Completer.completions(typed, len(typed)) for typed in ("swaplib.", "swaplib.ker"))
        names, kernels = ([one.text for one in every] for every in found)
    assert set(swaplib.__all__) <= set(names)
    assert kernels == ["kernel", "kernels"]
