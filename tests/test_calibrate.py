"""Calibration: known parameters come back, test cells are refused, what the data cannot tell is said."""

import tomllib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import swaplib
from swaplib import calibrate, predict
from swaplib.analysis.calibrate import with_cpus
from swaplib.analysis.predictions import CELL
from swaplib.catalogue import generation_of

KERNEL = swaplib.kernel("6.18")
LAB = swaplib.machine("lab-2cpu")


def grid(**columns):
    """Return cells of every combination, the rest as `CELL` says."""
    frame = pd.MultiIndex.from_product(columns.values(), names=columns).to_frame(index=False)
    said = {**CELL, "kernel": "6.18", "smp": 2, "mb": 64, "measured": 1.0}
    return frame.assign(**{name: value for name, value in said.items() if name not in frame})


def own_measurements(machine):
    """Return what a machine would measure with 1, 2 and 4 processes."""
    cells = grid(procs=[1, 2, 4], layout_run=[1, 16], metric=["exit_cpu_ms", "last_exit_ms"])
    return cells.assign(measured=predict(cells, machine, KERNEL).predicted, smp=machine.cpus)


def write_csv(path, machine, kernel, release):
    """Write what a machine would measure, as the probe does: with 5 % noise, wall times with 10 %."""
    columns = {name: swaplib.METRICS[name][0] for name in ("exit_cpu_ms", "last_exit_ms", "swap_back_ms")}
    cells = grid(procs=[1, 2, 4, 8], layout_run=[1, 16, 0], swap_frac=[1.0, 0.0], metric=list(columns))
    cells = cells[(cells.layout_run == 1) | (cells.swap_frac > 0)].assign(smp=machine.cpus)
    cells = predict(cells, machine, kernel)
    spread = np.where(cells.metric == "exit_cpu_ms", 0.05, 0.1)
    rng = np.random.default_rng(0)
    key = ["smp", "accel", "layout_run", "procs", "mb", "swap_frac", "how", "content", "rep"]
    rows = []
    for rep in range(5):
        us = 1000 * cells.predicted * np.exp(spread * rng.standard_normal(len(cells)))
        wide = cells.assign(us=us.round(3), column=cells.metric.map(columns), rep=rep)
        rows.append(wide.pivot_table("us", key, "column").reset_index())
    rows = pd.concat(rows).assign(kernel=release, cpus=f"{machine.cpus}x1024@0/0", note="")
    rows.to_csv(path, index=False)


def test_known_parameters_come_back_within_their_intervals_from_simulated_measurements():
    truth = LAB.but(cpu_cost_permille=1400, line_local_ps=60_000, warm_entries=30_000)
    fit = calibrate(own_measurements(truth), LAB, KERNEL)
    for row in fit.parameters.itertuples():
        assert row.low <= truth.numbers.get(row.parameter, 1.0) <= row.high, row.parameter
    assert fit.machine["cpu_cost_permille"] == pytest.approx(1400, rel=0.1)
    assert fit.median_error < 0.02


def test_other_load_shows_in_the_wall_times_and_not_in_the_costs():
    cells = own_measurements(with_cpus(LAB, 4).but(cpu_cost_permille=500))
    is_wall = cells.metric == "last_exit_ms"
    cells["measured"] = cells.measured * np.where(is_wall, 2.0, 1.0)
    fit = calibrate(cells[cells.procs < 4])
    four = cells[cells.procs == 4]
    assert fit.parameters.set_index("parameter").value.wall == pytest.approx(2, rel=0.1)
    assert np.allclose(fit.predict(four).predicted, four.measured, rtol=0.12)  # as busy as it was
    alone = predict(four, fit.machine, fit.kernel).predicted
    assert np.allclose(alone, four.measured / np.where(is_wall[four.index], 2, 1), rtol=0.12)


def test_what_a_fit_misses_of_a_storm_is_carried_to_more_processes_as_far_as_it_is_no_noise():
    cells = own_measurements(LAB)
    few, four = cells[cells.procs < 4], cells[cells.procs == 4]
    fit, odd = calibrate(few, LAB, KERNEL), (cells.metric == "exit_cpu_ms") & (cells.layout_run == 16)
    plain = fit.predict(four).predicted

    def carried(repetitions):
        missed = fit.cells.assign(error=fit.cells.error.where(~odd, -0.25), n=repetitions)
        return replace(fit, cells=missed).predict(four).predicted / plain

    assert (carried(100)[odd] > 1.3).all()
    assert carried(1)[odd].between(1.05, 1.2).all()
    assert carried(100)[~odd].between(0.95, 1.05).all()


def test_a_parameter_that_the_cells_do_not_tell_stays_at_the_template_and_is_said_to_be_unknown():
    cells = own_measurements(LAB.but(cpu_cost_permille=700))
    fit = calibrate(cells[(cells.procs == 1) & (cells.layout_run == 1)])
    table = fit.parameters.set_index("parameter")
    assert not table.identified.line_local_ps
    assert table.value.present == table.start.present == 1
    assert "line_local_ps" in fit.ridge
    assert "present" in fit.ridge


def test_machines_are_drawn_from_what_the_cells_leave_open():
    fit = calibrate(own_measurements(LAB))
    known = fit.parameters.set_index("parameter").loc["cpu_cost_permille"]
    drawn = [machine["cpu_cost_permille"] for machine, _ in fit.draws(200)]
    assert drawn == [machine["cpu_cost_permille"] for machine, _ in fit.draws(200)]
    assert np.mean([known.low <= value <= known.high for value in drawn]) == pytest.approx(0.95, abs=0.05)


def test_a_release_belongs_to_the_newest_generation_that_is_not_newer():
    releases = {
        "6.18": ["6.18.44-fc-v769", "6.19.0", "7.2.0-rc1"],
        "6.12": ["6.13.7-arch1-1", "6.12+v3"],
        "6.1": ["6.6.30-android15-8-g0123", "5.15.148-tegra"],
    }
    for name, belonging in releases.items():
        assert {generation_of(release) for release in belonging} == {name}


def test_the_cpus_are_those_that_the_rows_tell_of():
    frame = pd.DataFrame({"smp": [8], "cpus": ["3x326@0/0 4x693@0/0 1x1024@1/1"], "kernel": ["6.1"]})
    machine = swaplib.template(frame)
    assert machine.capacity == (326,) * 3 + (693,) * 4 + (1024,)
    assert (machine.nodes, machine["slice_ns"]) == (2, 2_800_000)
    assert swaplib.template(frame.drop(columns="cpus"), "phone-8gb") == swaplib.machine("phone-8gb")
    assert swaplib.template(frame.assign(cpus="")).capacity == (1024,) * 8


@pytest.mark.parametrize("text", ["", "0", "x", "4x1024", "0x1024@0/0", "2x0@0/0", "1x1@3/0"])
def test_cpus_that_are_none_are_refused(text):
    with pytest.raises(ValueError, match=r"CPUs are|node"):
        with_cpus(LAB, text)


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("cpus", ["2x1024@0/0", "4x1024@0/0"], "several values of cpus"),
        ("smp", [2, 4], "several values of smp"),
        ("kernel", ["6.1.9", "6.18.2"], r"several values of kernel \(6.1, 6.18\)"),
        ("kernel", "mainline", "kernel 'mainline' is no release"),
        ("accel", ["native", "icount"], "several values of accel"),
        ("split", "test", "2 cells are kept for testing"),
        ("metric", "foreground_ms", "expected positive measured values of some of exit_cpu_ms"),
        ("measured", 0.0, "expected positive measured values"),
    ],
)
def test_cells_that_cannot_be_fitted_to_are_refused(column, values, says):
    cells = grid(procs=[1, 2], metric=["exit_cpu_ms"]).assign(**{column: values})
    with pytest.raises(ValueError, match=says):
        calibrate(cells)


@pytest.mark.parametrize("label", ["Raspberry Pi 4B", "i7-12700"])
def test_the_committed_machines_give_the_timings_they_were_fitted_to(label):
    cells = swaplib.predicted_munmap("munmap_by_processes")
    cells = cells[(cells.machine == label) & (cells.split == "fit")]
    assert np.allclose(cells.predicted, cells.measured, rtol=0.01)


def test_a_fitted_machine_is_written_once_with_its_costs_and_read_back(tmp_path):
    fit = calibrate(own_measurements(LAB), source="a test: ä \U0001f4f1")
    path = swaplib.write_machine(fit.machine, tmp_path / "mine.toml", fit.costs)
    assert swaplib.machine(str(path)) == fit.machine
    assert swaplib.machine(str(path)).origin["cpu_cost_permille"] == ("fitted", "a test: ä \U0001f4f1")
    assert KERNEL.scaled(**tomllib.loads(path.read_text(encoding="utf-8"))["costs"]) == fit.kernel
    with pytest.raises(FileExistsError):
        swaplib.write_machine(fit.machine, path)
    with pytest.raises(ValueError, match=r"must end in .toml"):
        swaplib.write_machine(fit.machine, "mine.txt")
