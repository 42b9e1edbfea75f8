"""Run a swaplib command; on a bare Python, make .venv for it first, once, with venv and pip."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

OLDEST, NEWEST = (3, 11), (3, 14)
FILES = ("requirements.lock", "pyproject.toml")
MARK = "made-by-swaplib.txt"  # in .venv from its first moment: it is ours to clear
STAMP = "swaplib-stamp.txt"  # in .venv from its last moment: what is installed
UNUSED = ("tests", "galata", "*.c", "*.cpp", "*.pyx", "*.map")  # the libraries' own tests and sources


def main(argv: list[str] | None = None) -> int:
    """Run a command here if this Python is good enough for it, else in .venv; return the exit status.

    argv: the command and its arguments, ``sys.argv[1:]`` if None.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    root = Path(__file__).resolve().parents[1]
    if refuse(sys.version_info):
        return _say(refuse(sys.version_info), 2)
    from swaplib import cli

    cli.parse(arguments)  # what is misspelt ends here, before anything is made
    if not all((root / name).is_file() for name in FILES):
        return _say(f"{root} is no clone of the repository; call python3 -m swaplib inside one", 1)
    extra = "test" if arguments[0] == "test" else ""
    try:
        inside = Path(sys.prefix).resolve() == root / ".venv"
        because = outdated(root, extra) if inside else lacking(root, extra)
        if because and outdated(root, extra):
            set_up(root, extra, because)
    except (OSError, subprocess.CalledProcessError) as error:
        return _say(f"{error}\nswaplib: .venv could not be made; put that right, then repeat the command", 1)
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    return _become(root, arguments) if because else cli.main(arguments)


def refuse(version: Sequence[Any]) -> str:
    """Say in a sentence why this version of Python cannot run swaplib; empty if it can."""
    if OLDEST <= tuple(version[:2]) <= NEWEST:
        return ""
    found = ".".join(str(part) for part in version[:3])
    return f"Python 3.11 to 3.14 is needed and this is {found}; call one of those, as python3.12 -m swaplib"


def lacking(root: Path, extra: str) -> str:
    """Say what this Python lacks of pyproject.toml, for an extra in the locked versions; empty if nothing."""
    import re
    import tomllib
    from importlib import metadata

    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    locked = (root / "requirements.lock").read_text(encoding="utf-8").split()
    for line in project["dependencies"] + project["optional-dependencies"].get(extra, []):
        name, _, least = line.partition(">=")
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            return f"{name} is missing"
        found, needed = ([int(number) for number in re.findall(r"\d+", text)] for text in (version, least))
        if found < needed or (extra and f"{name.lower()}=={version}" not in locked):
            return f"{name} is {version}, not {'as locked' if extra else line}"
    return ""


def outdated(root: Path, extra: str) -> str:
    """Say why .venv is not what a command needs; empty if it is."""
    try:
        found = (root / ".venv" / STAMP).read_text(encoding="utf-8")
    except OSError:
        return "there is no finished .venv"
    return "" if found in (_stamp(root, extra), _stamp(root, "test")) else ".venv is outdated or was moved"


def set_up(root: Path, extra: str, because: str) -> None:
    """Make .venv from nothing, or install an extra on top of one that is ready; the stamp comes last."""
    place, python = root / ".venv", _python(root)
    on_top = not outdated(root, "")
    step = "adding what tests need to .venv" if on_top else f"{because}: making .venv from requirements.lock"
    _say(f"{step}, once (about two minutes)")
    if place.exists() and any(place.iterdir()) and not (place / MARK).is_file():
        raise OSError(f"{place} was not made by swaplib and is left as it is; move it away")
    place.mkdir(exist_ok=True)
    (place / MARK).write_text("Made by python3 -m swaplib; this folder may be deleted at any time.\n")
    (place / STAMP).unlink(missing_ok=True)
    if not on_top:
        for child in place.iterdir():
            if child.is_dir() and not child.is_symlink():
                shutil.rmtree(child)
            elif child.name != MARK:
                child.unlink()
        base = getattr(sys, "_base_executable", None) or sys.executable  # our own may lie in the old .venv
        _call(root, [base, "-I", "-m", "venv", "--prompt=swaplib", str(place)])
    pip = [python, "-I", "-m", "pip"]
    project = ".[test]" if extra else "."
    _call(root, [*pip, "install", "-q", "--no-compile", "-c", "requirements.lock", "-e", project])
    _call(root, [*pip, "uninstall", "-qq", "-y", "setuptools"])  # which venv brings, and nobody imports
    for path in [path for pattern in UNUSED for path in place.glob(f"**/{pattern}")]:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    (place / "new-stamp").write_text(_stamp(root, extra), encoding="utf-8")
    (place / "new-stamp").replace(place / STAMP)


def end_with_parent() -> None:
    """Let this process be killed when its parent ends: PR_SET_PDEATHSIG and SIGKILL of prctl(2), on Linux."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, 9)


def _call(root: Path, command: list[str]) -> None:
    """Run a step of the set-up, which shows what it has to say."""
    environment = dict(os.environ, PIP_USER="0", PIP_DISABLE_PIP_VERSION_CHECK="1")
    dying = end_with_parent if os.name == "posix" else None
    subprocess.run(command, cwd=root, env=environment, stdout=2, check=True, preexec_fn=dying)


def _become(root: Path, arguments: list[str]) -> int:
    """Become .venv's Python, so that signals and status are its own; no PYTHONPATH reaches into it."""
    command = [_python(root), "-I", "-m", "swaplib.cli", *arguments]
    environment = dict(os.environ)
    for name in ("PYTHONPATH", "PYTHONHOME"):
        environment.pop(name, None)
    sys.stdout.flush()
    if os.name != "nt":  # where exec does not wait
        os.execve(command[0], command, environment)
    return subprocess.call(command, env=environment)


def _python(root: Path) -> str:
    return str(root / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


def _stamp(root: Path, extra: str) -> str:
    """Return what .venv depends on and holds."""
    digests = [f"{name} = {hashlib.sha256((root / name).read_bytes()).hexdigest()}" for name in FILES]
    return "\n".join([*digests, f"Python = {sys.version}", f"place = {root}", f"extra = {extra}"])


def _say(sentence: str, status: int = 0) -> int:
    sys.stderr.write(f"swaplib: {sentence}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
