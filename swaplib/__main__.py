"""Run a swaplib command; on a bare Python, make .venv for it first, once, with venv and pip."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

FILES = ("requirements.lock", "pyproject.toml")
STAMP = "made-by-swaplib.txt"  # in .venv: empty from its first moment, at the end what it was made from


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
    extra = "test" if arguments[0] == "test" else ""
    try:
        if not all((root / name).is_file() for name in FILES):
            raise OSError(f"{root} is no clone of the repository; call python3 -m swaplib inside one")
        if Path(sys.prefix).resolve() != root / ".venv" and _has_what_is_needed(root, extra):
            return cli.main(arguments)
        set_up(root, extra)
    except (OSError, subprocess.CalledProcessError) as error:
        return _say(f"{error}\nswaplib: .venv could not be made; put that right, then repeat the command", 1)
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    python = str(root / ".venv" / "bin" / "python")
    environment = {name: v for name, v in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return os.execve(python, [python, "-I", "-m", "swaplib.cli", *arguments], environment)


def refuse(version: tuple) -> str:
    """Say in a sentence why this version of Python cannot run swaplib; empty if it can."""
    if (3, 11) <= tuple(version[:2]) <= (3, 14):
        return ""
    found = ".".join(str(part) for part in version[:3])
    return f"Python 3.11 to 3.14 is needed and this is {found}; call one of those, as python3.12 -m swaplib"


def set_up(root: Path, extra: str) -> None:
    """Make .venv anew unless it is what a command needs, or add an extra to it; the stamp comes last."""
    place, stamp = root / ".venv", root / ".venv" / STAMP
    found = stamp.read_text(encoding="utf-8") if stamp.is_file() else ""
    if found in (_stamp(root, extra), _stamp(root, "test")):
        return
    if place.exists() and any(place.iterdir()) and not stamp.is_file():
        raise OSError(f"{place} was not made by swaplib and is left as it is; move it away")
    _say(f"making .venv from {FILES[0]}, once (about two minutes)")
    place.mkdir(exist_ok=True)
    stamp.write_text("", encoding="utf-8")
    if found != _stamp(root, ""):
        for child in set(place.iterdir()) - {stamp}:
            shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()
        base = getattr(sys, "_base_executable", None) or sys.executable  # our own may lie in the old .venv
        _call(root, [base, "-I", "-m", "venv", "--prompt=swaplib", str(place)])
    project = ".[test]" if extra else "."
    _call(root, [str(place / "bin" / "python"), "-I", "-m", "pip", "install", "-c", FILES[0], "-e", project])
    stamp.write_text(_stamp(root, extra), encoding="utf-8")


def end_with_parent() -> None:
    """Let this process be killed when its parent ends: PR_SET_PDEATHSIG and SIGKILL of prctl(2), on Linux."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, 9)


def _has_what_is_needed(root: Path, extra: str) -> bool:
    """Tell whether this Python has what pyproject.toml asks for, as conda would leave it."""
    import re
    import tomllib
    from importlib import metadata

    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    try:
        for line in project["dependencies"] + project["optional-dependencies"].get(extra, []):
            name, _, least = line.partition(">=")
            found, needed = (re.findall(r"\d+", version) for version in (metadata.version(name), least))
            if [int(number) for number in found] < [int(number) for number in needed]:
                return False
    except metadata.PackageNotFoundError:
        return False
    return True


def _call(root: Path, command: list[str]) -> None:
    """Run a step of the set-up, which shows what it has to say and ends with us."""
    environment = dict(os.environ, PIP_USER="0", PIP_DISABLE_PIP_VERSION_CHECK="1")
    subprocess.run(command, cwd=root, env=environment, stdout=2, check=True, preexec_fn=end_with_parent)


def _stamp(root: Path, extra: str) -> str:
    import hashlib

    digests = [hashlib.sha256((root / name).read_bytes()).hexdigest() for name in FILES]
    return "\n".join([*digests, sys.version, str(root), extra])


def _say(sentence: str, status: int = 0) -> int:
    sys.stderr.write(f"swaplib: {sentence}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
