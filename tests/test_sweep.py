"""A sweep: every run once, the same on any executor, refused before it starts, not lost once done."""

import importlib.util
import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pandas as pd
import pytest

import swaplib
from swaplib import in_parallel, sweep, sweeps

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


def test_rows_are_settings_by_policies_by_replications(expected):
    assert list(expected.policy) == ["sync"] * 3 + ["async-v3"] * 3
    assert list(expected.replication) == [0, 1, 2] * 2
    assert list(expected.columns[:5]) == ["machine", "kernel", "storm", "policy", "replication"]


def test_a_row_holds_the_summary_of_the_simulation_with_its_seed():
    frame = sweep(**GRID | {"seed": 7, "experiment": 5})
    models = MACHINE, swaplib.kernel("6.11"), STORM, swaplib.policy("async-v3")
    summary = swaplib.simulate(*models, seed=9, experiment=5, trace=False).summary()
    row = frame[(frame.policy == "async-v3") & (frame.replication == 2)].iloc[0]
    pd.testing.assert_series_equal(row[summary.index], summary, check_names=False)


def test_policies_face_the_same_storm_but_replications_and_experiments_others(expected):
    def entries(frame):
        freed = frame.entries_sync + frame.entries_async + frame.stranded
        return [list(rows) for _, rows in freed.groupby(frame.policy)]

    first, second = entries(expected)
    assert first == second
    assert len(set(first + entries(sweep(**GRID | {"experiment": 1}))[0])) == 6


def test_threads_and_processes_give_the_same_frame(expected):
    same(sweep(**GRID, executor="threads"), expected)
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
        assert in_parallel(lambda number: -number, range(5), cluster.scheduler_address) == [0, -1, -2, -3, -4]


def test_the_order_in_which_runs_end_does_not_matter(expected, monkeypatch):
    monkeypatch.setattr(sweeps, "as_completed", lambda futures: reversed(list(futures)))
    same(sweep(**GRID, executor=ThreadPoolExecutor(1)), expected)
    assert in_parallel(str, range(5)) == ["0", "1", "2", "3", "4"]


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
    phones = ["phone-8gb", MACHINE]
    arms = list(sweeps._arms(0, {"machine": phones, "kernel": "6.12", "storm": "camera", "policy": "sync"}))
    storms = [swaplib.storm("camera", swaplib.machine("phone-8gb")), swaplib.storm("camera", MACHINE)]
    assert [models["storm"] for models, _ in arms] == storms
    assert storms[0] != storms[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"machine": None}, "machine is None; expected a name, a Machine, or a list of these"),
        ({"policy": []}, "policy is []; expected a name, a Policy, or a list of these"),
        ({"policy": ["sync", "async-v4"]}, "policy 'async-v4' is not known; did you mean 'async-v3'"),
        ({"kernel": 6.11}, "kernel is 6.11; expected a name, a Kernel, or a list of these"),
        (
            {"kernel": ["6.11", "7.0"], "policy": "slot-cache-async"},
            "needs the slot cache, which kernel '7.0'",
        ),
        ({"storm": STORM.but(name="big", swap_entries=10**7)}, "storm 'big' has 20000000 swap entries"),
        ({"replications": 0}, "replications is 0; expected a whole number of at least 1"),
        ({"seed": -1}, "seed is -1"),
        ({"grain": 65}, "grain is 65"),
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
        sweep(**GRID, checkpoint=tmp_path / "runs.jsonl")
    monkeypatch.setattr(sweeps, "simulate", recorded)
    for _ in range(2):  # the second time there is nothing left to run
        same(sweep(**GRID, checkpoint=tmp_path / "runs.jsonl"), expected)
        assert ran == [(policy, seed) for policy in ("sync", "async-v3") for seed in range(3)]
    assert expected.foreground_ms.isna().all()  # missing values and truth values come back as they were
    assert expected.timed_out.dtype == bool


def test_a_checkpoint_torn_at_any_byte_costs_one_run_at_most(tmp_path, expected, ran):
    path = tmp_path / "runs.jsonl"
    sweep(**GRID, checkpoint=path)
    content = path.read_bytes()
    ends = [*(at for at, byte in enumerate(content) if byte == 10 and at), len(content)]
    for length in [0, 1, 2, ends[0] - 1, ends[0], ends[0] + 1, ends[2] - 1, ends[2], len(content) - 1]:
        path.write_bytes(content[:length])
        ran.clear()
        for _ in range(2):  # and what was made anew is kept
            same(sweep(**GRID, checkpoint=path), expected)
            assert len(ran) == 6 - sum(end <= length for end in ends)


@pytest.mark.parametrize("damage", ["", "3", "[]", '{"run": 1}', '{"run": [], "summary": {}}', "\x00"])
def test_a_damaged_line_of_a_checkpoint_is_made_anew(damage, tmp_path, expected, ran):
    path = tmp_path / "runs.jsonl"
    sweep(**GRID, checkpoint=path)
    whole = path.read_text().split("\n")
    path.write_text("\n".join([*whole[:2], damage, *whole[3:]]))
    same(sweep(**GRID, checkpoint=path), expected)
    assert len(ran) == 6 + 1


@pytest.mark.parametrize(
    ("change", "runs"),
    [
        ({"replications": 4, "policy": ["async-v3", "sync"]}, 2),  # one more of each policy
        ({"seed": 1}, 2),
        ({"experiment": 1}, 6),
        ({"grain": 1}, 6),
        ({"machine": MACHINE.but(switch_ns=1)}, 6),
        ({"policy": ["sync", swaplib.policy("async-v3").but(threshold=1, name="async-v3")]}, 3),
    ],
    ids=str,
)
def test_a_sweep_takes_from_a_checkpoint_only_what_it_would_run_itself(change, runs, tmp_path, ran):
    sweep(**GRID, checkpoint=tmp_path / "runs.jsonl")
    ran.clear()
    frame = sweep(**GRID | change, checkpoint=tmp_path / "runs.jsonl")
    assert len(ran) == runs
    same(frame, sweep(**GRID | change))


def test_another_engine_takes_nothing_from_a_checkpoint(tmp_path, ran, monkeypatch):
    sweep(**GRID, checkpoint=tmp_path / "runs.jsonl")
    monkeypatch.setattr(sweeps, "digest_of_sources", lambda: "another")
    sweep(**GRID, checkpoint=tmp_path / "runs.jsonl")
    assert len(ran) == 12


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"a table", b'{"format": "other"}\n', b"\x00\xff\n"])
def test_a_file_that_is_no_checkpoint_is_left_as_it_is(content, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="holds something else than finished runs"):
        sweep(**GRID, checkpoint=path)
    assert path.read_bytes() == content


def test_progress_shows_on_a_terminal_alone(capsys, monkeypatch):
    sweep(**GRID)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    sweep(**GRID)
    assert "6/6" in capsys.readouterr().err
