"""How fast the engine is beside SimPy and plain C: ratios of CPU times of one run; nothing asserts a time."""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def beside_simpy() -> None:
    """Compare with SimPy on the reduced model, whose times are equal to the nanosecond at grain 1."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from simpy_model import Costs, simulate_reduced

    locks = {"hold_ns": 100, "handover_ns": 120, "line_ns": 30}
    costs = Costs(walk_ns=12, outside_ns=300, record_ns=15, page_ns=300, work_ns=300, **locks)
    kill_ns, sizes = [1000 * i for i in range(8)], [20_000 + i for i in range(8)]
    print("8 processes of 20,000 entries, a CPU each; one lock; one kworker; without a trace")
    in_c = in_c_s(kill_ns, sizes, costs)
    row("first run, machine code loaded or compiled", f"{compile_s():.1f} s")
    for policy, threshold in (("sync", None), ("async-v3", 0)):
        begin = time.process_time()
        simulate_reduced(kill_ns, sizes, costs, threshold=threshold)
        simpy_s = time.process_time() - begin
        row(f"SimPy, {policy}", f"{simpy_s:.2f} s")
        for grain in (1, 16):
            own_s, handled = engine_s(kill_ns, sizes, costs, threshold, grain)
            beside = f"{handled / own_s / 1e6:.1f} M events/s; {simpy_s / own_s:,.0f} times as fast as SimPy"
            if in_c and grain == 1 and policy == "sync":
                beside += f"; C {own_s / in_c:.0f} times as fast as this"
            row(f"engine, {policy}, grain {grain}", f"{1000 * own_s:.1f} ms", beside)


def compile_s() -> float:
    """Return the CPU seconds of getting the engine's machine code; of compiling it in a fresh clone."""
    from swaplib.sim.simulate import compile_engine

    begin = time.process_time()
    compile_engine()
    return time.process_time() - begin


def engine_s(kill_ns, sizes, costs, threshold, grain) -> tuple[float, int]:
    """Return the CPU seconds of the fastest of five runs of the engine, and its events."""
    from test_engine_exact import engine_reduced

    took = []
    for _ in range(5):
        begin = time.process_time()
        world = engine_reduced(kill_ns, sizes, costs, threshold, grain, trace=False).world
        took.append(time.process_time() - begin)
    return min(took), int(world.system[0].handled)


def in_c_s(kill_ns, sizes, costs) -> float | None:
    """Return the CPU seconds of the reduced model in C under sync, or None without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        row("C, sync", "-", "no C compiler is there")
        return None
    times = (costs.walk_ns, costs.outside_ns, costs.hold_ns, costs.handover_ns, costs.line_ns)
    numbers = map(str, (len(sizes), sizes[0], kill_ns[1] - kill_ns[0], *times, 10))
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "reduced_model"
        subprocess.run([compiler, "-O2", "-o", program, ROOT / "tests" / "reduced_model.c"], check=True)
        printed = subprocess.run([program, *numbers], capture_output=True, text=True, check=True).stdout
    _, events, us = map(int, printed.split())
    row("C, sync", f"{us / 1000:.1f} ms", f"{events / us:.1f} M events/s")
    return us / 1e6


def row(what: str, value: str, beside: str = "") -> None:
    """Print one line of a table."""
    print(f"  {what:<46}{value:>10}  {beside}".rstrip(), flush=True)


if __name__ == "__main__":
    beside_simpy()
