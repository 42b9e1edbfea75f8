"""Measured storms in a CSV are read, and what is wrong in one is named with its row and column."""

from pathlib import Path

import pytest

import swaplib


@pytest.fixture
def save(tmp_path):
    def write(text, name):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


STORMS = (
    "kernel,smp,procs,mb,swap_frac,layout_run,folio_pages,fg,exit_cpu_us_sum,swap_back99_us,cpus,note\n"
    "6.18.44,2,1,64,1.0,16,1,0,5000,,2x1024@0/0,\n"
    "6.18.44,2,0,64,1.0,16,1,1,,,2x1024@0/0,\n"
    "6.18.44,2,2,64,1.0,16,512,0,9000,8000,2x1024@0/0,\n"
    "6.18.44,2,2,64,1.0,16,1,0,9500,8500,2x1024@0/0,runs of 1.1 entries\n"
    "6.18.44,2,4,64,1.0,16,16,0,21000,20000,2x1024@0/0,\n"
)


def test_measured_storms_are_read_and_what_no_model_has_is_left_out(save):
    frame = swaplib.read_measurements(save(STORMS, "runs.csv"))
    assert frame.procs.tolist() == [1, 4]
    assert frame.swap_back99_us.isna().tolist() == [True, False]
    assert len(frame.attrs["notes"]) == 3
    cells = swaplib.measured_cells(frame)
    assert cells[cells.metric == "exit_cpu_ms"].measured.tolist() == [5, 21]


def test_the_tables_of_data_are_measured_storms():
    for name in ("exit_storm_6.18_2cpu", "exit_storm_6.12_patched", "exit_storm_instructions"):
        frame = swaplib.read_measurements(Path(__file__).parents[1] / "data" / "measured" / f"{name}.csv")
        assert len(frame) > 100
        assert not swaplib.measured_cells(frame).empty


def test_a_table_with_the_least_of_columns_is_read(save):
    text = "kernel;smp;procs;mb;last_exit_us\n6.6.1;8;1;64;1500,5\n"
    frame = swaplib.read_measurements(save(text, "runs.csv"))
    (cell,) = swaplib.measured_cells(frame).itertuples()
    usual = (cell.layout_run, cell.swap_frac, cell.how, cell.accel)
    assert (cell.measured, usual) == (1.5005, (1, 1, "exit", "native"))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("kernel,", "release,", "has no column 'kernel'; measured storms need kernel, smp, procs, mb"),
        ("exit_cpu_us_sum,swap_back99_us", "a,b", "measures nothing; expected a column of exit_cpu"),
        ("1,64,1.0", "one,64,1.0", "row 2: column 'procs' is 'one'; expected a whole number"),
        ("1,64,1.0", "1,64,1.5", "row 2: column 'swap_frac' is 1.5; expected swap_frac >= 0 and"),
        (",1.0,16", ",1.0,3", "row 2: column 'layout_run' is 3; expected layout_run in .1, -2, 16, 0"),
        ("1,64,1.0", "1,0.5,1.0", "row 2: column 'mb' is 0.5; expected mb >= 1"),
        ("0,5000", "0,-5", "row 2: column 'exit_cpu_us_sum' is -5.0; expected not exit_cpu_us_sum < 0"),
        ("6.18.44,2,1", ",2,1", "row 2: column 'kernel' is empty"),
        (STORMS[STORMS.index("6.18") :], "6.18,2,0,64,1,16,1,1,,,,\n", "no row that a model can be compared"),
    ],
)
def test_a_table_of_storms_that_is_wrong_is_refused_with_its_row(save, old, new, says):
    with pytest.raises(ValueError, match=says):
        swaplib.read_measurements(save(STORMS.replace(old, new, 1), "runs.csv"))
