"""Calibration: known parameters come back, test cells are refused, what the data cannot tell is said."""

import numpy as np
import pandas as pd
import pytest

import swaplib
from swaplib.analysis.calibrate import calibrate
from swaplib.analysis.storms import CELL, measured_cells, predict, published_cells, with_splits
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


def test_cells_of_split_test_are_refused():
    cells = measured_cells(with_splits("exit_storm_6.18_2cpu"), ["exit_cpu_ms"])
    with pytest.raises(ValueError, match="kept for testing"):
        calibrate(cells, LAB, KERNEL, SYNC)


def test_more_parameters_than_cells_are_refused():
    cells = own_measurements(LAB).head(1)
    with pytest.raises(ValueError, match="1 cells cannot determine 2 parameters"):
        calibrate(cells, LAB, KERNEL, SYNC)


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
    fit = calibrate(own_measurements(LAB), LAB, KERNEL, SYNC, ["cpu_cost_permille"], starts=1, source="a test")
    path = swaplib.write_machine(fit.machine, tmp_path / "mine.toml")
    again = swaplib.machine(str(path))
    assert again == fit.machine
    assert again.origin["cpu_cost_permille"] == ("fitted", "a test")
    with pytest.raises(FileExistsError):
        swaplib.write_machine(fit.machine, path)
