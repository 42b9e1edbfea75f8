"""A run's Chrome JSON trace: it nests, adds up to the nanosecond, names all and overwrites nothing."""

import json
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import swaplib
from swaplib.sim import perfetto
from swaplib.sim.state import CATEGORIES, IDLE

CASES = {
    "camera": ("phone-8gb", "6.11", "camera", "async-v3", {"processes": 3, "swap_entries": 9000}),
    "cut-off": ("phone-8gb", "6.11", "camera", "sync", {"limit_ns": 30_000_000}),
    "reaper": ("lab-2cpu", "6.11", "lab", "reaper", {"processes": 3, "mb": 16}),
    "two-nodes": ("server-2x48", "6.18", "server", "async-per-node", {"processes": 6, "swap_entries": 3000}),
    "one-cpu": ("lab-1cpu", "7.0", "lab", "adaptive", {"processes": 2, "mb": 8}),
    "munmap": ("rpi-4b", "6.12", "munmap", "sync", {"processes": 2, "mb": 8}),
    "nobody": ("phone-8gb", "6.11", "munmap", "sync", {"processes": 0}),
}


def run(case, **options):
    machine, kernel, storm, policy, choices = CASES[case]
    machine = swaplib.machine(machine)
    storm = swaplib.storm(storm, machine, **choices)
    return swaplib.simulate(machine, swaplib.kernel(kernel), storm, swaplib.policy(policy), **options)


@pytest.fixture(params=CASES)
def written(request, tmp_path):
    """An outcome and its trace as a reader sees it: numbers with a point stay text."""
    outcome = run(request.param)
    path = outcome.to_perfetto(tmp_path / "trace.json")
    return outcome, json.loads(path.read_text(encoding="ascii"), parse_float=str)


def nanoseconds(text):
    """Read microseconds as Perfetto does: in floating point, cut off."""
    return int(float(text) * 1000.0)


def slices(trace):
    """Lists of (start, end, name) by thread, in the order of the file."""
    found = defaultdict(list)
    for event in trace["traceEvents"]:
        if event["ph"] == "X":
            start = nanoseconds(event["ts"])
            found[event["pid"], event["tid"]].append(
                (start, start + nanoseconds(event["dur"]), event["name"])
            )
    return found


def test_slices_of_a_thread_are_nested_or_apart_in_order_of_start(written):
    for rows in slices(written[1]).values():
        open_until = []
        for start, end, name in sorted(rows, key=lambda row: row[0]):  # stable, as Perfetto sorts
            while open_until and open_until[-1] <= start:
                open_until.pop()
            assert start < end
            assert not open_until or end <= open_until[-1], name
            open_until.append(end)


def test_the_categories_on_a_cpu_add_up_to_its_cpu_time_to_the_nanosecond(written):
    outcome, trace = written
    time = np.zeros((outcome.machine.cpus, len(CATEGORIES)), np.int64)
    for (_, tid), rows in slices(trace).items():
        if perfetto.FIRST_CPU <= tid < perfetto.FIRST_TASK:
            for start, end, name in rows:
                if name in CATEGORIES:
                    time[tid - perfetto.FIRST_CPU, CATEGORIES.index(name)] += end - start
    expected = (outcome.df_cpu().drop(columns="idle") * 1e6).round().astype(int)
    assert time[:, :IDLE].tolist() == expected.to_numpy().tolist()


def test_the_visits_of_a_task_add_up_to_its_cpu_time_and_those_of_a_cpu_to_the_same(written):
    outcome, trace = written
    cpu_ns = (outcome.df_tasks().cpu_ms * 1e6).round().astype(int)
    by_task = np.zeros(len(cpu_ns), dtype=np.int64)
    by_cpu = 0
    for (_, tid), rows in slices(trace).items():
        for start, end, name in rows:
            if tid >= perfetto.FIRST_TASK and name.startswith("CPU "):
                by_task[tid - perfetto.FIRST_TASK] += end - start
            elif perfetto.FIRST_CPU <= tid < perfetto.FIRST_TASK and name not in CATEGORIES:
                by_cpu += end - start
    assert by_task.tolist() == cpu_ns.tolist()
    assert by_cpu == by_task.sum()


def test_every_process_and_thread_has_a_name_and_a_place(written):
    events = written[1]["traceEvents"]
    said = {(e["name"], e["pid"], e.get("tid")) for e in events if e["ph"] == "M"}
    for e in events:
        if e["ph"] != "M":
            for what in ("name", "sort_index"):
                assert (f"thread_{what}", e["pid"], e["tid"]) in said
                assert any(name == f"process_{what}" and pid == e["pid"] for name, pid, _ in said)


def test_a_thread_number_means_one_thread_above_zero(written):
    used = {(e["pid"], e["tid"]) for e in written[1]["traceEvents"] if "tid" in e}
    assert len({tid for _, tid in used}) == len(used)
    assert min(min(ids) for ids in used) > 0


def test_counters_go_forward_in_time_and_end_as_the_samples_do(written):
    outcome, trace = written
    rows = defaultdict(list)
    for event in trace["traceEvents"]:
        if event["ph"] == "C":
            (value,) = event["args"].values()
            rows[event["name"]].append((nanoseconds(event["ts"]), float(value)))
    samples = outcome.df_samples()
    for name, column, per in (("backlog", "backlog_entries", 1), ("free memory", "free_pages", 256)):
        times, values = zip(*rows[name], strict=True)
        assert (np.diff(times) > 0).all()
        assert list(values) == (samples[column] / per).tolist()


def test_kills_exits_and_phase_ends_are_instants_at_their_times(written):
    outcome, trace = written
    found = defaultdict(list)
    for event in trace["traceEvents"]:
        if event["ph"] == "i":
            found[event["name"]].append(nanoseconds(event["ts"]))
    processes = (outcome.df_processes()[["killed_ms", "exited_ms"]] * 1e6).round()
    assert found["killed"] == processes.killed_ms.dropna().tolist()
    assert found["exited"] == processes.exited_ms.dropna().tolist()
    assert found["app ready"] == [at for at in outcome.phase_ends_ns[-1:] if at >= 0]


@given(st.integers(0, 100_000_000_000_000))
def test_a_reader_that_cuts_microseconds_to_nanoseconds_reads_what_was_written(ns):
    whole, fraction = repr(perfetto._us(ns)).split(".")
    assert nanoseconds(f"{whole}.{fraction}") == ns
    assert int(float(whole) * 1000.0 + float(f"0.{fraction}") * 1000.0) == ns  # with the fraction apart


def test_an_earlier_trace_is_replaced(tmp_path):
    path = tmp_path / "trace.json"
    run("camera").to_perfetto(path)
    run("one-cpu").to_perfetto(path)
    assert json.loads(path.read_text())["otherData"]["machine"] == "lab-1cpu"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", ["", "my notes\n", '{"traceEvents":[]}'])
def test_a_file_that_is_no_trace_of_ours_is_left_alone(tmp_path, content):
    path = tmp_path / "trace.json"
    path.write_text(content)
    with pytest.raises(FileExistsError, match="not a trace that swaplib wrote"):
        run("one-cpu").to_perfetto(path)
    assert path.read_text() == content


@pytest.mark.parametrize(
    ("place", "trace", "error", "message"),
    [
        ("trace.json", False, ValueError, "was not traced; simulate it with trace=True"),
        ("nowhere/trace.json", True, FileNotFoundError, "there is no folder"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path, place, trace, error, message):
    with pytest.raises(error, match=message):
        run("one-cpu", trace=trace).to_perfetto(tmp_path / place)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_while_writing_leaves_the_old_trace_and_nothing_else(tmp_path, monkeypatch):
    path = run("one-cpu").to_perfetto(tmp_path / "trace.json")
    before = path.read_bytes()

    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(perfetto, "_visits", fail)
    with pytest.raises(OSError, match="no space"):
        run("camera").to_perfetto(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_run_writes_the_same_bytes(tmp_path):
    one, two = (run("camera").to_perfetto(tmp_path / name).read_bytes() for name in ("a.json", "b.json"))
    assert one == two
