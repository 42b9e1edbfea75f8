"""How fast the engine is beside SimPy, as ratios of CPU times measured in one run; nothing asserts a time."""

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def beside_simpy() -> None:
    """Compare with SimPy on the reduced model, whose times are equal to the nanosecond at grain 1."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from simpy_model import Costs, simulate_reduced
    from test_engine_exact import engine_reduced

    costs = Costs(
        walk_ns=12,
        outside_ns=300,
        hold_ns=100,
        handover_ns=120,
        line_ns=30,
        record_ns=15,
        page_ns=300,
        work_ns=300,
    )
    kill_ns, sizes = [1000 * i for i in range(8)], [20_000 + i for i in range(8)]
    print("Beside SimPy: 8 processes of 20,000 entries, a CPU each; one lock; one kworker")
    for policy, threshold in (("sync", None), ("async-v3", 0)):
        begin = time.process_time()
        simulate_reduced(kill_ns, sizes, costs, threshold=threshold)
        simpy_s = time.process_time() - begin
        row(f"SimPy, {policy}", f"{simpy_s:.2f} s")
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
    beside_simpy()
