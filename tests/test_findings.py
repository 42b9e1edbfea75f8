"""A finding carries a notebook's answer, escaped for readers and exact for strict nbval."""

import math
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_notebook, new_output

from swaplib.answers import MIME, finding, findings
from swaplib.run import child_environment

CALL = 'import swaplib\nswaplib.finding("gather", "It holds 3.", values={"held": 3.14159}, verdict="bounded")'


def example(**changes):
    given = {"question": "Q1", "sentence": "It is 3.", "values": {"a": 1}, "verdict": "yes", **changes}
    return finding(**given)


def write(path: Path, *bundles):
    """Write an executed notebook with one cell for each bundle of outputs."""
    cells = []
    for number, bundle in enumerate(bundles, start=1):
        output = new_output("execute_result", data=bundle, execution_count=number)
        cells.append(new_code_cell(CALL, execution_count=number, outputs=[output]))
    nbformat.write(new_notebook(cells=cells), path)


def test_a_finding_shows_itself_as_text_html_and_values():
    bundle = example(verdict="<i>")._repr_mimebundle_()
    assert bundle["text/plain"] == "Q1: <i>\nIt is 3."
    assert "&lt;i&gt;" in bundle["text/html"]
    assert bundle[MIME] == {"question": "Q1", "sentence": "It is 3.", "values": {"a": 1}, "verdict": "<i>"}


@given(st.floats(1e-300, 1e300) | st.floats(-1e300, -1e-300))
def test_floats_keep_three_significant_figures(number):
    kept = example(values={"x": number}).values["x"]
    assert kept == float(f"{number:.3g}")
    assert math.isclose(kept, number, rel_tol=0.00501)


@pytest.mark.parametrize(
    ("part", "wrong", "message"),
    [
        ("question", ["Q0", "q1 ", "", "a" * 25, None], "expected Q1 to Q16 or a short"),
        ("sentence", ["  ", None], "Q1: its sentence is .*; expected text"),
        ("verdict", ["  ", None], "Q1: its verdict is .*; expected text"),
        ("values", [{"a": math.nan}, {"a": np.inf}, {"a": 1.797e308}], "value 'a' is .*; expected a finite"),
        ("values", [{"a": None}, {"a": [1]}, {"a": np.ones(2)}, {"a": 1j}], "'a' is a .*; expected a number"),
    ],
)
def test_what_is_no_finding_is_refused_by_name(part, wrong, message):
    for value in wrong:
        with pytest.raises((ValueError, TypeError), match=message):
            example(**{part: value})


def test_findings_are_read_from_stored_outputs_in_order(tmp_path):
    columns = ["question", "notebook", "sentence", "verdict", "values"]
    assert list(findings(tmp_path).columns) == columns
    write(tmp_path / "02_b.ipynb", example(question="Q2")._repr_mimebundle_())
    word = example(question="word", values={"x": 2.5})._repr_mimebundle_()
    write(tmp_path / "01_a.ipynb", {"text/plain": "3"}, word)
    table = findings(tmp_path)
    assert list(table.columns) == columns
    assert list(table.question + table.notebook) == ["word01_a", "Q202_b"]
    assert table["values"][0] == {"x": 2.5}


def test_a_question_answered_twice_is_an_error_that_names_both_notebooks(tmp_path):
    for name in ("01_a", "02_b"):
        write(tmp_path / f"{name}.ipynb", example()._repr_mimebundle_())
    with pytest.raises(ValueError, match="Q1 is answered twice: in 01_a and in 02_b"):
        findings(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"cells": [3]}', '{"cells": [{"cell_type": "code"}]}'])
def test_a_file_that_is_no_notebook_is_named(tmp_path, text):
    (tmp_path / "03_c.ipynb").write_text(text)
    with pytest.raises(ValueError, match="03_c is no notebook of format 4"):
        findings(tmp_path)


@pytest.mark.parametrize("change", [{"question": 3}, {"more": 1}])
def test_a_stored_finding_that_is_none_is_named(tmp_path, change):
    write(tmp_path / "03_c.ipynb", {MIME: {**example()._repr_mimebundle_()[MIME], **change}})
    with pytest.raises(ValueError, match="03_c is no notebook of format 4, or a finding in it is none"):
        findings(tmp_path)


def test_strict_nbval_fails_when_only_the_values_of_a_stored_finding_are_altered(tmp_path):
    true = finding("gather", "It holds 3.", values={"held": 3.14159}, verdict="bounded")._repr_mimebundle_()
    altered = {**true, MIME: {**true[MIME], "values": {"held": 3.15}}}
    write(tmp_path / "stored.ipynb", true, altered)
    command = [sys.executable, "-m", "pytest", "--nbval", "-p", "no:cacheprovider", "-c", "pyproject.toml"]
    how = {"capture_output": True, "text": True, "cwd": Path(__file__).parents[1], "env": child_environment()}
    ended = subprocess.run([*command, str(tmp_path)], **how)
    assert "1 failed, 1 passed" in ended.stdout, ended.stdout + ended.stderr
    assert "Cell 1" in ended.stdout.split("short test summary")[1]
