"""A sweep: every run once, on any executor the same, refused before it starts, and never lost once it is done."""

import importlib.util
import json
import multiprocessing
import re
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pandas as pd
import pytest

import swaplib
from swaplib.grid import sweep
from swaplib.sim import sweep as engine
from swaplib.sim.checkpoint import Checkpoint

MACHINE = swaplib.machine("lab-2cpu")
STORM = swaplib.storm("lab", processes=2, mb=1, foreground=False, swap_entries=(50, 400))
GRID = {
    "machine": MACHINE,
    "kernel": "6.11",
    "storm": STORM,
    "policy": ["sync", "async-v3"],
    "replications": 3,
}


@pytest.fixture(scope="module")
def expected():
    return sweep(**GRID)


@pytest.fixture
def ran(monkeypatch):
    """The seeds of the runs that a sweep makes in this process, its compiling run not counted."""
    seeds = []
    simulate = engine.simulate

    def recorded(machine, kernel, storm, policy, seed, **choices):
        if storm.processes:
            seeds.append(seed)
        return simulate(machine, kernel, storm, policy, seed, **choices)

    monkeypatch.setattr(engine, "simulate", recorded)
    return seeds


def same(frame, expected):
    pd.testing.assert_frame_equal(frame, expected, check_exact=True)


def test_rows_are_settings_by_policies_by_replications(expected):
    assert list(expected.policy) == ["sync"] * 3 + ["async-v3"] * 3
    assert list(expected.replication) == [0, 1, 2] * 2
    assert list(expected.columns[:5]) == ["machine", "kernel", "storm", "policy", "replication"]


def test_a_row_holds_the_summary_of_the_simulation_with_its_seed():
    frame = sweep(**GRID | {"seed": 7, "experiment": 5})
    outcome = swaplib.simulate(
        MACHINE, swaplib.kernel("6.11"), STORM, swaplib.policy("async-v3"), seed=9, experiment=5, trace=False
    )
    row = frame[(frame.policy == "async-v3") & (frame.replication == 2)].iloc[0]
    pd.testing.assert_series_equal(row[outcome.summary().index], outcome.summary(), check_names=False)


def test_policies_face_the_same_storm_and_replications_others(expected):
    entries = expected.assign(entries=expected.entries_sync + expected.entries_async + expected.stranded)
    by_policy = [list(rows) for _, rows in entries.groupby("policy").entries]
    assert by_policy[0] == by_policy[1]
    assert len(set(by_policy[0])) == 3


def test_other_experiments_face_other_storms(expected):
    assert not sweep(**GRID | {"experiment": 1}).duration_ms.equals(expected.duration_ms)


@pytest.mark.parametrize("executor", ["threads", ThreadPoolExecutor(3)], ids=["threads", "a pool of threads"])
def test_threads_give_the_same_frame(executor, expected):
    same(sweep(**GRID, executor=executor), expected)


def test_processes_give_the_same_frame(expected):
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        same(sweep(**GRID, executor=executor), expected)


def test_an_address_without_dask_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    with pytest.raises(
        ValueError, match=r"'tcp://x:8786', the address of a dask scheduler, but dask is not installed"
    ):
        sweep(**GRID, executor="tcp://x:8786")


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_of_dask_gives_the_same_frame(require, expected):
    require(
        "cluster", importlib.util.find_spec("distributed"), "distributed is not installed (extra 'cluster')"
    )
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        same(sweep(**GRID, executor=client.get_executor()), expected)
        same(sweep(**GRID, executor=cluster.scheduler_address), expected)


def test_the_order_in_which_runs_end_does_not_matter(expected, monkeypatch):
    monkeypatch.setattr(engine, "as_completed", lambda futures: reversed(list(futures)))
    same(sweep(**GRID, executor=ThreadPoolExecutor(1)), expected)


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


def test_a_storm_by_name_is_made_for_each_machine():
    frame = sweep(machine=["lab-1cpu", "lab-2cpu"], kernel="6.12", storm="lab", policy="sync", replications=1)
    assert list(frame.machine) == ["lab-1cpu", "lab-2cpu"]
    assert list(frame.storm) == ["lab", "lab"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"machine": None}, "machine is missing"),
        ({"policy": []}, "policy is an empty list"),
        ({"policy": ["sync", "async-v4"]}, "policy 'async-v4' is not known; did you mean 'async-v3'"),
        ({"kernel": 6.11}, "kernel is 6.11; expected a name or a Kernel"),
        (
            {"kernel": ["6.11", "7.0"], "policy": "slot-cache-async"},
            "needs the slot cache, which kernel '7.0'",
        ),
        (
            {"storm": [STORM, STORM.but(name="big", swap_entries=10**7)]},
            "storm 'big' has 20000000 swap entries",
        ),
        ({"replications": 0}, "replications is 0; expected a whole number of at least 1"),
        ({"seed": -1}, "seed is -1"),
        ({"grain": 65}, "grain is 65"),
        ({"executor": 4}, "executor is 4; expected None, 'threads' or a concurrent.futures.Executor"),
        ({"settings": []}, "settings is []; expected a list of at least one dict"),
        ({"settings": [{"load": 1}, {}]}, "label 'load' is missing from some settings"),
        ({"settings": [{"load": [1]}]}, "settings[0]: label 'load' is [1]; expected text or a number"),
        ({"settings": [{"works": 1}]}, "label 'works' is a column of the outcome"),
        ({"settings": [{"policy": 5}]}, "settings[0]: policy is 5"),
        ({"policy": ["sync", "sync"]}, "two settings have the same columns"),
        ({"checkpoint": "nowhere/runs.jsonl"}, "the folder 'nowhere' does not exist"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_runs(change, message, ran):
    with pytest.raises(ValueError, match=re.escape(message)):
        sweep(**GRID | change)
    assert ran == []


def test_a_failing_run_says_which_it_was(monkeypatch):
    simulate = engine.simulate

    def failing(machine, kernel, storm, policy, seed, **choices):
        if storm.processes and seed == 1:
            raise ZeroDivisionError
        return simulate(machine, kernel, storm, policy, seed, **choices)

    monkeypatch.setattr(engine, "simulate", failing)
    with pytest.raises(ZeroDivisionError) as failure:
        sweep(**GRID)
    assert "policy 'sync', seed 1" in failure.value.__notes__[0]


def test_an_interrupted_sweep_goes_on_and_runs_nothing_twice(tmp_path, ran, monkeypatch, expected):
    recorded = engine.simulate

    def interrupted(*arguments, **choices):
        if len(ran) == 4:
            raise KeyboardInterrupt
        return recorded(*arguments, **choices)

    monkeypatch.setattr(engine, "simulate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep(**GRID, checkpoint=tmp_path / "runs.jsonl")
    monkeypatch.setattr(engine, "simulate", recorded)
    same(sweep(**GRID, checkpoint=tmp_path / "runs.jsonl"), expected)
    assert ran == [0, 1, 2, 0, 1, 2]
    same(sweep(**GRID, checkpoint=tmp_path / "runs.jsonl"), expected)
    assert len(ran) == 6


def test_a_checkpoint_keeps_missing_values_and_truth_values(tmp_path, expected):
    sweep(**GRID, checkpoint=tmp_path / "runs.jsonl")
    again = sweep(**GRID, checkpoint=tmp_path / "runs.jsonl")
    assert again.foreground_ms.isna().all()
    assert again.timed_out.dtype == bool
    same(again, expected)


def test_a_checkpoint_torn_at_any_byte_costs_one_run_at_most(tmp_path, expected, ran):
    path = tmp_path / "runs.jsonl"
    sweep(**GRID, checkpoint=path)
    content = path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(content) if byte == 10]
    for length in [0, 1, ends[0] - 1, ends[0], ends[0] + 1, ends[2] - 1, ends[2], len(content) - 1]:
        path.write_bytes(content[:length])
        ran.clear()
        same(sweep(**GRID, checkpoint=path), expected)
        assert len(ran) == 6 - max(0, sum(end <= length for end in ends) - 1)
        assert sorted(path.read_bytes().splitlines()) == sorted(content.splitlines())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"replications": 4}, "replications is 4, was 3."),
        ({"seed": 1, "grain": 1}, "seed is 1, was 0; grain is 1, was 16."),
        ({"machine": MACHINE.but(switch_ns=1)}, "machine 'lab-2cpu' has changed."),
        ({"kernel": "6.1"}, "kernel '6.1' is new; kernel '6.11' is missing."),
        ({"policy": ["sync"]}, "policy 'async-v3' is missing."),
        ({"policy": ["async-v3", "sync"]}, "the list of settings has changed."),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_checkpoint_of_another_sweep_is_refused_by_what_differs(change, message, tmp_path):
    path = tmp_path / "runs.jsonl"
    sweep(**GRID, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=re.escape(f"was made by another sweep: {message}")):
        sweep(**GRID | change, checkpoint=path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"a table", b'{"format": "other"}\n', b"\x00\xff\n"])
def test_a_file_that_is_no_checkpoint_is_left_as_it_is(content, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="holds something else than a sweep's rows"):
        sweep(**GRID, checkpoint=path)
    assert path.read_bytes() == content


def test_a_damaged_line_inside_a_checkpoint_is_named(tmp_path):
    path = tmp_path / "runs.jsonl"
    sweep(**GRID, checkpoint=path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b'{"run": 1, "ro\n', *lines[3:]]))
    with pytest.raises(ValueError, match="line 3 is damaged"):
        sweep(**GRID, checkpoint=path)


def test_a_checkpoint_serves_one_sweep_at_a_time(tmp_path, ran):
    pytest.importorskip("fcntl")
    path = tmp_path / "runs.jsonl"
    sweep(**GRID, checkpoint=path)
    inputs = json.loads(path.read_text().splitlines()[0])["inputs"]
    ran.clear()
    with Checkpoint(path, inputs), pytest.raises(ValueError, match="in use by another sweep"):
        sweep(**GRID, checkpoint=path)
    assert ran == []


def test_progress_shows_on_a_terminal_alone(capsys, monkeypatch):
    times = iter(range(10_000))
    monkeypatch.setattr(engine.time, "monotonic", lambda: next(times))
    sweep(**GRID)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    sweep(**GRID)
    written = capsys.readouterr().err
    assert "5 of 6 runs, 1 s left" in written
    assert written.split("\r")[-2].strip() == ""
