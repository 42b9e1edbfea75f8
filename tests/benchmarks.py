"""How fast the engine is, as ratios measured in one run: against SimPy and plain Python, by size, and at the start.

``python tests/benchmarks.py`` prints a table and takes some three minutes; ``--quick`` runs less, says so, and takes
half a minute once the engine is compiled. Nothing here asserts a time: seconds belong to the machine and its load.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402  # after the path, as all that follow
from simpy_model import Costs, simulate_reduced  # noqa: E402
from strategies import lock_kernel, quiet_machine  # noqa: E402

import swaplib  # noqa: E402
from swaplib.model.machine import Machine  # noqa: E402
from swaplib.model.storm import Deaths, Storm  # noqa: E402
from swaplib.sim import simulate as engine  # noqa: E402
from swaplib.sim.outcome import Outcome  # noqa: E402
from swaplib.sim.prepare import prepare  # noqa: E402

GRAIN = engine.GRAIN
PLENTY = {"memory_pages": 1 << 36, "swap_slots": 1 << 32}
COSTS = Costs(walk_ns=12, outside_ns=300, hold_ns=100, transfer_ns=50, record_ns=15, page_ns=300, work_ns=300)
POLICIES = ("sync", "async-v3")


def main() -> None:
    """Print the table, or measure one thing for the process that prints it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer runs and smaller sizes, extrapolated")
    parser.add_argument("--measure", choices=sorted(MEASURES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(MEASURES[arguments.measure]()))
        return
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} CPUs{load}; grain in use {GRAIN}; times are wall times"
    )
    print("An event is one step of the event loop: a segment of CPU time that ends, a kill, or a wake-up.")
    camera_run("sync")  # compiles, or loads what was compiled
    for part in (peers, runs, growth, start):
        part(arguments.quick)
    if load:
        print(f"\nload at the end {os.getloadavg()[0]:.1f}; this run alone makes 1 to 2")


def peers(quick: bool) -> None:
    """Compare with SimPy on the reduced model, equal in its results, and with the same source uncompiled."""
    processes, entries = 8, 20_000 if quick else 100_000
    head(
        f"Peers: {processes} processes of {entries:,} entries, a CPU each; one lock; one kworker on its own CPU"
    )
    for policy in POLICIES:
        threshold = None if policy == "sync" else 0
        kill_ns, sizes = [1000 * i for i in range(processes)], [entries + i for i in range(processes)]
        seconds, simpy = best(
            1, lambda k=kill_ns, s=sizes, t=threshold: simulate_reduced(k, s, COSTS, threshold=t)
        )
        row(f"SimPy, {policy}", took(seconds), rate(simpy.events, seconds))
        for grain in (1, GRAIN):
            own, outcome = best(3, lambda k=kill_ns, s=sizes, p=policy, g=grain: reduced(k, s, p, g))
            end = int(outcome.world.process.freed_ns.max())
            off = abs(end - max(simpy.freed_ns)) / max(simpy.freed_ns)
            ratio = f"{seconds / own:,.0f} times SimPy; end differs by {off:.2%}"
            row(f"engine, {policy}, grain {grain}", took(own), rate(events(outcome), own), ratio)
    python = child("plain", NUMBA_DISABLE_JIT="1")
    compiled = plain()
    ratio = f"{python['seconds'] / compiled['seconds']:,.0f} times plain Python"
    row(
        "plain Python (NUMBA_DISABLE_JIT=1)",
        took(python["seconds"]),
        rate(python["events"], python["seconds"]),
    )
    row(
        "engine, the same storm",
        took(compiled["seconds"]),
        rate(compiled["events"], compiled["seconds"]),
        ratio,
    )


def runs(quick: bool) -> None:
    """Measure one camera launch, a thousand of them, and the largest storm."""
    head("Runs: a camera launch is 12 processes of 90,000 entries on 8 CPUs with foreground and background")
    for policy in POLICIES:
        seconds, outcome = best(10, lambda p=policy: camera_run(p))
        row(f"camera launch, {policy}", took(seconds), rate(events(outcome), seconds), "aim: 20 ms")
    count = 100 if quick else 1000
    machine, storm = camera()
    grid: dict[str, Any] = {"machine": machine, "kernel": "6.11", "storm": storm, "policy": list(POLICIES)}
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        begin, _ = best(1, lambda: swaplib.sweep(**grid, replications=2, executor=pool))
        row("start of two worker processes", took(begin))
        alone = 0.0
        for name, executor in (("one after another", None), ("threads", "threads"), ("2 processes", pool)):
            seconds, _ = best(
                1, lambda e=executor: swaplib.sweep(**grid, replications=count // 2, executor=e)
            )
            alone = alone or seconds
            scaled = f"{count} runs x {1000 // count}" if count < 1000 else ""
            ratio = f"{alone / seconds:.1f} times one after another; aim: 15 s on 2 cores" if executor else ""
            row(f"1000 camera launches, {name}", took(seconds * 1000 / count), scaled, ratio)
    for name in ("nothing", "big-sync", "big-async-v3"):
        big = child(name)
        memory = f"peak {big['mib']:,.0f} MiB"
        if name == "nothing":
            row("a process that simulates one empty storm", took(big["seconds"]), "", memory)
        else:
            what = f"128 CPUs, 1000 exits, 100 million entries, {name[4:]}"
            row(what, took(big["seconds"]), rate(big["events"], big["seconds"]), f"{memory}; aim: 20 s, 1 GB")


def growth(quick: bool) -> None:
    """Fit time = size ** exponent, and beside it what n log n would give between the same sizes."""
    head(
        "Growth: exponent of the time in the size, fitted over four sizes; n log n over the same sizes beside it"
    )
    few = 4 if quick else 1
    for policy in POLICIES:
        sizes = [n // few for n in (25_000, 50_000, 100_000, 200_000)]
        fit(
            f"entries of 12 processes, 8 CPUs, {policy}",
            sizes,
            lambda n, p=policy: camera_run(p, swap_entries=n),
        )
        sizes = [n // few for n in (500, 1000, 2000, 4000)]
        fit(
            f"processes of 2,000 entries, 128 CPUs, {policy}",
            sizes,
            lambda n, p=policy: server_run(p, n, 2_000),
        )
        fit(
            f"processes of 2,000 entries, 8 CPUs, {policy}",
            sizes,
            lambda n, p=policy: server_run(p, n, 2_000, 8),
        )
        entries = 8_000 // few
        name = f"CPUs, 256 processes of {entries:,} entries, {policy}"
        fit(name, [16, 32, 64, 128], lambda n, p=policy, e=entries: server_run(p, 256, e, n))


def start(quick: bool) -> None:
    """Measure the first steps of a new process."""
    head("Start of a new process, compiled code kept from before")
    least = min((child("first") for _ in range(3)), key=lambda found: found["simulate"])
    row("import swaplib", took(least["import"]), "", "aim: 0.3 s")
    row("load pandas, numba and the models", took(least["models"]))
    row("first simulate", took(least["simulate"]), "", "aim: 1 s")
    row("second simulate", took(least["again"]))
    if quick:
        row("without a writable cache folder", "not run (--quick)")
        return
    with tempfile.TemporaryDirectory() as folder:
        for part in ("swaplib", "data", "tests"):
            shutil.copytree(ROOT / part, Path(folder) / part, ignore=shutil.ignore_patterns("__pycache__"))
        nowhere = str(Path(folder) / "swaplib" / "__pycache__")
        Path(nowhere).touch()  # a file where a folder would be: refuses an administrator too
        places = dict.fromkeys(("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"), nowhere)
        found = child("first", Path(folder), **places, PYTHONDONTWRITEBYTECODE="1")
        row(
            "first simulate without a writable cache folder",
            took(found["simulate"]),
            "",
            "works; compiles anew",
        )


def camera() -> tuple[Machine, Storm]:
    """The camera launch of the issue, on a phone with 8 CPUs that holds it."""
    machine = swaplib.machine("phone-8gb", swap_slots=1 << 22, memory_pages=1 << 23)
    return machine, swaplib.storm("camera", machine, processes=12, swap_entries=90_000)


def camera_run(policy: str, **changes: int) -> Outcome:
    """One camera launch, as a sweep runs it."""
    machine, storm = camera()
    kernel, row = swaplib.kernel("6.11"), swaplib.policy(policy)
    return engine.simulate(machine, kernel, storm.but(**changes), row, trace=False)


def server_run(policy: str, processes: int, entries: int, cpus: int = 128) -> Outcome:
    """Many exits at once on a server of four nodes with some CPUs."""
    machine = swaplib.machine("server-4x32", **PLENTY)
    node = tuple(cpu * 4 // cpus for cpu in range(cpus))
    machine = replace(machine, capacity=(1024,) * cpus, node=node, pod=node)
    storm = swaplib.storm(
        "server",
        machine,
        processes=processes,
        swap_entries=entries,
        present_pages=entries // 4,
        limit_ns=1 << 50,
    )
    return engine.simulate(machine, swaplib.kernel("6.11"), storm, swaplib.policy(policy), trace=False)


def reduced(kill_ns: Sequence[int], sizes: Sequence[int], policy: str, grain: int) -> Outcome:
    """The reduced model of `simpy_model` in the engine: every process has a CPU, and so has the kworker."""
    machine = quiet_machine(
        len(kill_ns) + 1,
        transfer_local_ns=COSTS.transfer_ns,
        gather_record_ps=1000 * COSTS.record_ns,
        gather_page_ns=COSTS.page_ns,
        work_ns=COSTS.work_ns,
    )
    kernel = lock_kernel(1000 * COSTS.hold_ns, 1000 * COSTS.outside_ns, walk_ps=1000 * COSTS.walk_ns)
    times, entries = np.asarray(kill_ns, np.int64), np.asarray(sizes, np.int64)
    none = np.zeros_like(times)
    deaths = Deaths(times, entries, none, none, none + 1, none)
    row = swaplib.policy(policy) if policy == "sync" else swaplib.policy(policy, threshold=0)
    storm = Storm("reduced", processes=len(kill_ns))
    world = prepare(machine, kernel, storm, row, deaths, grain=grain, variation_permille=0, trace=False)
    world, trace = engine.run(world, times, storm)
    return Outcome(machine, kernel, storm, row, 0, world, trace)


def plain() -> dict[str, float]:
    """A small camera launch, with the compiler or without."""
    seconds, outcome = best(3, lambda: camera_run("async-v3", processes=4, swap_entries=2_000))
    return {"seconds": seconds, "events": events(outcome)}


def big(policy: str, processes: int) -> dict[str, float]:
    """The largest storm, and the peak memory of its process."""
    server_run(policy, 2, 1000)  # loads the compiled code
    seconds, outcome = best(1, lambda: server_run(policy, processes, 100_000))
    return {"seconds": seconds, "events": events(outcome), "mib": peak_mib()}


def first() -> dict[str, float]:
    """The first steps in an interpreter that has loaded nothing yet."""
    code = """
import json, time
def lap(last=[time.perf_counter()]):
    now = time.perf_counter(); took = now - last[0]; last[0] = now; return took
import swaplib; found = {"import": lap()}
machine = swaplib.machine("phone-8gb"); storm = swaplib.storm("camera", machine, processes=4)
arguments = machine, swaplib.kernel("6.11"), storm, swaplib.policy("async-v3")
swaplib.simulate; found["models"] = lap()
swaplib.simulate(*arguments); found["simulate"] = lap()
swaplib.simulate(*arguments); found["again"] = lap()
print(json.dumps(found))
"""
    return json.loads(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    )


MEASURES: dict[str, Callable[[], dict[str, float]]] = {
    "plain": plain,
    "nothing": lambda: big("sync", 0),
    "big-sync": lambda: big("sync", 1000),
    "big-async-v3": lambda: big("async-v3", 1000),
    "first": first,
}


def child(measure: str, root: Path = ROOT, **environment: str) -> dict[str, float]:
    """Measure one thing in a process of its own."""
    known = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, str(root / "tests" / "benchmarks.py"), "--measure", measure]
    done = subprocess.run(
        command, env={**known, "PYTHONPATH": str(root), **environment}, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"measuring {measure} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def peak_mib() -> float:
    """The most memory that this process has held."""
    status = Path("/proc/self/status")
    if status.exists():  # the resource usage would count the parent too, from which Linux forked this process
        kib = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(kib) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1 << 20 if sys.platform == "darwin" else 1 << 10
    )


def best(
    times: int, what: Callable[[], Any], clock: Callable[[], float] = time.perf_counter
) -> tuple[float, Any]:
    """The shortest time of some runs, which other processes disturbed least, and the last result."""
    least = math.inf
    for _ in range(times):
        begin = clock()
        result = what()
        least = min(least, clock() - begin)
    return least, result


def fit(name: str, sizes: Sequence[int], run: Callable[[int], Outcome]) -> None:
    """Print the slope of log CPU time over log size."""
    seconds = [best(3, lambda n=n: run(n), time.process_time)[0] for n in sizes]
    slope = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
    limit = np.polyfit(np.log(sizes), np.log(np.array(sizes) * np.log(sizes)), 1)[0]
    span = f"{sizes[0]:,} to {sizes[-1]:,}"
    row(name, f"{slope:.2f}", f"n log n: {limit:.2f}", f"{span}: {took(seconds[0])} to {took(seconds[-1])}")


def events(outcome: Outcome) -> int:
    """Events that a run handled."""
    return int(outcome.world.system[0].handled)


def took(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def rate(count: float, seconds: float) -> str:
    return f"{count / seconds / 1e6:.3g} M events/s"


def head(text: str) -> None:
    print(f"\n{text}", flush=True)


def row(what: str, value: str, beside: str = "", note: str = "") -> None:
    print(f"  {what:<58}{value:>12}  {beside:<18}{note}".rstrip(), flush=True)


if __name__ == "__main__":
    main()
