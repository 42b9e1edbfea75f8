"""Notebook 12 on evidence from elsewhere: a CSV of another machine, a log of kills, and what it refuses."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_calibrate import LAB, write_csv
from test_hygiene import answers_of

import swaplib
from swaplib.analysis.calibrate import with_cpus
from swaplib.run import collection

TESTS = Path(__file__).parent
(NOTEBOOK,) = [one for one in collection(TESTS.parent / "notebooks") if one.name == "12_your_machine"]
WAYS = {"none", "async-v3", "async-v3 at nice 5", "gather-sync", "reaper"}


def test_a_machine_fitted_to_one_and_two_processes_predicts_four_and_eight(tmp_path):
    truth, kernel = with_cpus(LAB, 4).but(cpu_cost_permille=600, line_local_ps=70_000), swaplib.kernel("6.12")
    write_csv(tmp_path / "runs.csv", truth, kernel, "6.12.63-generic")
    rows = pd.read_csv(tmp_path / "runs.csv")
    rows[rows.procs <= 2].to_csv(tmp_path / "runs.csv", index=False)
    given = {"source": str(tmp_path / "runs.csv"), "write_to": str(tmp_path / "mine.toml")}
    found = answers_of(NOTEBOOK, **given, replications=2)["machine"]
    cells = swaplib.measured_cells(rows, ["exit_cpu_ms", "last_exit_ms"])
    cells = cells[(cells.procs > 2) & (cells.swap_frac == 1) & (cells.layout_run == 1)]
    mine = swaplib.machine(str(tmp_path / "mine.toml"))
    costs = tomllib.loads((tmp_path / "mine.toml").read_text())["costs"]
    expected = swaplib.predict(cells, truth, kernel).predicted
    said = swaplib.predict(cells, mine, kernel.scaled(**costs)).predicted
    assert np.allclose(said, expected, rtol=0.15)
    assert vars(found)["values"]["recommended"] in WAYS
    assert mine.cpus == 4


def test_the_second_machine_that_was_measured_is_predicted_from_one_and_two_processes():
    """What the probe wrote on two CPUs whose cache lines cost 17 times those of data/measured.

    One process takes half the time of each of two, and present pages half of what they take in the template.
    """
    rows = swaplib.read_measurements(TESTS / "vectors" / "second_machine.csv")
    cells = swaplib.measured_cells(rows, ["exit_cpu_ms", "last_exit_ms", "swap_back_ms"])
    fit = swaplib.calibrate(cells[cells.procs <= 2])
    more = fit.predict(cells[cells.procs > 2])
    error = (more.predicted / more.measured - 1).abs()
    assert error.groupby([more.procs, more.metric]).median().max() < 0.1
    assert error[more.metric == "exit_cpu_ms"].max() < 0.2
    assert error.max() < 0.3
    table = fit.parameters.set_index("parameter")
    assert table.identified[["line_local_ps", "present", "wall"]].all()
    assert table.value.line_local_ps > 5 * table.start.line_local_ps


def test_a_log_of_kills_is_answered_with_a_policy(tmp_path):
    head = "11-24 10:00:01.{:03} 612 612 I lmkd: "
    kill = "Kill 'a{0}' ({0}), uid 1, oom_score_adj 900 to free 100000kB rss, 300000kB swap; reason: x\n"
    (tmp_path / "log.txt").write_text("".join(head.format(10 * i) + kill.format(i) for i in range(12)))
    found = answers_of(NOTEBOOK, source=str(tmp_path / "log.txt"), replications=2)["machine"]
    storm = "Simulated: beside 12 exits of 293 MiB in swap each on phone-8gb, Linux 6.11"
    assert found.sentence.startswith(storm)
    assert vars(found)["values"]["recommended"] in WAYS


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"source": "nowhere.csv"}, "no file and no table of data/ 'nowhere.csv'; expected"),
        ({"source": "measured/exit_storm_instructions"}, "several values of kernel"),
        ({"kernel": "5.4"}, "parameter 'kernel' is '5.4'"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_one_sentence(given, said):
    with pytest.raises(OSError if "file" in said else ValueError, match=re.escape(said)):
        answers_of(NOTEBOOK, **given)
