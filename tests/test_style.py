"""Lint, format, types and docstrings hold; nothing tracked names one machine's paths or a package registry."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import swaplib

ROOT = Path(__file__).parents[1]


def clean(*arguments: str) -> None:
    """Fail with the tool's own words unless ``python arguments`` in the checkout ends well."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        pytest.fail(f"{' '.join(arguments)}\n{done.stdout}{done.stderr}", pytrace=False)


def tracked() -> list[Path]:
    """The text files of the checkout that git knows, or that stand there where git does not."""
    listed = None
    if shutil.which("git") and (ROOT / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
    names = (
        listed.split("\0")
        if listed is not None
        else [
            str(path.relative_to(ROOT))
            for path in ROOT.rglob("*")
            if not {".venv", "results", ".git"} & set(path.parts)
        ]
    )
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def test_ruff_finds_nothing():
    clean("-m", "ruff", "check", "--quiet", ".")


def test_ruff_would_format_nothing():
    clean("-m", "ruff", "format", "--check", "--quiet", "--diff", ".")


def test_mypy_finds_nothing():
    clean("-m", "mypy")


def test_importing_swaplib_warns_of_nothing_and_loads_the_standard_library_alone():
    clean(
        "-W",
        "error",
        "-c",
        "import sys; import swaplib; "
        "bad = {name.split('.')[0] for name in sys.modules} & {'numpy', 'pandas', 'matplotlib', 'yaml', 'numba'}; "
        "sys.exit(str(bad) if bad else 0)",
    )


@pytest.mark.parametrize("name", swaplib.__all__)
def test_a_public_name_has_a_docstring(name):
    text = getattr(swaplib, name).__doc__ or ""
    assert len(text.strip().splitlines()[0]) > 10


def test_nothing_tracked_names_a_path_of_one_machine():
    pattern = re.compile(
        rb"""(?<![\w.:/<>-])/(?:tmp|root|work|var/tmp|home/[a-z]+|Users/[A-Za-z]+)/\w[^\s"']*"""
    )
    found = [
        f"{path.relative_to(ROOT)}: {match.group().decode(errors='replace')}"
        for path in tracked()
        if path.name != "test_hygiene.py"  # holds examples of such paths
        for match in pattern.finditer(path.read_bytes())
    ]
    assert found == []


def test_nothing_tracked_names_a_package_registry():
    hosts = "|".join(
        ["pypi" + r"\.org", "python" + r"hosted\.org", "anaconda" + r"\.org", "extra-index" + "-url"]
    )
    pattern = re.compile(hosts.encode())
    assert [str(path.relative_to(ROOT)) for path in tracked() if pattern.search(path.read_bytes())] == []
