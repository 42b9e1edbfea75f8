"""Every committed notebook keeps the collection's conventions, so that strict nbval compares what readers see."""

import ast
import json
import re
from pathlib import Path

import nbformat
import papermill
import pytest

import swaplib
from swaplib.answers import MIME, findings, findings_in
from swaplib.execution import clean, execute
from swaplib.notebooks import collection

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = collection(FOLDER)
FILES = [
    path for path in sorted(FOLDER.rglob("*.ipynb")) if not any(part.startswith(".") for part in path.parts)
]

# A parameter that matters, for every notebook with an answer: setting it must change the finding.
MATTERS = {
    "00_start_here": {"policy": "sync-batched"},
    "01_patch_tables": {"app": "com.netease.sky.vivo"},
    "02_significance": {"test": "welch"},
    "03_gather": {"page_kib": 16},
    "04_entry_cost": {"processes": 16},
    "05_validation": {"split": "tune"},
    "06_camera_launch": {"kernel": "6.18", "draws": 20},
    "07_threshold": {"kernel": "6.18"},
    "08_kworkers": {"processes": 32},
    "09_alternatives": {"processes": 6, "replications": 2},
    "10_side_effects": {"processes": 6},
    "11_sensitivity": {"trajectories": 2, "replications": 1, "sobol": "none"},
    "12_your_machine": {"fit_processes": 1},
}

ABSOLUTE = re.compile(
    r"(?<![\w.:/~])/(?:home|root|tmp|usr|var|opt|mnt|srv|work|Users|private)/\w|\b[A-Z]:\\\w"
)
UNSTABLE = re.compile(
    r"cpu_count|sched_getaffinity|\bplatform\.|gethostname|\buname\b|getpass|datetime\.now|\btime\.\w*\(|perf_counter"
    r"|^%%?time|os\.environ|\bPath\.home",
    re.M,
)
ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")

every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
every_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.name)


def read(path):
    return nbformat.read(path, as_version=4)


def code(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def outputs(path):
    return [output for cell in code(path) for output in cell.outputs]


def shown_text(path):
    """Join what a notebook's outputs show as text; pictures are no text."""
    texts = [output.get("text", "") for output in outputs(path)]
    for output in outputs(path):
        texts += [str(data) for kind, data in output.get("data", {}).items() if not kind.startswith("image/")]
    return "\n".join(texts)


def tagged(path, tag):
    return [cell for cell in read(path).cells if tag in cell.metadata.get("tags", [])]


@every_file
def test_a_notebook_is_valid(path):
    nbformat.validate(json.loads(path.read_text()))


@every_file
def test_a_notebook_asks_for_the_kernel_python3(path):
    assert read(path).metadata.kernelspec.name == "python3"


@every_notebook
def test_a_notebook_starts_with_its_number_title_and_question(notebook):
    first = read(notebook.path).cells[0]
    number = re.fullmatch(r"(\d\d)_[a-z0-9]+(_[a-z0-9]+)*", notebook.name)[1]
    assert first.cell_type == "markdown"
    assert re.match(rf"# {number} · \S.*\n\n\S", first.source)
    assert "?" in notebook.question


@every_notebook
def test_parameters_and_their_check_have_one_cell_each_and_come_first(notebook):
    cells = read(notebook.path).cells
    assert [cell.metadata.get("tags") for cell in cells[1:3]] == [["parameters"], ["check"]]
    assert len(tagged(notebook.path, "parameters")) == len(tagged(notebook.path, "check")) == 1


@every_notebook
def test_every_parameter_has_type_literal_default_and_help_and_papermill_sees_it(notebook):
    for parameter in notebook.parameters:
        assert parameter.type
        assert parameter.help
        ast.literal_eval(parameter.default)
    seen = papermill.inspect_notebook(str(notebook.path)).values()
    assert [tuple(p.values()) for p in seen] == [
        (p.name, p.type, p.default, p.help) for p in notebook.parameters
    ]
    (cell,) = tagged(notebook.path, "parameters")
    assert len(ast.parse(cell.source).body) == len(cell.source.splitlines()) == len(notebook.parameters)


@every_notebook
def test_every_parameter_is_checked(notebook):
    (cell,) = tagged(notebook.path, "check")
    calls = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)]
    checks = [call for call in calls if ast.unparse(call.func).endswith("check_parameters")]
    assert {keyword.arg for call in checks for keyword in call.keywords} == {
        p.name for p in notebook.parameters
    }


@every_notebook
def test_the_answer_is_within_the_first_six_cells(notebook):
    cells = read(notebook.path).cells
    answering = [
        position
        for position, cell in enumerate(cells, start=1)
        for output in cell.get("outputs", [])
        if MIME in output.get("data", {})
    ]
    assert answering
    assert min(answering) <= 6


def test_every_answer_has_a_parameter_that_matters():
    assert {notebook.name for notebook in NOTEBOOKS} <= set(MATTERS)


@every_notebook
def test_the_answer_changes_when_a_parameter_that_matters_is_set(notebook):
    ended = []
    execute([notebook], {notebook.name: MATTERS[notebook.name]}, ended.append)
    (execution,) = ended
    assert execution.error is None
    stored = {found.question: found for found in findings_in(notebook.path.read_text(), notebook.name)}
    changed = {found.question: found for found in findings_in(execution.output, notebook.name)}
    assert set(changed) == set(stored)
    assert any(changed[question].values != stored[question].values for question in stored)


def test_each_question_of_the_thread_has_one_answer_in_the_notebook_that_is_to_give_it():
    asked = swaplib.load("mail/questions").set_index("question").notebook
    given = findings(FOLDER).set_index("question").notebook
    assert given[given.index.isin(asked.index)].sort_index().to_dict() == asked.sort_index().to_dict()


def test_no_question_is_answered_twice():
    found = findings(FOLDER)
    assert found.question.is_unique
    assert set(found.notebook) == {notebook.name for notebook in NOTEBOOKS}


def test_the_first_notebook_refers_to_every_other():
    first, *others = NOTEBOOKS
    assert first.name == "00_start_here"
    text = json.dumps([cell.source for cell in read(first.path).cells]) + shown_text(first.path)
    assert [notebook.name for notebook in others if notebook.name not in text] == []


@every_file
def test_counts_run_from_one_as_after_one_clean_execution(path):
    assert [cell.execution_count for cell in code(path)] == list(range(1, len(code(path)) + 1))


@every_file
def test_no_output_is_an_error_or_comes_from_stderr(path):
    assert [
        output for output in outputs(path) if output.output_type == "error" or output.get("name") == "stderr"
    ] == []


@every_file
def test_no_metadata_of_a_run_is_stored(path):
    stored, cleaned = read(path), read(path)
    clean(cleaned)
    assert stored == cleaned
    assert not tagged(path, "injected-parameters")


@every_file
def test_a_notebook_has_fewer_than_30_cells_of_at_most_25_lines(path):
    cells = read(path).cells
    assert len(cells) < 30
    assert [cell.source for cell in cells if len(cell.source.splitlines()) > 25] == []


@every_file
def test_no_function_is_longer_than_two_lines(path):
    for cell in code(path):
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.ClassDef)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno - node.lineno < 2, ast.unparse(node)


@every_file
def test_no_absolute_path_stands_in_source_or_output(path):
    source = "\n".join(cell.source for cell in read(path).cells)
    assert ABSOLUTE.findall(source) == []
    assert ABSOLUTE.findall(shown_text(path)) == []


@every_file
def test_no_output_depends_on_time_host_or_cpu_count(path):
    assert UNSTABLE.findall("\n".join(cell.source for cell in code(path))) == []
    assert ADDRESS.findall(shown_text(path)) == []


@every_file
def test_no_picture_is_loaded_from_outside(path):
    text = "\n".join(cell.source for cell in read(path).cells) + shown_text(path)
    assert (
        re.findall(r"!\[[^\]]*\]\(\s*(?:https?:)?//|<(?:img|script|link|iframe)[^>]*(?:https?:)?//", text)
        == []
    )


@every_file
def test_strict_nbval_compares_every_cell(path):
    exempt = {"nbval-ignore-output", "nbval-skip", "raises-exception", "nbval-raises-exception"}
    if path.parent == FOLDER:
        assert [cell.source for tag in exempt for cell in tagged(path, tag)] == []
    assert "NBVAL_" not in path.read_text()


@pytest.mark.parametrize("text", ["/home/me/x", "in '/tmp/a'", r"C:\Users\me", "(/srv/data)"])
def test_an_absolute_path_would_be_found(text):
    assert ABSOLUTE.search(text)


@pytest.mark.parametrize(
    "text", ["/proc/PID/status", "https://lore.kernel.org/all/x", "data/tmp/x", "and/or"]
)
def test_what_is_no_path_of_a_machine_is_not_taken_for_one(text):
    assert not ABSOLUTE.search(text)


@pytest.mark.parametrize("text", ["os.cpu_count()", "time.perf_counter()", "%time f()", "platform.node()"])
def test_what_asks_for_time_host_or_cpu_count_would_be_found(text):
    assert UNSTABLE.search(text)
