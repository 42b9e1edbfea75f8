"""The house: layers that import downward alone, small files, a first line that says the idea."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "swaplib"
FILES = sorted(PACKAGE.rglob("*.py"))
BELOW = {  # a layer, and what it may import besides itself
    "model": set(),
    "sim": {"model"},
    "evidence": {"model"},
    "catalogue": {"model", "evidence"},
    "analysis": {"model", "sim", "evidence", "catalogue"},
    "surface": {"model", "sim", "evidence", "catalogue", "analysis"},
}


def layer(module: str) -> str:
    """The layer of a module such as ``swaplib.model.gather``; ``swaplib`` itself has all names: surface."""
    part = module.partition(".")[2].partition(".")[0]
    return part if part in BELOW else "surface"


def imported(path: Path) -> list[tuple[int, str]]:
    """Line and full name of each module of swaplib that a file imports, wherever in the file."""
    package = ("swaplib", *path.relative_to(PACKAGE).parent.parts)
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            names = [f"{module}.{alias.name}" for alias in node.names]
            found += [(node.lineno, name if module == "swaplib" else module) for name in names]
    return [(line, name) for line, name in found if name.split(".")[0] == "swaplib"]


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE.parent))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_imports_upward(path):
    if path == PACKAGE / "__init__.py":
        assert imported(path) == []  # its names load on first use
        return
    own = layer(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
    for line, name in imported(path):
        assert layer(name) in BELOW[own] | {own}, f"{name_of(path)}, line {line}: {own} imports {name}"


def test_every_folder_of_the_package_is_a_layer():
    folders = {path.parent.relative_to(PACKAGE).parts[0] for path in FILES if path.parent != PACKAGE}
    assert folders == set(BELOW) - {"surface", "catalogue"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_says_its_one_idea_in_its_first_line(path):
    text = path.read_text()
    first = (ast.get_docstring(ast.parse(text)) or "").split("\n")[0]
    assert text.startswith(('"""', 'r"""'))
    assert first.endswith((".", "?"))
    assert len(first) > 20


def lines(paths: Iterable[Path]) -> list[str]:
    return [line for path in paths for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_has_at_most_330_lines_of_at_most_110_characters(path):
    assert len(lines([path])) <= 330
    assert [line for line in lines([path]) if len(line) > 110] == []


def test_the_package_does_not_grow():
    """Bounds of today; the aim is 7,800 lines in 60 files, 3,700 of them the engine's."""
    beside = {"outcome.py", "perfetto.py"}
    engine = [path for path in FILES if path.parent.name in ("model", "sim") and path.name not in beside]
    assert len(FILES) <= 60
    assert len(lines(FILES)) <= 8_989
    assert len(lines(engine)) <= 3_640


def test_the_tests_and_the_readme_do_not_grow():
    """The budgets of tests and README.md."""
    assert len(lines(PACKAGE.parent.joinpath("tests").rglob("*.py"))) <= 7_000
    assert len(lines([PACKAGE.parent / "README.md"])) <= 120


def test_the_readme_of_the_package_names_every_file_once_and_no_other():
    text = (PACKAGE / "README.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    named = re.findall(r"`([\w/]+\.py)`", "\n".join(rows))
    files = [path for path in FILES if path.name != "__init__.py"]
    assert sorted(named) == sorted(path.relative_to(PACKAGE).as_posix() for path in files)
