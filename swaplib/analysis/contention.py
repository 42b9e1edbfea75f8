"""What a contended lock or cache line costs with many CPUs: a closed form, and its fit to published locks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import least_squares

from swaplib.evidence.data import load
from swaplib.model.checks import at_least
from swaplib.model.machine import Machine

Vector = npt.NDArray[np.float64]

FIT_MACHINES = ("x86-2", "x86-3")  # whose rows are fitted; all other tables test the fit
# CPUs of a socket, from the order of pins: x86-2 has one socket, the others have two.
SOCKET_CPUS = {"x86-2": 48, "x86-3": 44, "x86-4": 20}
HOLD_NS, THINK_NS = 200, 1000  # of the fitted rows: spaced, so that no CPU wins a line twice in a row
# lock2 of published/spinlock_cna_v11: an operation of one thread, and the part that holds the lock (233 ns an
# operation with 8 threads of one socket, less a hand-over).
LOCK2_NS, LOCK2_HOLD_NS = 625, 110
_PRIMITIVES = {"handover": "queued_spinlock", "line": "incdec_refcount"}


def closed_network(
    walkers: int, think_ns: float, demands_ns: Sequence[float], free_ns: Sequence[float] | None = None
) -> float:
    """Return the nanoseconds of one cycle of one of `walkers` that share some serial stations.

    A cycle spends `think_ns` alone, and in each station a demand if it had to wait (a hold and its hand-over,
    or the changes of a line), the free time (None: as long) if not. Mean-value analysis of a closed network
    (Reiser and Lavenberg 1980), first come, first served, constant service times: who comes meets half of the
    service under way. Never below the bounds of Lazowska and others (Quantitative System Performance, 1984,
    chapter 5): one walker's cycle, and so many times the longest demand.
    """
    at_least("walkers", walkers, 1)
    queued = list(demands_ns)
    free = queued if free_ns is None else list(free_ns)
    waiting = busy = [0.0] * len(queued)
    cycle = think_ns + sum(free)
    if cycle == 0:
        return 0.0
    for customers in range(1, walkers + 1):
        demands = [f + min(b, 1) * (q - f) for q, f, b in zip(queued, free, busy, strict=True)]
        inside = [d * (1 + w - b / 2) for d, w, b in zip(demands, waiting, busy, strict=True)]
        cycle = max(think_ns + sum(inside), customers * max(demands, default=0.0))
        waiting = [time * customers / cycle for time in inside]
        busy = [time * customers / cycle for time in demands]
    return float(cycle)


def far_share(threads: int, node_cpus: int, nodes: int = 2) -> float:
    """Return how often the next of `threads` runs on another node.

    Threads fill `node_cpus` of one node after the other, then begin again (with the second threads of cores).
    All orders are equally likely, as in a queue that every thread joins again behind the others.
    """
    if threads < 2:
        return 0.0
    on_node = np.bincount(np.arange(threads) // node_cpus % nodes)
    return float(1 - (on_node * (on_node - 1)).sum() / (threads * (threads - 1)))


def lock_curve(
    threads: Sequence[int],
    node_cpus: int,
    near_ns: float,
    far_ns: float,
    *,
    alone_ns: float = HOLD_NS + THINK_NS,
    hold_ns: float = HOLD_NS,
    moves: int = 1,
    free_ns: float | None = None,
    nodes: int = 2,
) -> Vector:
    """Return the nanoseconds of one access in the system, by number of threads.

    Parameters
    ----------
    threads, node_cpus, nodes
        Numbers of threads, pinned so that they fill one node of `node_cpus` after the other.
    near_ns, far_ns, free_ns
        A move of the lock or line to another CPU of the node, and to one of another node; on one node when
        nobody waited for it (None: as long as one that was waited for).
    alone_ns, hold_ns
        A cycle of one thread, and the part of it that is spent holding (0 for a counter).
    moves
        Moves of an access: 1 for a lock, 2 for a counter that is raised and lowered.
    """
    curve = []
    for n in threads:
        move_ns = near_ns + far_share(n, node_cpus, nodes) * (far_ns - near_ns) if n > 1 else 0.0
        unwaited_ns = move_ns if free_ns is None or n == 1 else free_ns
        held = [[hold_ns + moves * ns] for ns in (move_ns, unwaited_ns)]
        curve.append(closed_network(n, alone_ns - hold_ns, *held) / n)
    return np.array(curve)


def lockhammer(what: str) -> pd.DataFrame:
    """Return published accesses: the ``handover`` of a queued lock, or the changes of a ``line``.

    Columns machine, threads, node_cpus, split (fit or test), measured_ns (an access in the system), and
    alone_ns, a cycle of one thread. Machine x86-1, which spreads its threads over four nodes, is left out.
    """
    frame = load("published/lockhammer")
    frame = frame[(frame.hold_ns == HOLD_NS) & (frame.think_ns == THINK_NS)]
    frame = frame[(frame.primitive == _PRIMITIVES[what]) & frame.machine.isin(SOCKET_CPUS)]
    frame = frame.rename(columns={"ns_per_access_median": "measured_ns"})
    alone = frame[frame.threads == 1].set_index("machine").measured_ns
    frame["alone_ns"], frame["node_cpus"] = frame.machine.map(alone), frame.machine.map(SOCKET_CPUS)
    frame["split"] = np.where(frame.machine.isin(FIT_MACHINES), "fit", "test")
    columns = ["machine", "threads", "node_cpus", "split", "measured_ns", "alone_ns"]
    return frame[columns].reset_index(drop=True)


def lockhammer_curve(
    frame: pd.DataFrame, what: str, near_ns: float, far_ns: float, free_ns: float | None = None
) -> pd.Series:
    """Return what the closed form says of the rows of `lockhammer`, in nanoseconds; see `lock_curve`."""
    shape: dict[str, Any] = {"hold_ns": 0, "moves": 2} if what == "line" else {"hold_ns": HOLD_NS, "moves": 1}
    curves, machines = pd.Series(np.nan, frame.index), frame.groupby(["node_cpus", "alone_ns"])
    for (node_cpus, alone_ns), part in cast(Any, machines):
        shape |= {"alone_ns": alone_ns, "free_ns": free_ns}
        curves[part.index] = lock_curve(part.threads.tolist(), node_cpus, near_ns, far_ns, **shape)
    return curves


def fit_contention() -> pd.DataFrame:
    """Fit the numbers of contention to the rows of split fit.

    Index number (as in data/machines), columns value, unit, and residual_percent: the standard deviation of
    what the fit leaves, of its own rows.
    """

    def misses(ends: Vector, frame: pd.DataFrame, what: str, free_ns: float | None) -> Vector:
        computed = lockhammer_curve(frame, what, float(ends[0]), float(ends[1]), free_ns)
        return np.log((computed / frame.measured_ns).to_numpy())

    rows, line_ns = [], None  # an uncontended lock comes as a line does
    for what in ("line", "handover"):
        frame = lockhammer(what).query("split == 'fit' and threads > 1")
        found = least_squares(misses, [100.0, 200.0], args=(frame, what, line_ns))
        left = 100 * float(np.std(found.fun))
        line_ns, far_ns = map(float, found.x)
        rows += [(f"{what}_local_ps", 1000 * line_ns, "ps", left)]
        rows += [(f"{what}_remote_ps", 1000 * far_ns, "ps", left)]
    small = load("published/atomic_and_locks_small")
    small = small[small.machine.str.startswith("g1-16") & (small.implementation == "atomic add")]
    small = small[small.threads.between(2, 16)]
    slope, start = np.polyfit(small.threads - 2, small.ns_per_op_in_system, 1)
    left = 100 * float(np.std(small.ns_per_op_in_system / (start + slope * (small.threads - 2)) - 1))
    rows += [("line_local_ps, no LSE", 1000 * start, "ps", left)]
    rows += [("growth_permille, no LSE", 1000 * slope / start, "1/1000", left)]
    return pd.DataFrame(rows, columns=["number", "value", "unit", "residual_percent"]).set_index("number")


_NS, _LOCK_NS = "ns_per_update_in_system", "ns_per_read_lock_and_unlock_in_system"
_GRAVITON2 = "machine.str.startswith('g2') and implementation == 'atomic add'"
_READERS = "hold_us == 0 and machine.str.startswith('8 x')"
_LOCK2 = "test == 'lock2_threads' and lock == 'qspinlock'"
# Curves that test the fit: name, table, its rows, column of times or throughput, CPUs a node, nodes.
_TESTS = (
    ("counter, 8 sockets", "atomic_increment", "machine.str.startswith('8 x')", _NS, 56, 8),
    ("counter, AMD, 2 sockets", "atomic_increment", "machine.str.startswith('AMD')", _NS, 83, 2),
    ("counter, Arm with LSE", "atomic_and_locks_small", _GRAVITON2, "ns_per_op_in_system", 64, 1),
    ("read lock, 8 sockets", "rwlock_read", _READERS, _LOCK_NS, 56, 8),
    ("spin lock, 4 sockets", "spinlock_cna_v11", _LOCK2, "throughput", 18, 4),
)


def lock2_curve(machine: Machine, threads: Sequence[int], node_cpus: int, nodes: int) -> Vector:
    """Return the curve of the kernel's test lock2 with a machine's numbers; see `lock_curve`."""
    near, far, free = (machine[f"{n}_ps"] / 1000 for n in ("handover_local", "handover_remote", "line_local"))
    held: dict[str, Any] = {"alone_ns": LOCK2_NS, "hold_ns": LOCK2_HOLD_NS, "free_ns": free}
    return lock_curve(threads, node_cpus, near, far, nodes=nodes, **held)


def published_curves(machine: Machine) -> pd.DataFrame:
    """Return published curves that test the fit beside what a machine's numbers of contention say of them.

    Columns curve, threads, measured and predicted: the time of an operation in the system over that with 8
    threads, as nobody says how long the locks are held.
    """
    near, far = (machine[f"line_{end}_ps"] / 1000 for end in ("local", "remote"))
    parts = []
    for name, table, rows, column, node_cpus, nodes in _TESTS:
        frame = load(f"published/{table}").query(rows).sort_values("threads")
        threads, time = frame.threads.tolist(), frame[column]
        if column == "throughput":
            time, curve = 1 / time, lock2_curve(machine, threads, node_cpus, nodes)
        else:
            moves, alone_ns = 2 if table == "rwlock_read" else 1, float(time.iloc[0])
            shape: dict[str, Any] = {"alone_ns": alone_ns, "hold_ns": 0.0, "moves": moves, "nodes": nodes}
            curve = lock_curve(threads, node_cpus, near, far, **shape)
        at = pd.Index(threads, name="threads")
        both = pd.DataFrame({"measured": time.to_numpy(), "predicted": curve}, at)
        parts.append((both / both.loc[8]).assign(curve=name).reset_index())
    curves = pd.concat(parts, ignore_index=True)[["curve", "threads", "measured", "predicted"]]
    return curves[curves.threads > 1].reset_index(drop=True)
