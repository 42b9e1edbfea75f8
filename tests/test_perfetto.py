"""A run's Chrome JSON trace: it nests, adds up to the nanosecond and names all."""

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
    "one-cpu": ("lab-1cpu", "6.18", "lab", "adaptive", {"processes": 2, "mb": 8}),
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
            end = start + nanoseconds(event["dur"])
            found[event["pid"], event["tid"]].append((start, end, event["name"]))
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


def test_slices_add_up_to_the_cpu_time_of_every_cpu_and_task_to_the_nanosecond(written):
    outcome, trace = written
    by_cpu = np.zeros((outcome.machine.cpus, len(CATEGORIES)), np.int64)
    by_task = np.zeros(len(outcome.world.task), np.int64)
    for (pid, tid), rows in slices(trace).items():
        for start, end, name in rows:
            if pid == perfetto.CPUS:
                by_cpu[tid - perfetto.FIRST_CPU, CATEGORIES.index(name)] += end - start
            elif pid == perfetto.TASKS and name in CATEGORIES:
                by_task[tid - perfetto.FIRST_TASK] += end - start
    assert by_cpu[:, :IDLE].tolist() == outcome.world.cpu.time[:, :IDLE].tolist()
    assert by_task.tolist() == outcome.world.task.cpu_ns.tolist()


def test_every_process_and_thread_has_one_name_and_a_number_of_its_own(written):
    events = written[1]["traceEvents"]
    named = [(e["pid"], e.get("tid")) for e in events if e["name"] in ("process_name", "thread_name")]
    used = {(e["pid"], e["tid"]) for e in events if "tid" in e}
    assert len(set(named)) == len(named)
    assert used | {(pid, None) for pid, _ in used} <= set(named)
    assert len({tid for _, tid in used}) == len(used)
    assert min(min(ids) for ids in used) > 0


def test_counters_go_forward_in_time_and_end_as_the_samples_do(written):
    outcome, trace = written
    rows = defaultdict(list)
    for event in trace["traceEvents"]:
        if event["ph"] == "C":
            rows[event["name"]].append((nanoseconds(event["ts"]), float(event["args"]["value"])))
    samples = outcome.df_samples()
    counters = {"backlog (entries)": samples.backlog_entries, "free memory (MiB)": samples.free_pages / 256}
    for name, values in counters.items():
        times, counted = zip(*rows[name], strict=True)
        assert (np.diff(times) > 0).all()
        assert list(counted) == values.tolist()


def test_kills_and_exits_are_instants_and_phases_slices_at_their_times(written):
    outcome, trace = written
    found = defaultdict(list)
    for event in trace["traceEvents"]:
        if event["ph"] == "i":
            found[event["name"]].append(nanoseconds(event["ts"]))
    processes = (outcome.df_processes()[["killed_ms", "exited_ms"]] * 1e6).round()
    assert found["killed"] == processes.killed_ms.dropna().tolist()
    assert found["exited"] == processes.exited_ms.dropna().tolist()
    ends = [end for _, end, _ in slices(trace)[perfetto.STORM, perfetto.STORM]]
    assert ends == [at if at >= 0 else outcome.end_ns for at in outcome.phase_ends_ns][: len(ends)]
    assert len(ends) == len(outcome.phase_ends_ns) or outcome.timed_out


@given(st.integers(0, 100_000_000_000_000))
def test_a_reader_that_cuts_microseconds_to_nanoseconds_reads_what_was_written(ns):
    whole, fraction = repr(perfetto._us(ns)).split(".")
    assert nanoseconds(f"{whole}.{fraction}") == ns
    assert int(float(whole) * 1000.0 + float(f"0.{fraction}") * 1000.0) == ns  # with the fraction apart


def test_the_same_run_writes_the_same_bytes_and_another_run_in_their_place(tmp_path):
    one, two = (run("camera").to_perfetto(tmp_path / name) for name in ("a.json", "b.json"))
    assert one.read_bytes() == two.read_bytes()
    run("one-cpu").to_perfetto(one)
    assert "lab-1cpu" in json.loads(one.read_text())["otherData"]["swaplib"]


@pytest.mark.parametrize(
    ("place", "trace", "error", "message"),
    [
        ("trace.json", False, ValueError, "was not traced; simulate it with trace=True"),
        ("nowhere/trace.json", True, FileNotFoundError, "nowhere"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path, place, trace, error, message):
    with pytest.raises(error, match=message):
        run("one-cpu", trace=trace).to_perfetto(tmp_path / place)
    assert list(tmp_path.iterdir()) == []
