"""A collection of tiny notebooks, written where a test wants it."""

import textwrap
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

TAKES = """
sides: int = 6  # sides of the die: 4, 6 or 20
share: float = 0.5  # share of throws that count
label: str = ""  # shown beside the answer
loud: bool = False  # say it loudly
throws: list[int] = [1, 2]  # throws a round
"""
CHECKS = """
import swaplib
swaplib.check_parameters(globals(), sides=[4, 6, 20], share=(0.0, 1.0), label=str, loud=bool,
                         throws=swaplib.each(range(1, 10)))
"""
ANSWERS = """
mean = (sides + 1) / 2
swaplib.finding("dice", f"A die of {sides} sides shows {mean:.3g} on average & <b>{label}</b>.",
                values={"mean": mean}, verdict="loud" if loud else "quiet")
"""
ASKS = "# 01 · Dice\n\nHow many sides has **the** die,\nand `why`?\n\nNot the question any more."
DICE = [("", ASKS), ("parameters", TAKES), ("check", CHECKS), ("", ANSWERS)]

COINS = [
    ("", "# 02 · Coins\n\nHow many sides has a coin?"),
    ("parameters", "coins: int = 2  # coins in the purse\nsides: int = 2  # sides of a coin"),
    ("check", "import swaplib\nswaplib.check_parameters(globals(), coins=range(1, 4), sides=range(2, 7))"),
    ("", 'swaplib.finding("coins", f"{coins} coins of {sides} sides.", values={}, verdict="known")'),
]

START = [
    ("", "# 00 · Start here\n\nWhich notebook answers what?\n\n[Dice](01_dice.ipynb)"),
    ("parameters", 'findings_from: str = ""  # folder with executed notebooks; empty: this collection'),
    ("check", "import swaplib\nswaplib.check_parameters(globals(), findings_from=str)"),
    ("", "print(list(swaplib.findings(findings_from).query(\"question != 'start'\").sentence))"),
]

BROKEN = [
    ("", "# 03 · Broken\n\nWhat happens when a notebook fails?"),
    ("parameters", "divisor: int = 0  # divides"),
    ("check", "import swaplib\nswaplib.check_parameters(globals(), divisor=int)"),
    ("", "print('before')\n1 / divisor"),
    ("", "print('after')"),
]

COLLECTION = {"00_start": START, "01_dice": DICE, "02_coins": COINS}


def write_collection(folder: Path, **others: list[tuple[str, str]]) -> Path:
    """Write the collection and other notebooks, given as name=cells, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, cells in {**COLLECTION, **others}.items():
        write_notebook(folder / f"{name}.ipynb", cells)
    return folder


def write_notebook(path: Path, cells: list[tuple[str, str]]) -> None:
    """Write a notebook of (tag, source) cells; the first is its title."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(metadata={"kernelspec": kernel})
    for position, (tag, source) in enumerate(cells):
        new_cell = new_code_cell if position else new_markdown_cell
        cell = new_cell(textwrap.dedent(source).strip(), id=f"cell-{position}")
        if tag:
            cell.metadata["tags"] = [tag]
        notebook.cells.append(cell)
    path.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, path)
