"""Lint, format, types and docstrings hold; nothing tracked names a path of one machine or a registry."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
IMPORT = """import sys, swaplib
sys.exit(" ".join({"numpy", "pandas", "matplotlib", "yaml", "numba"} & set(sys.modules)) or 0)"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "ruff", "check", "--quiet", "."],
        ["-m", "ruff", "format", "--check", "--quiet", "--diff", "."],
        ["-m", "mypy"],
        ["-W", "error", "-c", IMPORT],
    ],
    ids=["lint", "format", "types", "import of the standard library alone"],
)
def test_the_checkout_is_clean(arguments):
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(arguments)}\n{done.stdout}{done.stderr}", pytrace=False)


def test_nothing_tracked_names_a_path_of_one_machine_or_a_package_registry():
    path = rb"""(?<![\w.:/<>-])/(?:tmp|root|work|var/tmp|home/[a-z]+|Users/[A-Za-z]+)/\w[^\s"']*"""
    hosts = [rb"pypi" + rb"\.org", rb"python" + rb"hosted\.org", rb"anaconda" + rb"\.org"]
    hosts.append(b"extra-index" + b"-url")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    found = []
    for file in filter(Path.is_file, (ROOT / name for name in listed.stdout.split("\0") if name)):
        is_example = file.name == "test_hygiene.py"  # it holds examples of such paths
        wrong = hosts if is_example else [path, *hosts]
        found += [f"{file.name}: {text!r}" for text in re.findall(b"|".join(wrong), file.read_bytes())]
    assert found == []
