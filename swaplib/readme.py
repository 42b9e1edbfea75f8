"""The generated parts of README.md: its figure, its table of findings and its index of notebooks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from swaplib.answers import findings
from swaplib.notebooks import collection, collection_folder

if TYPE_CHECKING:
    import pandas as pd

    from swaplib.sim.outcome import Outcome

FIGURE = "figures/overview.svg"
TABLE = "figures/overview.csv"


def refresh_readme() -> list[Path]:
    """Make README.md, its figure and the table behind the figure anew; return the files that changed.

    A collection without a README that carries our markers is left alone.
    """
    notebooks = collection_folder()
    readme = notebooks.parent / "README.md"
    if not readme.is_file() or "made by `swaplib regenerate`" not in readme.read_text(encoding="utf-8"):
        return []
    changed = []
    text = refresh(readme.read_text(encoding="utf-8"))
    if text != readme.read_text(encoding="utf-8"):
        readme.write_text(text, encoding="utf-8")
        changed.append(readme)
    paths = [notebooks / TABLE, notebooks / FIGURE]
    before = [path.read_bytes() if path.is_file() else b"" for path in paths]
    outcomes = overview()
    paths[0].parent.mkdir(exist_ok=True)
    paths[0].write_text(overview_table(outcomes).to_csv(index=False), encoding="utf-8")
    draw_overview(outcomes, paths[1])
    return changed + [path for path, old in zip(paths, before, strict=True) if path.read_bytes() != old]


def overview() -> tuple[Outcome, Outcome]:
    """Return the two runs of README's figure: the camera storm under sync and under the patch."""
    from swaplib.catalogue import kernel, machine, policy, storm
    from swaplib.sim.simulate import simulate

    phone = machine("phone-8gb")
    camera = storm("camera", phone, processes=12)
    before, after = (simulate(phone, kernel("6.11"), camera, policy(name)) for name in ("sync", "async-v3"))
    return before, after


def overview_table(outcomes: tuple[Outcome, Outcome]) -> pd.DataFrame:
    """Return what the figure shows: policy, and the columns of `timeline_table` in 40 bins, rounded to 1/1000."""
    import pandas as pd

    from swaplib.analysis.cpu_time import timeline_table

    tables = [timeline_table(outcome, bins=40).assign(policy=outcome.policy.name) for outcome in outcomes]
    return pd.concat(tables, ignore_index=True).round(3)


def draw_overview(outcomes: tuple[Outcome, Outcome], path: Path) -> None:
    """Draw the figure into an SVG file, the same bytes every time."""
    import matplotlib.pyplot as plt

    from swaplib.analysis.style import set_style
    from swaplib.analysis.timeline import plot_timeline

    set_style()
    figure = plot_timeline(*outcomes)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def refresh(text: str) -> str:
    """Return README's text with both tables made anew from the notebooks.

    Raises
    ------
    ValueError
        If a marker is missing.
    """
    text = _between(text, "findings", findings_table())
    return _between(text, "notebooks", notebooks_table())


def findings_table() -> str:
    """Return every finding as a Markdown table: question, answer, notebook."""
    rows = ["| question | answer | notebook |", "|---|---|---|"]
    for row in findings().itertuples():
        answer = f"**{_cell(str(row.verdict))}**: {_cell(str(row.sentence))}"
        rows.append(f"| {row.question} | {answer} | [{row.notebook}](notebooks/{row.notebook}.ipynb) |")
    return "\n".join(rows)


def notebooks_table() -> str:
    """Return the notebooks as a Markdown table: name and question."""
    rows = ["| notebook | question |", "|---|---|"]
    for notebook in collection():
        rows.append(f"| [{notebook.name}](notebooks/{notebook.path.name}) | {_cell(notebook.question)} |")
    return "\n".join(rows)


def _between(text: str, name: str, table: str) -> str:
    begin, end = f"<!-- {name}: made by `swaplib regenerate` -->", f"<!-- end of {name} -->"
    pattern = re.compile(re.escape(begin) + r".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"README.md: the markers '{begin}' and '{end}' are missing")
    return pattern.sub(lambda _: f"{begin}\n{table}\n{end}", text)


def _cell(text: str) -> str:
    """Make text safe inside a table's cell."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
