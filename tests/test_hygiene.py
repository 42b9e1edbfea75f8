"""Every committed notebook keeps the conventions, so that strict nbval compares what readers see."""

import ast
import contextlib
import itertools
import json
import re
from pathlib import Path

import matplotlib.pyplot
import nbformat
import papermill
import pytest

import swaplib
from swaplib.answers import Finding, findings, findings_in
from swaplib.run import clean, collection

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = collection(FOLDER)
FILES = [*FOLDER.glob("[0-9]*.ipynb"), *FOLDER.glob("explore/[!.]*.ipynb")]

# A parameter that matters, for every notebook with an answer: setting it must change the finding.
MATTERS = {
    "00_start_here": {"policy": "sync-batched"},
    "01_patch_tables": {"app": "com.netease.sky.vivo"},
    "02_significance": {"test": "welch"},
    "03_gather": {"page_kib": 16},
    "04_entry_cost": {"processes": 16},
    "05_validation": {"within_percent": 10},
    "06_camera_launch": {"kernel": "6.18", "draws": 20, "kernels": ["6.18"]},
    "07_threshold": {"kernel": "6.18", "replications": 4},
    "08_kworkers": {"run_entries": 1, "exits": [8], "nodes": [1, 2]},
    "09_alternatives": {"processes": 6, "replications": 2},
    "10_side_effects": {"processes": 6, "draws": 2},
    "11_sensitivity": {"points": 10},
    "12_your_machine": {"fit_processes": 1, "replications": 2},
    "13_contention": {"within_percent": 50},
    "14_reply": {"findings_from": "explore"},
}

ABSOLUTE = re.compile(r"(?<![\w.:/~])/(home|root|tmp|usr|var|opt|mnt|srv|work|Users|private)/\w|\b[A-Z]:\\\w")
UNSTABLE = re.compile(
    r"cpu_count|sched_getaffinity|\bplatform\.|gethostname|\buname\b|getpass|datetime\.now|\btime\.\w*\("
    r"|perf_counter|^%%?time|os\.environ|\bPath\.home",
    re.M,
)
OUTSIDE = re.compile(r"!\[[^\]]*\]\(\s*(?:https?:)?//|<(?:img|script|link|iframe)[^>]*(?:https?:)?//")
ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")

every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
every_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.name)


def read(path):
    return nbformat.read(path, as_version=4)


def code(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def sources(path):
    return "\n".join(cell.source for cell in read(path).cells)


def shown_text(path):
    """Join what a notebook's outputs show as text; pictures are no text."""
    texts = []
    for output in (output for cell in code(path) for output in cell.outputs):
        data = output.get("data", {})
        texts += [
            output.get("text", ""),
            *(str(data[kind]) for kind in data if not kind.startswith("image/")),
        ]
    return "\n".join(texts)


@every_file
def test_a_notebook_is_valid_and_as_after_one_clean_execution_without_errors_or_warnings(path):
    nbformat.validate(json.loads(path.read_text()))
    stored, cleaned = read(path), read(path)
    clean(cleaned)
    assert stored == cleaned
    assert stored.metadata.kernelspec.name == "python3"
    assert [cell.execution_count for cell in code(path)] == list(range(1, len(code(path)) + 1))
    outputs = [output for cell in code(path) for output in cell.outputs]
    assert [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"] == []


@every_notebook
def test_title_question_parameters_check_and_answer_come_first(notebook):
    cells = read(notebook.path).cells
    number = re.fullmatch(r"(\d\d)_[a-z0-9]+(_[a-z0-9]+)*", notebook.name)[1]
    assert re.match(rf"# {number} · \S.*\n\n\S", cells[0].source)
    assert "?" in notebook.question
    tags = [cell.metadata.get("tags") for cell in cells]
    assert tags[1:3] == [["parameters"], ["check"]]
    assert not {"parameters", "check", "injected-parameters"} & set(itertools.chain(*filter(None, tags[3:])))
    assert findings_in(json.dumps({"cells": cells[:6]}), notebook.name)


@every_notebook
def test_every_parameter_has_type_literal_default_and_help_and_is_checked(notebook):
    cells = read(notebook.path).cells
    for parameter in notebook.parameters:
        assert parameter.type
        assert parameter.help
        ast.literal_eval(parameter.default)
    seen = papermill.inspect_notebook(str(notebook.path)).values()
    assert [tuple(p.values()) for p in seen] == list(notebook.parameters)
    statements, lines = ast.parse(cells[1].source).body, cells[1].source.splitlines()
    assert len(statements) == len(lines) == len(notebook.parameters)
    calls = [node for node in ast.walk(ast.parse(cells[2].source)) if isinstance(node, ast.Call)]
    checks = [call for call in calls if ast.unparse(call.func).endswith("check_parameters")]
    checked = {keyword.arg for call in checks for keyword in call.keywords}
    assert checked == {parameter.name for parameter in notebook.parameters}


def answers_of(notebook, **given):
    """Run a notebook in this process, some parameters set, and return its answers by question."""
    namespace, answers = {"display": print}, {}
    with contextlib.chdir(notebook.path.parent), matplotlib.rc_context():
        for cell in code(notebook.path):
            tree = ast.parse(cell.source)
            shown = ast.unparse(tree.body.pop()) if isinstance(tree.body[-1], ast.Expr) else "None"
            exec(compile(tree, notebook.name, "exec"), namespace)
            answer = eval(shown, namespace)
            answers |= {answer.question: answer} if isinstance(answer, Finding) else {}
            namespace |= given if "parameters" in cell.metadata.get("tags", []) else {}
    matplotlib.pyplot.close("all")
    return answers


@every_notebook
def test_the_answer_changes_when_a_parameter_that_matters_is_set(notebook):
    stored = {found.question: found for found in findings_in(notebook.path.read_text(), notebook.name)}
    changed = answers_of(notebook, **MATTERS[notebook.name])
    assert set(changed) == set(stored)
    assert any(changed[question].values != stored[question].values for question in stored)


def test_every_question_has_one_answer_in_the_notebook_that_is_to_give_it():
    found = findings(FOLDER)
    assert set(found.notebook) == {notebook.name for notebook in NOTEBOOKS}
    asked = swaplib.load("mail/questions").set_index("question").notebook
    given = found.set_index("question").notebook
    assert given[given.index.isin(asked.index)].sort_index().to_dict() == asked.sort_index().to_dict()


@every_file
def test_cells_are_few_and_short_and_functions_have_a_few_lines(path):
    cells = [cell.source.splitlines() for cell in code(path)]
    lines = [line for cell in cells for line in cell]
    assert len(cells) <= 16
    assert len(lines) / len(cells) <= 8.0
    assert max(map(len, cells)) <= 20
    assert max(map(len, lines)) <= 100
    assert sum(map(len, lines)) / len(lines) < 48
    for node in (node for cell in code(path) for node in ast.walk(ast.parse(cell.source))):
        assert not isinstance(node, ast.ClassDef)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 4, ast.unparse(node)


@every_notebook
def test_an_answer_is_one_or_two_sentences_and_its_verdict_a_few_words(notebook):
    for found in findings_in(notebook.path.read_text(), notebook.name):
        assert len(found.sentence.split()) <= 45, found.sentence
        assert len(found.verdict.split()) <= 15, found.verdict


@every_file
def test_no_path_of_a_machine_time_or_address_and_nothing_from_outside_is_shown(path):
    assert ABSOLUTE.findall(sources(path) + shown_text(path)) == []
    assert UNSTABLE.findall("\n".join(cell.source for cell in code(path))) == []
    assert ADDRESS.findall(shown_text(path)) == []
    assert OUTSIDE.findall(sources(path) + shown_text(path)) == []


@every_file
def test_strict_nbval_compares_every_cell(path):
    exempt = {"nbval-ignore-output", "nbval-skip", "raises-exception", "nbval-raises-exception"}
    tags = {tag for cell in read(path).cells for tag in cell.metadata.get("tags", [])}
    assert path.parent != FOLDER or not tags & exempt
    assert "NBVAL_" not in path.read_text()
