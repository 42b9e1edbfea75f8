"""Run the steps that install packages: one line of progress, an end when we are ended, a reason when one fails."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

NO_VENV = (
    f"{sys.executable} has no venv module that can install pip; "
    f"on Debian and Ubuntu: sudo apt install python3-venv (or python3.{sys.version_info.minor}-venv)"
)


class SetupError(Exception):
    """The environment could not be made; the message says why and what to do."""


def call(command: list[str], root: Path, keep: tuple[int, ...], see: Callable[[str], None]) -> None:
    """Run a step in root; it is ended if this process is interrupted or terminated.

    keep: file descriptors that the step inherits.
    see: is shown each line, and an empty one when half a second passed without any.

    Raises
    ------
    SetupError
        If the step fails; with the reason, see ``explain``.
    """
    environment = {**os.environ, "PIP_USER": "0", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    lines: list[str] = []
    with _ending_on_signals():
        process = subprocess.Popen(
            command,
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=keep,
            start_new_session=True,  # so that ending it ends what it started
        )
        try:
            for line in _lines(process):
                if line:
                    lines.append(line)
                see(line)
            process.wait()
        except BaseException:
            _end(process)
            raise
    if process.returncode:
        raise SetupError(explain(root, lines))


def explain(root: Path, lines: list[str]) -> str:
    """Turn the last lines of a step that failed into one message: the cause, what to do, the lines themselves."""
    end = [line for line in lines if line.strip() and not line.lstrip().startswith(("note:", "hint:"))][-20:]
    text = "\n".join(end)
    causes = {
        NO_VENV: ("ensurepip is not",),
        f"no disk space is left; about 1.2 GB is needed in {root} and half of it in the temporary folder": (
            "No space left on device",
            "Disk quota exceeded",
        ),
        f"{root} or the temporary folder cannot be written; clone the repository to a place that can, "
        "or install requirements.lock into an environment of your own": (
            "Read-only file system",
            "Permission denied",
        ),
        "the package index cannot be reached; connect this machine to the network, or tell pip of a proxy or mirror": (
            "NewConnectionError",
            "NameResolutionError",
            "TimeoutError",
            "ProxyError",
            "SSLError",
            "Failed to establish a new connection",
            "Connection refused",
            "connection broken",
            "Network is unreachable",
        ),
    }
    found = [cause for cause, signs in causes.items() if any(sign in text for sign in signs)]
    cause = found[0] if found else "making .venv failed"
    shown = end[-6:] if found else end
    return "\n    ".join(
        [f"{cause}. Once that is put right, call the same command again. The last lines were:", *shown]
    )


class Progress:
    """One line that counts packages: on a terminal it overwrites itself, elsewhere it is not shown."""

    def __init__(self, place: Path, packages: int) -> None:
        self.place = place
        self.packages = packages
        self.collected = 0
        self.text = ""
        self.began = time.monotonic()
        self.shown = sys.stderr.isatty()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        if self.shown:
            sys.stderr.write("\r\033[K")

    def see(self, line: str) -> None:
        """Take in a line of pip's; an empty one means that time has passed."""
        if line.startswith("Ignoring "):  # a line of the lock that is for other machines
            self.packages -= 1
        elif line.startswith(("Collecting ", "Requirement already satisfied")):
            self.collected += 1
            self.text = f"{min(self.collected, self.packages)} of {self.packages} packages found"
        elif line.startswith("Installing collected packages"):
            self.text = "installing"
        elif line.startswith("WARNING: Retrying"):
            self.text = "waiting for the network"
        if not self.shown:
            return
        text = self.text
        if text == "installing":
            done = sum(1 for _ in self.place.glob("lib/*/site-packages/*.dist-info"))
            text = f"{min(done, self.packages)} of {self.packages} packages installed"
        sys.stderr.write(f"\r\033[Kswaplib: {text or 'beginning'}, {time.monotonic() - self.began:.0f} s")
        sys.stderr.flush()


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield what the process writes, and an empty line whenever half a second passed without any."""
    arriving: queue.Queue[str | None] = queue.Queue()

    def listen() -> None:
        for line in process.stdout or ():
            arriving.put(line.rstrip())
        arriving.put(None)

    threading.Thread(target=listen, daemon=True).start()
    line: str | None = ""
    while line is not None:
        yield line
        try:
            line = arriving.get(timeout=0.5)
        except queue.Empty:
            line = ""


def _end(process: subprocess.Popen[str]) -> None:
    """End a step and what it started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    else:
        process.terminate()
    process.wait()


@contextlib.contextmanager
def _ending_on_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit, so that a step is ended with us."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    ours = threading.current_thread() is threading.main_thread()
    names = [name for name in ("SIGTERM", "SIGHUP") if ours and hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), end) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
