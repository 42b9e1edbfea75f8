"""JupyterLab on a free port of this machine, with its settings in a folder of its own, and a browser that drives it."""

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from swaplib.execution import child_environment

PATIENCE_S = 300  # on busy CPUs, where the simulator may have to be compiled first

QUIET = {  # no news, no windowing: else only the visible cells are in the page
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
}

KERNEL_IS_THERE = """async () => {
    const context = window.jupyterapp.shell.currentWidget.sessionContext;
    await context.ready;
    const kernel = context.session.kernel;
    await kernel.info;
    while (kernel.connectionStatus !== "connected" || kernel.status !== "idle")
        await new Promise(again => setTimeout(again, 50));
}"""


class Lab:
    """A running server: `address(path)` opens a notebook, `api(method, path)` asks it."""

    def __init__(self, port, token):
        self.port, self.token = port, token

    def address(self, notebook):
        return f"http://127.0.0.1:{self.port}/lab/tree/{notebook}?token={self.token}&reset"

    def api(self, method, path):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/api/{path}", method=method)
        request.add_header("Authorization", f"token {self.token}")
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def open(self, page, notebook):
        """Show a notebook and wait until its kernel is there."""
        page.goto(self.address(notebook))
        page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        page.evaluate(KERNEL_IS_THERE)

    def run_all(self, page, notebook):
        """Run all cells in the page, and return the cells of code as the notebook's file then holds them."""
        page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
        cells = self.api("GET", f"contents/{notebook}")["content"]["cells"]
        return [cell for cell in cells if cell["cell_type"] == "code"]


@contextlib.contextmanager
def jupyterlab(folder: Path, scratch: Path):
    """Serve a folder of notebooks; at the end no kernel and no server is left."""
    settings = scratch / "settings"
    for name, values in QUIET.items():
        path = settings / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    lab = Lab(_free_port(), secrets.token_urlsafe(24))
    places = (
        "JUPYTER_CONFIG_DIR",
        "JUPYTER_DATA_DIR",
        "JUPYTER_RUNTIME_DIR",
        "IPYTHONDIR",
        "JUPYTERLAB_WORKSPACES_DIR",
    )
    environment = {
        **child_environment(),
        **{place: str(scratch / place.lower()) for place in places},
        "JUPYTERLAB_SETTINGS_DIR": str(settings),
        "JUPYTER_TOKEN": lab.token,
        "SWAPLIB_NOTEBOOKS": str(folder),
    }
    command = [sys.executable, "-m", "jupyterlab", "--expose-app-in-browser", "--no-browser", "--allow-root"]
    command += [
        "--ip=127.0.0.1",
        f"--port={lab.port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={folder}",
    ]
    with (scratch / "server.log").open("w") as log:
        server = subprocess.Popen(
            command, env=environment, cwd=scratch, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        _wait(lab, server, scratch / "server.log")
        yield lab
        for session in lab.api("GET", "sessions"):
            lab.api("DELETE", f"sessions/{session['id']}")
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()


def _wait(lab, server, log):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            lab.api("GET", "status")
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not answer:\n{log.read_text()[-4000:]}")


def _free_port():
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


@contextlib.contextmanager
def browser(chromium: str):
    """Start Debian's chromium without a display, a network of its own or first-run pages."""
    from playwright.sync_api import sync_playwright

    quiet = "--disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"
    # Root has no sandbox of its own to offer; the pages are ours.
    options = [*quiet.split(), "--disable-sync", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium, args=options, timeout=1000 * PATIENCE_S
        )
        try:
            yield started
        finally:
            started.close()
