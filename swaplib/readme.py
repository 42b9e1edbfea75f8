"""The generated parts of README.md: its figure, five answers and the index of notebooks."""

from __future__ import annotations

from pathlib import Path

from swaplib.answers import findings
from swaplib.run import collection, collection_folder, explorers, replace_text

FIVE = {  # a finding's question, and what a reader of the page asks
    "picture": "Does the camera start sooner with the patch, by how much, and when not?",
    "Q2": "What changes for the camera with a threshold of one exit, or a kworker at nice 0?",
    "Q4": "How many kworkers should free swap entries?",
    "Q6": "Is there a simpler way, without a kworker?",
    "significance": "Are the gains that the patch reports real?",
}


def refresh_readme() -> None:
    """Make README.md and its figure anew; a README without our markers is left alone."""
    readme = collection_folder().parent / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    if "made by `swaplib regenerate`" in text:
        replace_text(readme, refresh(text))
        draw_overview(collection_folder() / "figures" / "overview.svg")


def draw_overview(path: Path) -> None:
    """Draw the camera storm under sync and under the patch, in the same bytes every time."""
    from swaplib import catalogue
    from swaplib.analysis.style import set_style
    from swaplib.analysis.timeline import plot_timeline
    from swaplib.sim.simulate import simulate

    phone, kernel = catalogue.machine("phone-8gb"), catalogue.kernel("6.11")
    camera = catalogue.storm("camera", phone, processes=12)
    policies = (catalogue.policy(name) for name in ("sync", "async-v3"))
    set_style()
    figure = plot_timeline(*[simulate(phone, kernel, camera, policy) for policy in policies])
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def refresh(text: str) -> str:
    """Return README's text with both tables made anew; ValueError if a marker is missing."""
    found = findings().set_index("question")
    answers = ["| question | answer | notebook |", "|---|---|---|"]
    for name, question in FIVE.items():
        verdict, notebook = _cell(found.verdict[name]), found.notebook[name]
        answers.append(f"| {question} | **{verdict}** | [{notebook[:2]}](notebooks/{notebook}.ipynb) |")
    notebooks = ["| notebook | question |", "|---|---|"]
    for one in [*collection(), *explorers()]:
        path = one.path.relative_to(collection_folder()).as_posix()
        notebooks.append(f"| [{one.name}](notebooks/{path}) | {_cell(one.question)} |")
    for name, rows in {"answers": answers, "notebooks": notebooks}.items():
        begin, end = f"<!-- {name}: made by `swaplib regenerate` -->", f"<!-- end of {name} -->"
        if begin not in text or end not in text:
            raise ValueError(f"README.md: the markers '{begin}' and '{end}' are missing")
        before, _, rest = text.partition(begin)
        text = "\n".join([before + begin, *rows, end + rest.partition(end)[2]])
    return text


def _cell(text: str) -> str:
    """Make text safe inside a table's cell."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
