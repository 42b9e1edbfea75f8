"""Measure exits with swapped-out memory on this machine: standard library only, to be copied alone.

Every process is a fresh interpreter that maps, fills and pages out memory, waits, and is ended by SIGKILL,
all by one call. Times are microseconds since then. A reaper is a thread at nice -20 that kills a victim of
its own and calls process_mrelease for it at once, as lmkd does: later than the victim's own exit_mm, that
fails. No swap is ever made or removed. Python 3.11 or later.
"""

import argparse
import contextlib
import ctypes
import errno
import functools
import itertools
import json
import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time

PAGE, PAGES_PER_MB, MADV_PAGEOUT = 4096, 256, 21
RANDOM_BYTES = 1100  # of a page, which then compresses to about 28 %
ORDERS = {"random": 1, "runs16": 16, "sequential": 0}  # of page-out; layout_run
RUNS = {"random": (1, 1.5), "runs16": (8, 24), "sequential": (64, 1e9)}  # mean entries of a run, as asked for
PROCESS_MRELEASE = 448  # the system call's number on every architecture but alpha; Linux 5.15 or later
QUIET_NS = 1_000_000_000  # no swap space came back for so long after the last exit: no more will
NO_SWAP = """there is no swap; these lines, as root, make one of 2 GiB on zram until the next boot:
modprobe zram
echo 2G > /sys/block/zram0/disksize
mkswap /dev/zram0
swapon /dev/zram0"""
CPU = "/sys/devices/system/cpu/cpu%d/"
COLUMNS = (
    "kernel smp layout_run procs mb swap_frac rep swap_entries rss_pages swap_runs kill_us first_exit_us "
    "median_exit_us mean_exit_us last_exit_us swap_back99_us exit_cpu_us_sum reapers reaped "
    "reaper_cpu_us_sum loadavg order cpu_model cpus swap_device governor note"
)


class ProbeError(ValueError):
    """Something is missing or was asked for wrongly; the message says what would be right."""


def probe(out="runs.csv", **options):
    """Measure this machine, as ``swaplib probe`` does, into a new CSV file `out`, and return its rows.

    options: ``processes=[1, 2, 4], mb=[64], swap_share=[1.0, 0.0], order=["random", "runs16"],
    reapers=[0], repetitions=5, seed=0`` by default. One row a storm, times in microseconds: columns of
    data/measured/README.md, and order (when among all), cpu_model, cpus (see `swaplib.template`),
    swap_device, governor, note (how the memory was not laid out as asked for). ValueError: what is missing.
    """
    import pandas as pd

    usual = vars(add_options(argparse.ArgumentParser()).parse_args([]))
    run(argparse.Namespace(**{**usual, **options, "out": str(out)}))
    return pd.read_csv(out)


def add_options(parser):
    """Add what can be measured to a parser."""

    def listed(kind):
        return lambda text: [kind(part) for part in text.split(",")]

    add = parser.add_argument
    add("--out", metavar="CSV", default="runs.csv", help="a new file (default: runs.csv)")
    add("--processes", type=listed(int), default=[1, 2, 4], metavar="N,N", help="at once (1,2,4)")
    add("--mb", type=listed(int), default=[64], metavar="MB,MB", help="memory of each (64)")
    add("--swap-share", type=listed(float), default=[1.0, 0.0], metavar="S,S", help="paged out (1,0)")
    add("--order", type=listed(str), default=["random", "runs16"], help="of page-out: " + ", ".join(ORDERS))
    reapers = "threads that call process_mrelease (0): --processes 1,2,4,8 --reapers 0,1,2, for instance"
    add("--reapers", type=listed(int), default=[0], metavar="N,N", help=reapers)
    add("--repetitions", type=int, default=5, metavar="N", help="of every cell (5)")
    add("--seed", type=int, default=0, help="of the orders (0)")
    return parser


def plan(options):
    """Return the cells of every repetition in interleaved random order, as (repetition, cell)."""
    refuse(set(options.order) - set(ORDERS), "order: expected some of " + ", ".join(ORDERS))
    shares, whole = options.swap_share, [*options.processes, *options.mb, options.repetitions]
    is_wrong = min(whole) < 1 or min(shares) < 0 or max(shares) > 1
    refuse(is_wrong, "processes, MB and repetitions are whole numbers from 1, shares from 0 to 1")
    refuse(min(options.reapers) < 0, "reapers are whole numbers from 0")
    refuse(min(options.reapers) > max(options.processes), "every reaper needs a process: fewer reapers")
    grid = itertools.product(options.processes, options.mb, shares, options.order, options.reapers)
    cells = [dict(zip(("procs", "mb", "swap_frac", "order", "reapers"), values)) for values in grid]
    cells = [cell for cell in cells if cell["reapers"] <= cell["procs"]]  # more would have nothing to do
    usual = options.order[0]  # of cells of which nothing is paged out
    cells = [cell for cell in cells if cell["swap_frac"] or cell["order"] == usual]
    orders = [random.Random(options.seed * 7919 + rep) for rep in range(1, options.repetitions + 1)]
    return [(rep, cell) for rep, order in enumerate(orders, 1) for cell in order.sample(cells, len(cells))]


def missing(rounds):
    """Say what this machine lacks for the cells, as sentences; empty when nothing is missing."""
    found = [] if sys.platform.startswith("linux") else ["only Linux can be measured"]
    if any(cell["reapers"] for _, cell in rounds) and release(-1) != errno.EBADF:
        found.append("process_mrelease is not there or not allowed: expected Linux 5.15 and no filter")
    free = memory_mib("MemAvailable"), memory_mib("SwapFree")
    for _, cell in rounds:
        need = cell["procs"] * cell["mb"] * 1.25 + 64, cell["procs"] * cell["mb"] * cell["swap_frac"]
        if need[1] and not memory_mib("SwapTotal"):
            found.append(NO_SWAP)
        elif free[0] < need[0] or free[1] < need[1]:
            told = "%d processes of %d MB" % (cell["procs"], cell["mb"])
            found.append("%s need %d MiB of memory and %d of swap; free are %d and %d" % (told, *need, *free))
    return list(dict.fromkeys(found))


def run(options):
    """Measure every cell of the plan and write one row after another; nothing that exists is overwritten."""
    rounds = plan(options)
    refuse(missing(rounds), "; ".join(missing(rounds)))
    refuse(os.path.exists(options.out), "%s exists; choose another name" % options.out)
    with open(options.out, "x") as file:
        print(COLUMNS.replace(" ", ","), file=file)
        for nth, (rep, cell) in enumerate(rounds, 1):
            row = dict(cell, **measure(cell, options.seed + rep), **about_machine())
            row.update(rep=rep, order=nth, layout_run=ORDERS[cell["order"]])
            cells = [round(v, 3) if isinstance(v, float) else v for v in map(row.get, COLUMNS.split())]
            print(",".join(str(v).replace(",", ";") for v in cells), file=file, flush=True)
            print(nth, "of", len(rounds), cell, row["note"], file=sys.stderr, flush=True)


def refuse(is_wrong, reason):
    if is_wrong:
        raise ProbeError(reason)


def read(path):
    """Return a small file's text; "" where there is none."""
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def memory_mib(field):
    return int((read("/proc/meminfo").partition(field + ":")[2].split() or [0])[0]) / 1024


def about_machine():
    """Return what every row says of the machine."""
    usable = sorted(os.sched_getaffinity(0))
    info = [line.partition(":") for line in read("/proc/cpuinfo").splitlines()]
    models = [value.strip() for name, _, value in info if name.strip() in ("model name", "Hardware", "Model")]
    swaps = " ".join(line.split()[0] for line in read("/proc/swaps").splitlines()[1:])
    about = {"kernel": os.uname().release, "smp": len(usable), "cpus": topology(usable), "swap_device": swaps}
    about.update(cpu_model=[*models, os.uname().machine][0], loadavg=os.getloadavg()[0])
    return dict(about, governor=read(CPU % usable[0] + "cpufreq/scaling_governor"))


def topology(usable):
    """Return groups of CPUs as count x capacity @ node / pod, 4x327@0/0 4x1024@0/0; a pod shares a cache."""
    cpus, nodes, pods = [], [], []
    for folder in (CPU % cpu for cpu in usable):
        names = os.listdir(folder) if os.path.isdir(folder) else []
        nodes.append(next((name for name in names if name.startswith("node")), "node0"))
        pods.append(read(folder + "cache/index3/shared_cpu_list") or nodes[-1])
        place = tuple(list(dict.fromkeys(those)).index(those[-1]) for those in (nodes, pods))
        cpus.append("%s@%d/%d" % (read(folder + "cpu_capacity") or "1024", *place))
    return " ".join("%dx%s" % (len(list(same)), cpu) for cpu, same in itertools.groupby(cpus))


def measure(cell, seed):
    """Run one storm and return what was measured, a dict by column."""
    children = []
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    try:
        for number in range(cell["procs"]):
            said = json.dumps(dict(cell, seed=seed * 1000 + number))
            command = [sys.executable, "-S", os.path.abspath(__file__), "--child", said]
            is_first = number <= cell["reapers"]  # of all that no reaper kills; they are one group
            group = 0 if is_first else children[cell["reapers"]].pid
            children.append(subprocess.Popen(command, process_group=group, **pipes))
        states = [json.loads(child.stdout.readline() or "null") for child in children]
        refuse(None in states, "a process ended too early: too little memory, or Linux before 5.4?")
        entries, present, runs, used_ns = zip(*states)
        swapped = sum(entries)
        target_mib = memory_mib("SwapFree") + 0.99 * swapped / PAGES_PER_MB if swapped else 0
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])  # it is waited for instead
        reapers = Reapers(children[: cell["reapers"]])
        with contextlib.suppress(OSError):  # where it is not allowed, it waits like others
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        begin = time.monotonic_ns()
        reapers.begin.set()
        for child in children[cell["reapers"] :][:1]:
            os.killpg(child.pid, signal.SIGKILL)
        times = {"kill_us": (time.monotonic_ns() - begin) / 1000}
        ends, cpu_us, times["swap_back99_us"] = reap(children, begin, target_mib)
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        for process in children:
            process.kill()  # nothing where it was reaped
            process.communicate()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    times.update(first_exit_us=ends[0], median_exit_us=ends[(len(ends) - 1) // 2], last_exit_us=ends[-1])
    cpu_us = max(0.0, cpu_us - sum(used_ns) / 1000)
    times.update(mean_exit_us=sum(ends) / len(ends), exit_cpu_us_sum=cpu_us)
    reapers.end()
    times.update(reaped=sum(reapers.reaped), reaper_cpu_us_sum=sum(reapers.cpu_us))
    runs = "" if "" in runs else sum(runs)
    times.update(swap_entries=swapped, rss_pages=sum(present), swap_runs=runs)
    return dict(times, note=doubts(cell, swapped, runs or 0))


class Reapers:
    """Threads that wait for the storm, and then each kill and reap one victim."""

    def __init__(self, victims):
        self.begin, self.reaped, self.cpu_us = threading.Event(), [], []
        self.pidfds = [os.pidfd_open(victim.pid) for victim in victims]
        self.threads = [threading.Thread(target=self.reap, args=[fd], daemon=True) for fd in self.pidfds]
        for thread in self.threads:
            thread.start()  # inherits the signals that are blocked

    def reap(self, pidfd):
        """Kill one and release its memory; note whether the kernel did, and the CPU time of that."""
        with contextlib.suppress(OSError):  # where it is not allowed, at nice 0
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -20)
        self.begin.wait()
        begin = time.thread_time_ns()
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        self.reaped.append(release(pidfd) == 0)
        self.cpu_us.append((time.thread_time_ns() - begin) / 1000)

    def end(self):
        """Wait until all have returned."""
        for thread in self.threads:
            thread.join()
        for pidfd in self.pidfds:
            os.close(pidfd)


def release(pidfd):
    """Call process_mrelease; return 0, or the number of its error."""
    return ctypes.get_errno() if libc().syscall(PROCESS_MRELEASE, pidfd, 0) else 0


@functools.cache
def libc():
    return ctypes.CDLL(None, use_errno=True)


def reap(children, begin, target_mib):
    """Wait for the killed and their swap; return times of the ends, CPU time, time until that was free."""
    left, ends, cpu_us = {child.pid: child for child in children}, [], 0.0
    free_mib, changed, swap_back = 0, begin, ""
    while left or (target_mib and not swap_back and time.monotonic_ns() - changed < QUIET_NS):
        signal.sigtimedwait([signal.SIGCHLD], 0.001)
        for pid in list(left):
            done, _, usage = os.wait4(pid, os.WNOHANG)
            if done:
                ends.append((time.monotonic_ns() - begin) / 1000)
                left.pop(pid).returncode = -signal.SIGKILL
                cpu_us += (usage.ru_utime + usage.ru_stime) * 1e6
        if target_mib and not swap_back:
            before, free_mib, now = free_mib, memory_mib("SwapFree"), time.monotonic_ns()
            changed = now if left or free_mib != before else changed
            swap_back = (now - begin) / 1000 if free_mib >= target_mib else ""
    return ends, cpu_us, swap_back


def doubts(cell, swapped, runs):
    """Say how the memory is not laid out as it was asked for; empty when it is, or when runs are hidden."""
    wanted = cell["procs"] * int(cell["mb"] * PAGES_PER_MB * cell["swap_frac"])
    if swapped < 0.95 * wanted:
        return "only %d of %d pages were paged out" % (swapped, wanted)
    low, high = RUNS[cell["order"]]
    return "runs of %.3g entries" % (swapped / runs) if runs and not low <= swapped / runs <= high else ""


def be_child(cell):
    """Be one process of the storm: fill, page out, report, wait for the end."""
    libc().prctl(1, int(signal.SIGKILL))  # PR_SET_PDEATHSIG: end with the parent
    pages = int(cell["mb"] * PAGES_PER_MB)
    memory = mmap.mmap(-1, pages * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for page in range(pages):
        memory[page * PAGE : page * PAGE + RANDOM_BYTES] = os.urandom(RANDOM_BYTES)
    for first, count in page_order(int(pages * cell["swap_frac"]), cell["order"], cell["seed"]):
        memory.madvise(MADV_PAGEOUT, first * PAGE, count * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    print(json.dumps([*look(address, pages), time.process_time_ns()]), flush=True)
    sys.stdin.readline()


def page_order(pages, order, seed):
    """Return the (first page, pages) in which memory is paged out, all of it once."""
    run = ORDERS[order] or max(1, pages)
    blocks = [(first, min(run, pages - first)) for first in range(0, pages, run)]
    random.Random(seed).shuffle(blocks)
    return blocks


def look(memory_address, pages):
    """Return (entries in swap, present pages, runs of consecutive slots or '' where they are hidden)."""
    with open("/proc/self/pagemap", "rb", buffering=0) as file:
        file.seek(memory_address // PAGE * 8)
        words = struct.unpack("<%dQ" % pages, file.read(pages * 8))
    slots = [word >> 5 & (1 << 50) - 1 if word >> 62 & 1 else None for word in words]
    swapped = [slot for slot in slots if slot is not None]
    runs = sum(s is not None and (b is None or s != b + 1) for b, s in zip([None, *slots], slots))
    return len(swapped), sum(word >> 63 for word in words), "" if swapped and not any(swapped) else runs


def main(arguments):
    if arguments[:1] == ["--child"]:
        return be_child(json.loads(arguments[1]))
    parser = add_options(argparse.ArgumentParser(description=__doc__.partition("\n")[0]))
    try:
        return run(parser.parse_args(arguments))
    except (ProbeError, OSError, KeyboardInterrupt) as error:
        return "probe: error: " + (str(error) or "interrupted")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
