"""A sweep: every run once, the same on any executor, refused before it starts, not lost once done."""

import importlib.util
import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor

import pandas as pd
import pytest

import swaplib
from swaplib import in_parallel, sweep, sweeps

MACHINE = swaplib.machine("lab-2cpu")
STORM = swaplib.storm("lab", processes=2, mb=1, foreground=False, swap_entries=(50, 400))
GRID = {"machine": MACHINE, "kernel": "6.11", "storm": STORM, "replications": 3}
GRID |= {"policy": ["sync", "async-v3"]}


@pytest.fixture(scope="module")
def expected():
    return sweep(**GRID)


@pytest.fixture
def ran(monkeypatch):
    """Policies and seeds of the runs that are made in this process, the compiling one not counted."""
    runs = []
    simulate = sweeps.simulate

    def recorded(machine, kernel, storm, policy, seed, **choices):
        if storm.processes:
            runs.append((policy.name, seed))
        return simulate(machine, kernel, storm, policy, seed, **choices)

    monkeypatch.setattr(sweeps, "simulate", recorded)
    return runs


def same(frame, expected):
    pd.testing.assert_frame_equal(frame, expected, check_exact=True)


def test_rows_are_settings_by_replications_each_with_the_summary_of_its_simulation():
    frame = sweep(**GRID | {"seed": 7})
    assert list(frame.policy) == ["sync"] * 3 + ["async-v3"] * 3
    assert list(frame.replication) == [0, 1, 2] * 2
    models = MACHINE, swaplib.kernel("6.11"), STORM, swaplib.policy("async-v3")
    summary = swaplib.simulate(*models, seed=9, trace=False).summary()
    row = frame[(frame.policy == "async-v3") & (frame.replication == 2)].iloc[0]
    pd.testing.assert_series_equal(row[summary.index], summary, check_names=False)


def test_policies_face_the_same_storm_but_replications_others(expected):
    freed = expected.entries_sync + expected.entries_async + expected.stranded
    first, second = (list(rows) for _, rows in freed.groupby(expected.policy))
    assert first == second
    assert len(set(first)) == 3


def test_threads_and_processes_give_the_same_frame(expected):
    same(sweep(**GRID, executor="threads"), expected)
    assert in_parallel(str, range(5)) == ["0", "1", "2", "3", "4"]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        same(sweep(**GRID, executor=executor), expected)


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_of_dask_gives_the_same_frame(require, expected):
    found = importlib.util.find_spec("distributed")
    require("cluster", found, "distributed is not installed (extra 'cluster')")
    from distributed import LocalCluster

    choices = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": None}
    with LocalCluster(**choices) as cluster:
        same(sweep(**GRID, executor=cluster.scheduler_address), expected)


def test_numbers_in_which_models_of_one_name_differ_become_columns():
    storms = [STORM.but(processes=n, run_entries=r) for n, r in ((1, 1), (2, 16))]
    machines = [MACHINE, MACHINE.but(switch_ns=0)]
    frame = sweep(machine=machines, kernel="6.12", storm=storms, policy="sync", replications=1)
    assert list(frame.processes) == [1, 2, 1, 2]
    assert list(frame.run_entries) == [1, 16, 1, 16]
    assert list(frame.switch_ns) == [MACHINE["switch_ns"]] * 2 + [0, 0]


def test_labels_of_settings_become_columns():
    settings = [{"storm": STORM, "load": "low"}, {"storm": STORM.but(processes=3), "load": "high"}]
    frame = sweep(**{**GRID, "storm": None, "replications": 1}, settings=settings)
    assert list(frame.load) == ["low", "low", "high", "high"]
    assert list(frame.policy) == ["sync", "async-v3"] * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"machine": None}, "machine is None; expected a name, a Machine, or a list of these"),
        ({"policy": []}, "policy is []; expected a name, a Policy, or a list of these"),
        ({"policy": ["sync", "async-v4"]}, "policy 'async-v4' is not known; did you mean 'async-v3'"),
        ({"kernel": 6.11}, "kernel is 6.11; expected a name, a Kernel, or a list of these"),
        ({"kernel": ["6.11", "6.18"], "policy": "slot-cache-async"}, "the slot cache, which kernel '6.18'"),
        ({"storm": STORM.but(name="big", swap_entries=10**7)}, "storm 'big' has 20000000 swap entries"),
        ({"replications": 0}, "replications is 0; expected a whole number of at least 1"),
        ({"seed": -1}, "seed is -1"),
        ({"executor": 4}, "executor is 4; expected None, 'threads', a concurrent.futures.Executor, or the"),
        ({"executor": "tcp://x:8786"}, "the address of a dask scheduler (pip install -e .[cluster])"),
        ({"settings": []}, "settings is []; expected a list of at least one dict"),
        ({"settings": [{"load": 1}, {}]}, "label 'load' is missing from some settings"),
        ({"settings": [{"load": [1]}]}, "settings[0]: label 'load' is [1]; expected text or a number"),
        ({"settings": [{"works": 1}]}, "label 'works' is a column of the outcome"),
        ({"settings": [{"policy": 5}]}, "settings[0]: policy is 5"),
        ({"policy": ["sync", "sync"]}, "two settings have the same columns"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_runs(change, message, ran, monkeypatch):
    monkeypatch.setattr(sweeps, "find_spec", lambda name: None)  # as where dask is not installed
    with pytest.raises(ValueError, match=re.escape(message)):
        sweep(**GRID | change)
    assert ran == []


def test_a_failing_run_says_which_it_was(monkeypatch):
    simulate = sweeps.simulate

    def failing(machine, kernel, storm, policy, seed, **choices):
        if storm.processes and seed == 1:
            raise ZeroDivisionError
        return simulate(machine, kernel, storm, policy, seed, **choices)

    monkeypatch.setattr(sweeps, "simulate", failing)
    with pytest.raises(ZeroDivisionError) as failure:
        sweep(**GRID)
    names = "machine 'lab-2cpu', kernel '6.11', storm 'lab', policy 'sync', seed 1"
    assert failure.value.__notes__ == [f"in the sweep's run with {names}"]


def test_an_interrupted_sweep_goes_on_and_runs_nothing_twice(tmp_path, ran, monkeypatch, expected):
    recorded = sweeps.simulate

    def interrupted(*arguments, **choices):
        if len(ran) == 4:
            raise KeyboardInterrupt
        return recorded(*arguments, **choices)

    monkeypatch.setattr(sweeps, "simulate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep(**GRID, checkpoint=tmp_path / "runs.sqlite")
    monkeypatch.setattr(sweeps, "simulate", recorded)
    for _ in range(2):  # the second time there is nothing left to run
        same(sweep(**GRID, checkpoint=tmp_path / "runs.sqlite"), expected)
        assert ran == [(policy, seed) for policy in ("sync", "async-v3") for seed in range(3)]
    assert expected.foreground_ms.isna().all()  # missing values and truth values come back as they were
    assert expected.timed_out.dtype == bool


def test_a_file_that_is_no_checkpoint_is_refused_and_left_as_it_is(tmp_path, ran):
    path = tmp_path / "runs.csv"
    path.write_text("arm,metric,value")
    with pytest.raises(ValueError, match=r"runs\.csv is no checkpoint of finished runs, or cannot be w"):
        sweep(**GRID, checkpoint=path)
    assert (path.read_text(), ran) == ("arm,metric,value", [])


@pytest.mark.parametrize(
    ("change", "runs"),
    [
        ({"replications": 4, "policy": ["async-v3", "sync"]}, 2),  # one more of each policy
        ({"seed": 1}, 2),
        ({"machine": MACHINE.but(switch_ns=1)}, 6),
        ({"policy": ["sync", swaplib.policy("async-v3").but(threshold=1, name="async-v3")]}, 3),
    ],
    ids=str,
)
def test_a_sweep_takes_from_a_checkpoint_only_what_it_would_run_itself(change, runs, tmp_path, ran):
    sweep(**GRID, checkpoint=tmp_path / "runs.sqlite")
    ran.clear()
    frame = sweep(**GRID | change, checkpoint=tmp_path / "runs.sqlite")
    assert len(ran) == runs
    same(frame, sweep(**GRID | change))


PHONE = swaplib.machine("phone-8gb")
LAUNCH = swaplib.storm("camera", PHONE, processes=2)
CASE = {"machine": PHONE, "kernel": swaplib.kernel("6.11"), "storm": LAUNCH, "policy": swaplib.policy("sync")}


def test_launch_times_are_phases_and_the_last_exit_of_the_runs_in_the_mean():
    ends = [swaplib.simulate(**CASE, seed=30_000 + draw) for draw in (0, 1)]
    (times,) = swaplib.launch_times({3: CASE}, [0, 1]).itertuples()
    exits = [run.df_processes().exited_ms.max() for run in ends]
    assert (times.Index, times.exits) == (3, pytest.approx(sum(exits) / 2))
    assert times[1] + times[2] == pytest.approx(sum(run.phase_ends_ns[1] for run in ends) / 2e6)


def test_solved_work_makes_the_phases_take_the_time_aimed_at():
    aim = pd.DataFrame({0: [900.0], 1: [350.0]}, index=[7])
    solved = swaplib.solved_work({7: CASE}, aim, rounds=6)
    times = swaplib.launch_times(solved)
    assert times[[0, 1]].loc[7].to_list() == pytest.approx([900, 350], rel=0.05)
