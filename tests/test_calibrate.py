"""Calibration: known parameters come back, test cells are refused, what the data cannot tell is said."""

import tomllib

import numpy as np
import pandas as pd
import pytest

import swaplib
from swaplib.analysis.calibrate import NOISE, calibrate
from swaplib.analysis.machine_file import with_cpus
from swaplib.analysis.storms import CELL, measured_cells, predict, published_cells, with_splits
from swaplib.fitting import generation_of
from swaplib.model.machine import Machine

SYNC = swaplib.policy("sync")
KERNEL = swaplib.kernel("6.18")
LAB = swaplib.machine("lab-2cpu")
COST_PARTS = ["entry_cpu_ps", "entry_memory_ps", "call_memory_ps", "run_memory_ps", "folio"]


def grid(**columns: list) -> pd.DataFrame:
    """Return cells of every combination, the rest as `CELL` says."""
    defaults = {name: default for name, default in CELL.items() if default is not None}
    frame = pd.MultiIndex.from_product(columns.values(), names=columns).to_frame(index=False)
    return frame.assign(
        **{k: v for k, v in defaults.items() if k not in frame}, kernel="6.18", smp=2, mb=64, measured=1.0
    )


def own_measurements(machine: Machine) -> pd.DataFrame:
    """Return what a machine would measure with 1, 2 and 4 processes."""
    cells = grid(procs=[1, 2, 4], layout_run=[1, 16], swap_frac=[1.0], metric=["exit_cpu_ms", "last_exit_ms"])
    simulated = predict(cells, machine, KERNEL, SYNC)
    return cells.assign(measured=simulated.predicted)


def test_known_parameters_come_back_from_simulated_measurements():
    truth = LAB.but(cpu_cost_permille=1400, transfer_local_ns=60, warm_entries=30_000)
    cells = own_measurements(truth)
    fit = calibrate(cells, LAB, KERNEL, SYNC, ["cpu_cost_permille", "transfer_local_ns", "warm_entries"])
    assert fit.machine["cpu_cost_permille"] == pytest.approx(1400, rel=0.03)
    assert fit.machine["transfer_local_ns"] == pytest.approx(60, rel=0.25)
    assert fit.machine["warm_entries"] == pytest.approx(30_000, rel=0.2)
    assert fit.median_error < 0.01


def test_one_and_two_processes_of_a_new_machine_predict_four():
    truth = LAB.but(cpu_cost_permille=700, transfer_local_ns=40)
    cells = own_measurements(truth)
    fit = calibrate(cells[cells.procs < 4], LAB, KERNEL, SYNC)
    four = predict(cells[cells.procs == 4], fit.machine, KERNEL, SYNC)
    assert np.allclose(four.predicted, four.measured, rtol=0.05)


def write_csv(path, machine, kernel, release, *, noise, seed=0):
    """Write what a machine would measure, with noise, in the columns of the probe; the noise of walls is twice that."""
    columns = {
        "exit_cpu_ms": "exit_cpu_us_sum",
        "last_exit_ms": "last_exit_us",
        "swap_back_ms": "swap_back99_us",
    }
    cells = grid(procs=[1, 2, 4, 8], layout_run=[1, 16, 0], swap_frac=[1.0, 0.0], metric=list(columns))
    cells = cells[(cells.layout_run == 1) | (cells.swap_frac > 0)].assign(smp=machine.cpus)
    cells = predict(cells, machine, kernel, SYNC)
    rng = np.random.default_rng(seed)
    rows = []
    for rep in range(5):
        spread = np.where(cells.metric == "exit_cpu_ms", noise, 2 * noise)
        us = 1000 * cells.predicted * np.exp(spread * rng.standard_normal(len(cells)))
        wide = cells.assign(us=us.round(3), column=cells.metric.map(columns), rep=rep)
        key = ["smp", "accel", "layout_run", "procs", "mb", "swap_frac", "how", "content", "rep"]
        rows.append(wide.pivot_table("us", key, "column").reset_index())
    pd.concat(rows).assign(kernel=release, cpus=f"{machine.cpus}x1024@0/0", note="").to_csv(path, index=False)


# Machines that are neither fitted nor measured in data/: a fast one with dear cache lines on a kernel with the device
# lock, a slow one with many cores, and one whose present pages and calls cost otherwise.
NEW = {
    "fast, 4 CPUs": (
        "6.12.63-generic",
        4,
        {"cpu_cost_permille": 450, "transfer_local_ns": 90, "prelude_ns": 300_000},
    ),
    "slow, 8 CPUs": (
        "6.18.1",
        8,
        {"cpu_cost_permille": 2600, "memory_cost_permille": 1800, "transfer_local_ns": 25},
    ),
    "other costs": (
        "6.6.30-android15",
        4,
        {"cpu_cost_permille": 800, "warm_entries": 25_000, "wake_ns": 40_000},
    ),
}


@pytest.mark.parametrize("name", NEW)
def test_a_csv_with_one_and_two_processes_of_a_new_machine_predicts_four_and_eight(tmp_path, name):
    """Within 15 % of the truth, where a repetition is good to 5 % in CPU time and 10 % in wall time."""
    release, cpus, numbers = NEW[name]
    truth = with_cpus(LAB, cpus).but(**numbers)
    kernel = swaplib.kernel(generation_of(release))
    own = (
        kernel.scaled(page=0.5, folio=0.5, call_memory_ps=1.4, run_memory_ps=1.4)
        if name == "other costs"
        else kernel
    )
    write_csv(tmp_path / "runs.csv", truth, own, release, noise=0.05)
    cells = swaplib.measured_cells(swaplib.read_measurements(tmp_path / "runs.csv"), list(NOISE))
    fit = swaplib.calibrate(cells[cells.procs <= 2])
    more = cells[cells.procs > 2]
    predicted = predict(more, fit.machine, fit.kernel, SYNC).predicted
    assert fit.machine.cpus == cpus
    assert np.allclose(predicted, predict(more, truth, own, SYNC).predicted, rtol=0.15)
    assert 0.9 < fit.parameters.set_index("parameter").value.wall < 1.1


def test_other_load_shows_in_the_wall_times_and_not_in_the_costs():
    cells = own_measurements(with_cpus(LAB, 4).but(cpu_cost_permille=500)).assign(smp=4)
    is_wall = cells.metric == "last_exit_ms"
    cells["measured"] = cells.measured * np.where(is_wall, 2.0, 1.0)
    fit = swaplib.calibrate(cells[cells.procs < 4])
    four = cells[cells.procs == 4]
    assert fit.parameters.set_index("parameter").value.wall == pytest.approx(2, rel=0.1)
    assert np.allclose(fit.predict(four).predicted, four.measured, rtol=0.12)  # as busy as it was
    alone = predict(four, fit.machine, fit.kernel, SYNC).predicted
    assert np.allclose(alone, four.measured / np.where(is_wall[four.index], 2, 1), rtol=0.12)


def test_what_a_fit_misses_of_a_storm_is_carried_to_more_processes_as_far_as_it_is_no_noise():
    cells = own_measurements(LAB)
    odd = (cells.metric == "exit_cpu_ms") & (cells.layout_run == 16)
    cells["measured"] = cells.measured * np.where(odd, 1.3, 1.0)  # what no parameter of this fit explains
    fit = calibrate(cells[cells.procs < 4].assign(n=100), LAB, KERNEL, SYNC, ["transfer_local_ns"], starts=1)
    four = cells[cells.procs == 4]
    plain = predict(four, fit.machine, fit.kernel, SYNC).predicted / four.measured
    carried = fit.predict(four).predicted / four.measured
    assert abs(carried - 1)[odd].max() < 0.05 < 0.15 < abs(plain - 1)[odd].min()
    noisy = calibrate(cells[cells.procs < 4].assign(n=1), LAB, KERNEL, SYNC, ["transfer_local_ns"], starts=1)
    assert abs(carried - 1)[odd].max() < abs(noisy.predict(four).predicted / four.measured - 1)[odd].min()


def test_a_parameter_that_the_cells_do_not_tell_stays_at_the_template_and_is_said_to_be_unknown():
    cells = own_measurements(LAB.but(cpu_cost_permille=700))
    fit = swaplib.calibrate(cells[(cells.procs == 1) & (cells.layout_run == 1)])
    table = fit.parameters.set_index("parameter")
    assert not table.identified.transfer_local_ns
    assert table.value.present == table.start.present == 1
    assert "transfer_local_ns" in fit.ridge
    assert "present" in fit.ridge


def test_machines_are_drawn_from_what_the_cells_leave_open():
    fit = swaplib.calibrate(own_measurements(LAB))
    known = fit.parameters.set_index("parameter").loc["cpu_cost_permille"]
    drawn = [machine["cpu_cost_permille"] for machine, _ in fit.draws(200)]
    assert drawn == [machine["cpu_cost_permille"] for machine, _ in fit.draws(200)]
    assert np.mean([known.low <= value <= known.high for value in drawn]) == pytest.approx(0.95, abs=0.05)


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("6.18.44-fc-v769", "6.18"),
        ("6.19.0", "6.18"),
        ("6.13.7-arch1-1", "6.12"),
        ("6.6.30-android15-8-g0123", "6.1"),
        ("5.15.148-tegra", "6.1"),
        ("7.2.0-rc1", "7.0"),
        ("6.12+v3", "6.12"),
    ],
)
def test_a_release_belongs_to_the_newest_generation_that_is_not_newer(release, name):
    assert generation_of(release) == name


def test_a_release_that_is_none_is_refused():
    with pytest.raises(ValueError, match="kernel 'mainline' is no release"):
        generation_of("mainline")


def test_the_cpus_are_those_that_the_rows_tell_of():
    frame = pd.DataFrame({"smp": [8], "cpus": ["3x326@0/0 4x693@0/0 1x1024@1/1"], "kernel": ["6.1"]})
    machine = swaplib.template(frame)
    assert machine.capacity == (326,) * 3 + (693,) * 4 + (1024,)
    assert (machine.nodes, machine["slice_ns"]) == (2, 2_800_000)
    assert swaplib.template(frame.drop(columns="cpus"), "phone-8gb") == swaplib.machine("phone-8gb")
    assert swaplib.template(frame.assign(cpus="")).capacity == (1024,) * 8


@pytest.mark.parametrize("text", ["", "0", "4", "x", "4x1024", "0x1024@0/0", "2x0@0/0 1x1@3/0"])
def test_cpus_that_are_none_are_refused(text):
    if text == "4":
        assert with_cpus(LAB, text).cpus == 4
        return
    with pytest.raises(ValueError, match=r"CPUs are|capacity|node"):
        with_cpus(LAB, text)


@pytest.mark.parametrize(("column", "values"), [("cpus", ["2x1024@0/0", "4x1024@0/0"]), ("smp", [2, 4])])
def test_rows_of_several_machines_are_refused(column, values):
    frame = pd.DataFrame({"smp": [2, 2], "kernel": ["6.1", "6.1"]}).assign(**{column: values})
    with pytest.raises(ValueError, match="several machines"):
        swaplib.template(frame)


def test_a_template_gets_as_many_cpus_as_the_cells_were_measured_on():
    cells = own_measurements(with_cpus(LAB, 4)).assign(smp=4)
    fit = calibrate(cells[cells.procs < 4], LAB, KERNEL, SYNC, starts=1)
    assert fit.machine.cpus == 4
    assert (
        calibrate(cells.assign(smp=0), LAB, KERNEL, SYNC, ["transfer_local_ns"], starts=1).machine.cpus == 2
    )


def test_rows_of_several_kernels_are_refused():
    with pytest.raises(ValueError, match=r"several kernels \(6.1, 6.18\)"):
        swaplib.generation(pd.DataFrame({"kernel": ["6.1.9", "6.18.2", "6.18.3"]}))


def test_a_fit_is_kept_with_its_costs(tmp_path):
    fit = swaplib.calibrate(own_measurements(LAB))
    path = swaplib.write_machine(fit.machine, tmp_path / "mine.toml", fit.costs)
    with path.open("rb") as file:
        costs = tomllib.load(file)["costs"]
    assert swaplib.machine(str(path)) == fit.machine
    assert KERNEL.scaled(**costs) == fit.kernel


def test_cells_of_split_test_are_refused():
    cells = measured_cells(with_splits("exit_storm_6.18_2cpu"), ["exit_cpu_ms"])
    with pytest.raises(ValueError, match="kept for testing"):
        calibrate(cells, LAB, KERNEL, SYNC)


def test_more_parameters_than_cells_are_refused():
    cells = own_measurements(LAB).head(1)
    with pytest.raises(ValueError, match="1 cells cannot determine 2 parameters"):
        calibrate(cells, LAB, KERNEL, SYNC, ["cpu_cost_permille", "transfer_local_ns"])


def test_no_cells_are_refused():
    with pytest.raises(ValueError, match="no cells to fit to; expected some of exit_cpu_ms"):
        swaplib.calibrate(own_measurements(LAB).assign(metric="foreground_ms"))


def test_an_unknown_parameter_is_named():
    with pytest.raises(ValueError, match="parameter is 'speed'"):
        calibrate(own_measurements(LAB), LAB, KERNEL, SYNC, ["speed"])


def test_a_new_fit_predicts_what_the_committed_costs_do():
    """Along its ridge a fit may move parameters, but no cell by more than the measurements' own noise of 8 %."""
    frame = with_splits("exit_storm_6.18_2cpu")
    cells = measured_cells(frame[frame.split == "fit"], ["exit_cpu_ms"])
    committed = predict(cells, LAB, KERNEL, SYNC).predicted
    fit = calibrate(cells, LAB, KERNEL, SYNC, [*COST_PARTS, "warm_entries"], starts=1)
    moved = fit.cells.predicted / committed
    assert fit.median_error < 0.06
    assert moved.between(0.92, 1.08).all(), moved


def test_the_raspberry_pi_cannot_tell_the_cost_of_waiters_from_one_and_two_processes():
    cells = published_cells("munmap_by_processes")
    cells = cells[(cells.machine == "Raspberry Pi 4B") & (cells.split == "fit")]
    machine, kernel = swaplib.machine("rpi-4b"), swaplib.kernel("7.0")
    fit = calibrate(cells, machine, kernel, SYNC, ["transfer_local_ns", "waiter_ns"])
    known = fit.parameters.set_index("parameter").identified
    assert not known.waiter_ns
    assert "waiter_ns" in fit.ridge


@pytest.mark.parametrize(("name", "label"), [("rpi-4b", "Raspberry Pi 4B"), ("desktop-i7-12700", "i7-12700")])
def test_the_committed_machines_give_the_timings_they_were_fitted_to(name, label):
    cells = published_cells("munmap_by_processes")
    cells = cells[(cells.machine == label) & (cells.split == "fit")]
    predicted = predict(cells, swaplib.machine(name), swaplib.kernel("7.0"), SYNC)
    assert np.allclose(predicted.predicted, predicted.measured, rtol=0.01)


def test_a_fitted_machine_is_written_once_and_read_back(tmp_path):
    fit = calibrate(
        own_measurements(LAB), LAB, KERNEL, SYNC, ["cpu_cost_permille"], starts=1, source="a test"
    )
    path = swaplib.write_machine(fit.machine, tmp_path / "mine.toml")
    again = swaplib.machine(str(path))
    assert again == fit.machine
    assert again.origin["cpu_cost_permille"] == ("fitted", "a test")
    with pytest.raises(FileExistsError):
        swaplib.write_machine(fit.machine, path)
