"""Make the environment that a command needs: .venv beside the package, from requirements.lock, once.

A stamp is written last, so that an environment whose making was interrupted, that is outdated or that was moved is
made anew. A process that makes it holds a lock, and so does every pip that it started, even after its own death.
"""

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from swaplib.installing import NO_VENV, Progress, SetupError, call, explain

try:
    import fcntl
except ImportError:  # Windows: there nothing keeps two commands apart
    fcntl = None  # type: ignore[assignment]

MARK = "made-by-swaplib.txt"  # in .venv from its first moment; also the file that is locked
STAMP = "swaplib-stamp.txt"  # in .venv from its last moment


def start(arguments: list[str], package: Path | None = None) -> int:
    """Run a command here if this environment is good enough for it, else in .venv; return its exit status.

    arguments: the command and its arguments, as ``swaplib.cli.main`` takes them.
    package: the folder of the package; this file's if None.
    """
    root = (package or Path(__file__).parent).resolve().parent
    if not all((root / name).is_file() for name in ("pyproject.toml", "requirements.lock")):
        return _complain(
            f"the notebooks are not beside the installed package ({root} is not a clone of the repository); "
            "call python3 -m swaplib inside a clone"
        )
    if Path(sys.prefix).resolve() == root / ".venv":
        because = unready(root)
    else:
        because = _phrase(shortcomings(root, exact=arguments[0] == "test"), arguments[0])
    if not because:
        return _run_here(arguments, root)
    try:
        python = set_up(root, because)
    except SetupError as error:
        return _complain(str(error))
    return _run_there(python, arguments)


def shortcomings(root: Path, *, exact: bool) -> list[str]:
    """Say in which points the running environment is not what a command needs; empty if it is.

    exact: compare with the versions in requirements.lock, those of the tests included, instead of with the ranges
    in pyproject.toml.
    """
    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ImportError:
        return ["packaging is missing"]
    found = []
    for line in (locked if exact else declared)(root):
        try:
            wanted = Requirement(line)
        except InvalidRequirement:
            return ["packaging is too old"]
        if wanted.marker and not wanted.marker.evaluate():
            continue
        try:
            version = metadata.version(wanted.name) or "0"
        except metadata.PackageNotFoundError:
            found.append(f"{wanted.name} is missing")
            continue
        if not wanted.specifier.contains(version, prereleases=True):
            found.append(f"{wanted.name} is {version} instead of {wanted.specifier}")
    return found


def locked(root: Path) -> list[str]:
    """Return the lines of requirements.lock that name a package."""
    lines = (root / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def declared(root: Path) -> list[str]:
    """Return the dependencies in pyproject.toml, without its extras."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]


def unready(root: Path) -> str:
    """Say why .venv cannot be used as it is; empty if it can."""
    place = root / ".venv"
    if not place.exists():
        return "there is no .venv yet"
    try:
        stamp = (place / STAMP).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ".venv is unfinished"
    wanted = _stamp(root)
    for line, right in zip(stamp, wanted, strict=False):
        if line != right:
            return f".venv was made for another {right.split(' = ')[0]}"
    return "" if len(stamp) == len(wanted) and _python(place).exists() else ".venv is damaged"


def set_up(root: Path, because: str = "") -> Path:
    """Make .venv unless it is ready, and return its Python.

    because: why the running environment is not enough, for the sentence that is shown.

    Raises
    ------
    SetupError
        If it cannot be made; what was begun is removed.
    """
    place = root / ".venv"
    reason = unready(root)
    if not reason:
        return _python(place)
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise SetupError(NO_VENV)
    try:
        with _alone(place) as lock:
            if unready(root):  # nobody made it while we waited
                _make(root, place, " and ".join(dict.fromkeys([because or reason, reason])), lock)
    except OSError as error:
        raise SetupError(explain(root, [str(error)])) from error
    return _python(place)


def steps(place: Path) -> list[list[str]]:
    """Return the commands that make the environment, in order; the folder of pyproject.toml is current."""
    base = (
        getattr(sys, "_base_executable", None) or sys.executable
    )  # our own may lie in the .venv to be replaced
    pip = [str(_python(place)), "-I", "-m", "pip", "install", "--progress-bar=off"]
    return [
        [base, "-I", "-m", "venv", "--prompt=swaplib", str(place)],
        [*pip, "-r", "requirements.lock"],
        [*pip, "--no-deps", "--no-build-isolation", "-e", "."],
    ]


def _make(root: Path, place: Path, because: str, lock: int) -> None:
    """Make .venv from nothing; what failed is removed, what was interrupted stays without a stamp."""
    _say(f"{because}: making .venv from requirements.lock, once (about a minute, 1.2 GB)")
    began = time.monotonic()
    try:
        keep = (lock,) if fcntl else ()  # an orphan keeps the lock, so that nobody builds beside it
        with Progress(place, len(locked(root))) as progress:
            _clear(place)
            for command in steps(place):
                call(command, root, keep, progress.see)
        unwritten = place / f"{STAMP}.new"
        unwritten.write_text("\n".join(_stamp(root)) + "\n", encoding="utf-8")
        unwritten.replace(place / STAMP)
    except (SetupError, OSError):
        shutil.rmtree(place, ignore_errors=True)
        raise
    _say(f".venv is ready after {time.monotonic() - began:.0f} s")


def _clear(place: Path) -> None:
    """Remove everything but the mark, the stamp first."""
    (place / STAMP).unlink(missing_ok=True)
    for child in place.iterdir():
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        elif child.name != MARK:
            child.unlink()


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[int]:
    """Hold the lock of .venv, making the folder if need be; give the lock's file descriptor."""
    while True:
        if place.exists() and not (place / MARK).exists() and any(place.iterdir()):
            raise SetupError(
                f"{place} was not made by swaplib, so it is left as it is; move it away, "
                "or install requirements.lock into it and call its own python -m swaplib"
            )
        place.mkdir(exist_ok=True)
        lock = os.open(place / MARK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _wait(lock)
            if fcntl and not _is(lock, place / MARK):  # removed by the one that we waited for
                continue
            os.ftruncate(lock, 0)
            os.write(lock, b"Made by python3 -m swaplib; this folder may be deleted at any time.\n")
            yield lock
            return
        finally:
            os.close(lock)


def _wait(lock: int) -> None:
    if not fcntl:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _say("another command is making .venv; waiting for it")
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError:  # a file system without locks
        return


def _is(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _stamp(root: Path) -> list[str]:
    """Return what .venv depends on, a line each."""
    version = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor} {sysconfig.get_platform()}"
    digests = [f"{name} = {_digest(root / name)}" for name in ("requirements.lock", "pyproject.toml")]
    return [*digests, f"Python = {version}", f"place = {root / '.venv'}"]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _python(place: Path) -> Path:
    return place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _phrase(lacking: list[str], command: str) -> str:
    if not lacking:
        return ""
    more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
    locked_only = ", and test wants the versions of requirements.lock" if command == "test" else ""
    return f"in this Python {lacking[0]}{more}{locked_only}"


def _run_here(arguments: list[str], root: Path) -> int:
    """Run the command in this process; what it starts imports this very package."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    from swaplib import cli

    return cli.main(arguments)


def _run_there(python: Path, arguments: list[str]) -> int:
    """Become .venv's Python, so that signals and the exit status are its own."""
    command = [str(python), "-m", "swaplib", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name != "nt":
        os.execve(python, command, environment)
    return subprocess.call(command, env=environment)


def _say(sentence: str) -> None:
    sys.stderr.write(f"swaplib: {sentence}\n")
    sys.stderr.flush()


def _complain(sentence: str) -> int:
    _say(sentence)
    return 1
