"""The generated parts of README.md: its figure, its table of findings and its index of notebooks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from swaplib.answers import findings
from swaplib.evidence.datasets import load
from swaplib.notebooks import collection, collection_folder, explorers

if TYPE_CHECKING:
    import pandas as pd

    from swaplib.sim.outcome import Outcome

FIGURE = "figures/overview.svg"
TABLE = "figures/overview.csv"
RUN_TIMES = "figures/run_times.csv"


def refresh_readme(seconds: Mapping[str, float] | None = None) -> list[Path]:
    """Make README.md, its figure and the table behind the figure anew; return the files that changed.

    A collection without a README that carries our markers is left alone. `seconds` that every notebook took, by name,
    become the run times of the index.
    """
    notebooks = collection_folder()
    readme = notebooks.parent / "README.md"
    if not readme.is_file() or "made by `swaplib regenerate`" not in readme.read_text(encoding="utf-8"):
        return []
    changed = []
    if seconds and set(seconds) >= {notebook.name for notebook in collection()}:
        times = "".join(f"{name},{round(took)}\n" for name, took in sorted(seconds.items()))
        (notebooks / RUN_TIMES).write_text("notebook,seconds\n" + times, encoding="utf-8")
        changed.append(notebooks / RUN_TIMES)
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
    """Return every finding as a Markdown table: question, verdict, notebook; the thread's questions come first."""
    asked = load("mail/questions").set_index("question").text
    own = {notebook.name: notebook.question for notebook in collection()}
    rows = []
    for row in findings().itertuples():
        number = str(row.question)
        question = f"{number}: {asked[number]}" if number in asked.index else own[str(row.notebook)]
        link = f"[{str(row.notebook)[:2]}](notebooks/{row.notebook}.ipynb)"
        line = f"| {_cell(question)} | **{_cell(str(row.verdict))}** | {link} |"
        rows.append((number not in asked.index, int(number[1:]) if number in asked.index else 0, line))
    table = [line for *_, line in sorted(rows, key=lambda row: row[:2])]
    return "\n".join(["| question | answer | notebook |", "|---|---|---|", *table])


def notebooks_table() -> str:
    """Return the notebooks as a Markdown table: name, question, and the seconds that it took once."""
    times = collection_folder() / RUN_TIMES
    took = (
        dict(line.split(",") for line in times.read_text(encoding="utf-8").split()) if times.is_file() else {}
    )
    rows = ["| notebook | question | seconds |", "|---|---|--:|"]
    for notebook in [*collection(), *explorers()]:
        link = f"[{notebook.name}](notebooks/{notebook.path.relative_to(collection_folder()).as_posix()})"
        rows.append(f"| {link} | {_cell(notebook.question)} | {took.get(notebook.name, '')} |")
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
