"""The generated parts of README.md: its figure, five answers and the index of notebooks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from swaplib.answers import findings
from swaplib.run import collection, collection_folder, explorers

if TYPE_CHECKING:
    import pandas as pd

    from swaplib.sim.outcome import Outcome

FIGURE, TABLE = "figures/overview.svg", "figures/overview.csv"
FIVE = {  # a finding's question, and what a reader of the page asks
    "picture": "Does the patch help, by how much, and when not?",
    "Q2": "Is the threshold of two exiting processes right?",
    "Q4": "How many kworkers should free swap entries?",
    "Q6": "Is there a simpler way, without a kworker?",
    "significance": "Are the gains that the patch reports real?",
}


def refresh_readme() -> list[Path]:
    """Make README.md, its figure and the table behind it anew; a README without our markers is left alone."""
    from swaplib.analysis.style import set_style
    from swaplib.analysis.timeline import plot_timeline

    notebooks = collection_folder()
    readme = notebooks.parent / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    if "made by `swaplib regenerate`" not in text:
        return []
    readme.write_text(refresh(text), encoding="utf-8")
    outcomes = overview()
    (notebooks / FIGURE).parent.mkdir(exist_ok=True)
    overview_table(outcomes).to_csv(notebooks / TABLE, index=False)
    set_style()
    plot_timeline(*outcomes).savefig(notebooks / FIGURE, metadata={"Date": None})  # the same bytes every time
    return [readme, notebooks / TABLE, notebooks / FIGURE]


def overview() -> tuple[Outcome, Outcome]:
    """Return the two runs of README's figure: the camera storm under sync and under the patch."""
    from swaplib.catalogue import kernel, machine, policy, storm
    from swaplib.sim.simulate import simulate

    phone = machine("phone-8gb")
    camera = storm("camera", phone, processes=12)
    sync, patch = (simulate(phone, kernel("6.11"), camera, policy(name)) for name in ("sync", "async-v3"))
    return sync, patch


def overview_table(outcomes: tuple[Outcome, Outcome]) -> pd.DataFrame:
    """Return what the figure shows: policy, and the columns of `timeline_table` in 40 bins, rounded."""
    import pandas as pd

    from swaplib.analysis.timeline import timeline_table

    tables = [timeline_table(outcome, bins=40).assign(policy=outcome.policy.name) for outcome in outcomes]
    return pd.concat(tables, ignore_index=True).round(3)


def refresh(text: str) -> str:
    """Return README's text with both tables made anew; ValueError if a marker is missing."""
    for name, table in {"answers": answers_table(), "notebooks": notebooks_table()}.items():
        begin, end = f"<!-- {name}: made by `swaplib regenerate` -->", f"<!-- end of {name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"README.md: the markers '{begin}' and '{end}' are missing")
        text = f"{before}{begin}\n{table}\n{end}{after}"
    return text


def answers_table() -> str:
    """Return the findings that answer the five questions as a Markdown table."""
    found = findings().set_index("question")
    rows = ["| question | answer | notebook |", "|---|---|---|"]
    for name, question in FIVE.items():
        notebook = found.notebook[name]
        link = f"[{notebook[:2]}](notebooks/{notebook}.ipynb)"
        rows.append(f"| {question} | **{_cell(found.verdict[name])}** | {link} |")
    return "\n".join(rows)


def notebooks_table() -> str:
    """Return the notebooks as a Markdown table: name and question."""
    rows = ["| notebook | question |", "|---|---|"]
    for notebook in [*collection(), *explorers()]:
        path = notebook.path.relative_to(collection_folder()).as_posix()
        rows.append(f"| [{notebook.name}](notebooks/{path}) | {_cell(notebook.question)} |")
    return "\n".join(rows)


def _cell(text: str) -> str:
    """Make text safe inside a table's cell."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
