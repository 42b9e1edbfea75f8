"""How fast the engine is, as ratios measured in one run: against SimPy, and against another checkout of it.

``python tests/benchmarks.py [--against PATH]`` prints events a second beside SimPy's at grain 1 and 16, and
the first simulation of a fresh clone, which compiles. With a PATH to another checkout, both engines run by
turns and their CPU times are paired. Nothing here asserts a time: seconds belong to the machine and its load.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAIRS = 5

# What one process measures: CPU seconds and events of each storm, by name. It runs in any checkout.
MEASURE = """
import json, sys, time
begin = time.process_time()
import swaplib
from swaplib.sim.simulate import compile_engine
compile_engine()
found = {"first": [time.process_time() - begin, 0]}
phone = swaplib.machine("phone-8gb", swap_slots=1 << 22, memory_pages=1 << 23)
server = swaplib.machine("server-4x32", swap_slots=1 << 32, memory_pages=1 << 36)
camera = swaplib.storm("camera", phone, processes=12, swap_entries=90_000)
small = swaplib.storm("camera", phone, processes=12, swap_entries=20_000)
crowd = swaplib.storm("server", server, processes=200, swap_entries=20_000)
for kernel in ("6.11", "6.18"):
    for policy in ("sync", "async-v3"):
        for name, machine, storm, grain in (
            ("camera, grain 16", phone, camera, 16),
            ("camera, grain 1", phone, small, 1),
            ("128 CPUs, grain 16", server, crowd, 16),
        ):
            models = machine, swaplib.kernel(kernel), storm, swaplib.policy(policy)
            least = None
            for _ in range(3):
                begin = time.process_time()
                outcome = swaplib.simulate(*models, grain=grain, trace=False)
                took = time.process_time() - begin
                least = took if least is None else min(least, took)
            found[f"{kernel}, {policy}, {name}"] = [least, int(outcome.world.system[0].handled)]
print(json.dumps(found))
"""


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", type=Path, metavar="PATH", help="another checkout of this project")
    other = parser.parse_args().against
    beside_simpy()
    with tempfile.TemporaryDirectory() as folder:
        roots = [ROOT] + ([other.resolve()] if other else [])
        caches = [Path(folder) / str(number) for number in range(len(roots))]
        cold = [measure(root, cache)["first"][0] for root, cache in zip(roots, caches, strict=True)]
        print("\nFirst simulation of a fresh clone (CPU time to import and compile)")
        row("this checkout", f"{cold[0]:.1f} s")
        if other:
            row("the other checkout", f"{cold[1]:.1f} s", f"this one takes {cold[0] / cold[1]:.2f} times")
            pairs = [[measure(r, c) for r, c in zip(roots, caches, strict=True)] for _ in range(PAIRS)]
            paired(pairs)


def measure(root: Path, cache: Path) -> dict[str, list[float]]:
    """Measure a checkout in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(root), "NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", MEASURE]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"measuring {root} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def paired(pairs: list[list[dict[str, list[float]]]]) -> None:
    """Compare two engines by the CPU times of pairs of processes."""
    print(f"\nCPU time of this checkout over the other's: median of {PAIRS} pairs [least, most]")
    for name in pairs[0][0]:
        if name != "first":
            ratios = sorted(one[name][0] / other[name][0] for one, other in pairs)
            own = min(one[name][0] for one, _ in pairs)
            spread = f"{statistics.median(ratios):.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}]"
            row(name, f"{1000 * own:.1f} ms", spread)


def beside_simpy() -> None:
    """Compare with SimPy on the reduced model, whose times are equal to the nanosecond at grain 1."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from simpy_model import Costs, simulate_reduced
    from test_engine_exact import engine_reduced

    costs = Costs(
        walk_ns=12, outside_ns=300, hold_ns=100, transfer_ns=50, record_ns=15, page_ns=300, work_ns=300
    )
    kill_ns, sizes = [1000 * i for i in range(8)], [20_000 + i for i in range(8)]
    print("Beside SimPy: 8 processes of 20,000 entries, a CPU each; one lock; one kworker")
    for policy, threshold in (("sync", None), ("async-v3", 0)):
        begin = time.process_time()
        simpy = simulate_reduced(kill_ns, sizes, costs, threshold=threshold)
        simpy_s = time.process_time() - begin
        row(f"SimPy, {policy}", f"{simpy_s:.2f} s", f"{simpy.events / simpy_s / 1e6:.2f} M events/s")
        for grain in (1, 16):
            engine_reduced(kill_ns[:1], sizes[:1], costs, threshold, grain=grain)  # compiles
            begin = time.process_time()
            world = engine_reduced(kill_ns, sizes, costs, threshold, grain=grain).world
            own_s = time.process_time() - begin
            speed = int(world.system[0].handled) / own_s
            beside = f"{speed / 1e6:.1f} M events/s; {simpy_s / own_s:,.0f} times as fast as SimPy"
            row(f"engine, {policy}, grain {grain}", f"{1000 * own_s:.1f} ms", beside)


def row(what: str, value: str, beside: str = "") -> None:
    """Print one line of a table."""
    print(f"  {what:<46}{value:>10}  {beside}".rstrip(), flush=True)


if __name__ == "__main__":
    main()
