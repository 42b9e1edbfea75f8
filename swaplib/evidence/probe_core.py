"""Measure exits with swapped-out memory on this machine: standard library only, to be copied alone.

Every process is a fresh interpreter that maps, fills and pages out memory, waits, and is ended by SIGKILL (or
unmaps at a signal), all by one call. Times are microseconds since then. Columns: data/measured/README.md.
"""

import argparse
import contextlib
import csv
import ctypes
import functools
import hashlib
import itertools
import json
import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import time

PAGE, PAGES_PER_MB, MADV_HUGEPAGE, MADV_PAGEOUT = 4096, 256, 14, 21
ORDERS = {"random": 1, "even-odd": -2, "runs16": 16, "sequential": 0}
RUNS = {1: (1, 1.5), -2: (1, 1.5), 16: (8, 24), 0: (64, 1e9)}  # mean entries of a run, if as asked for
CONTENTS = {"compressible": 1100, "incompressible": PAGE, "same-filled": 0}  # random bytes; 1100: to 28 %
KINDS = {"4k": 1, "64k": 16}
GRID = ("processes", "mb", "swap_share", "order", "content", "page_kind")
CELL = ("procs", "mb", "swap_frac", "order", "content", "kind", "how", "fg")
HASHED_MB, TOUCHED_MB = 4, 16  # the foreground: a fixed amount of hashing, then new memory
QUIET_NS = 1_000_000_000  # no swap space came back for so long after the last exit: no more will
NO_SWAP = """there is no swap; these lines, as root, make one of 2 GiB on zram until the next boot:
modprobe zram
echo 2G > /sys/block/zram0/disksize
mkswap /dev/zram0
swapon /dev/zram0"""
FOLIOS = "/sys/kernel/mm/transparent_hugepage/"
CPU = "/sys/devices/system/cpu/cpu%d/"
COLUMNS = (
    "kernel smp accel folio_pages layout_run procs mb swap_frac rep fg swap_entries rss_pages swap_runs "
    "kill_us first_exit_us median_exit_us mean_exit_us last_exit_us swap_back99_us fg_cpu_us fg_mem_us "
    "exit_cpu_us_sum loadavg how content order cpu_model cpus swap_device compressor governor note"
)
CHILD = [sys.executable, "-S", os.path.abspath(__file__), "--child"]  # a fresh interpreter
PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}


class ProbeError(Exception):
    """Something is missing or was asked for wrongly; the message says what would be right."""


def add_options(parser):
    """Add what can be measured to a parser."""
    add = parser.add_argument
    add("--out", metavar="CSV", default="runs.csv", help="a new file (default: runs.csv)")
    add("--processes", type=listed(int), default=[1, 2, 4], metavar="N,N", help="at once (1,2,4)")
    add("--mb", type=listed(int), default=[64], metavar="MB,MB", help="memory of each (64)")
    add("--swap-share", type=listed(float), default=[1.0, 0.0], metavar="S,S", help="paged out (1,0)")
    add("--order", type=listed(str), default=["random", "runs16"], help=", ".join(ORDERS))
    add("--content", type=listed(str), default=["compressible"], help=", ".join(CONTENTS))
    add("--page-kind", type=listed(str), default=["4k"], metavar="K,K", help="4k or 64k")
    add("--how", choices=["exit", "munmap"], default="exit", help="killed, or unmapping (exit)")
    add("--foreground", action="store_true", help="an app starts beside the exits")
    add("--repetitions", type=int, default=5, metavar="N", help="of every cell (5)")
    add("--seed", type=int, default=0, help="of the orders (0)")
    return parser


def listed(kind):
    return lambda text: [kind(part) for part in text.split(",")]


def plan(options):
    """Return the cells of every repetition in interleaved random order, as (repetition, cell)."""
    for name, known in (("order", ORDERS), ("content", CONTENTS), ("page_kind", KINDS)):
        refuse(set(getattr(options, name)) - set(known), "%s: expected some of %s" % (name, ", ".join(known)))
    shares, whole = options.swap_share, [*options.processes, *options.mb, options.repetitions]
    is_wrong = min(whole) < 1 or min(shares) < 0 or max(shares) > 1
    refuse(is_wrong, "processes, MB and repetitions are whole numbers from 1, shares from 0 to 1")
    cells = []
    for values in itertools.product(*[getattr(options, name) for name in GRID]):
        cell = dict(zip(CELL, (*values, options.how, int(options.foreground))))
        if cell["swap_frac"] == 0:  # nothing is paged out in any order
            cell["order"] = options.order[0]
        if cell not in cells:
            cells.append(cell)
    orders = [random.Random(options.seed * 7919 + rep) for rep in range(1, options.repetitions + 1)]
    return [(rep, cell) for rep, order in enumerate(orders, 1) for cell in order.sample(cells, len(cells))]


def missing(rounds):
    """Say what this machine lacks for the cells, as sentences; empty when nothing is missing."""
    found = [] if sys.platform.startswith("linux") else ["only Linux can be measured"]
    has_swap = memory_kib("SwapTotal") > 0
    for _, cell in rounds:
        mb, share = cell["procs"] * cell["mb"], cell["swap_frac"]
        rooms = [("memory", "MemAvailable", mb * 1.25 + 64), ("free swap", "SwapFree", mb * share * has_swap)]
        for what, field, need_mib in rooms:
            if memory_kib(field) < need_mib * 1024:
                of = (cell["procs"], cell["mb"], need_mib, what, memory_kib(field) // 1024)
                found.append("%d processes of %d MB need %d MiB of %s and there are %d; take fewer" % of)
        found += [NO_SWAP] if share and not has_swap else []
        found += folios_lacking(cell) if cell["kind"] == "64k" else []
    return list(dict.fromkeys(found))


def run(options):
    """Measure every cell of the plan and write one row after another; nothing that exists is overwritten."""
    rounds = plan(options)
    refuse(missing(rounds), "; ".join(missing(rounds)))
    refuse(os.path.exists(options.out), "%s exists; choose another name" % options.out)
    with open(options.out, "x", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS.split(), restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for nth, (rep, cell) in enumerate(rounds, 1):
            row = dict(cell, **measure(cell, options.seed + rep), **about_machine())
            row.update(rep=rep, order=nth, folio_pages=KINDS[cell["kind"]], layout_run=ORDERS[cell["order"]])
            writer.writerow({name: round(v, 3) if isinstance(v, float) else v for name, v in row.items()})
            file.flush()
            print(nth, "of", len(rounds), cell, row["note"], file=sys.stderr, flush=True)


def refuse(is_wrong, reason):
    if is_wrong:
        raise ProbeError(reason)


def read(path, chosen=False):
    """Return a small file's text, or what it has in brackets, as 'lzo [lzo-rle]'; "" where there is none."""
    try:
        with open(path) as file:
            text = file.read().strip()
    except OSError:
        return ""
    return text.partition("[")[2].partition("]")[0] if chosen else text


def memory_kib(field):
    return int((read("/proc/meminfo").partition(field + ":")[2].split() or [0])[0])


def about_machine():
    """Return what every row says of the machine."""
    usable = sorted(os.sched_getaffinity(0))
    about = {"kernel": os.uname().release, "smp": len(usable), "accel": "native", "cpus": topology(usable)}
    info = [line.partition(":") for line in read("/proc/cpuinfo").splitlines()]
    models = [value.strip() for name, _, value in info if name.strip() in ("model name", "Hardware", "Model")]
    models.append(read("/sys/firmware/devicetree/base/model").strip("\0") or os.uname().machine)
    swaps = [line.split()[0] for line in read("/proc/swaps").splitlines()[1:]]
    zram = [read("/sys/block/%s/comp_algorithm" % swap[5:], chosen=True) for swap in swaps if "zram" in swap]
    swaps += ["zswap"] * (read("/sys/module/zswap/parameters/enabled") == "Y")
    about.update(cpu_model=models[0], swap_device=" ".join(swaps), compressor="".join(zram[:1]))
    governor = read(CPU % usable[0] + "cpufreq/scaling_governor")
    return dict(about, governor=governor, loadavg=os.getloadavg()[0])


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


def folios_lacking(cell):
    """Say what keeps memory from coming in folios of 64 KiB and in no larger ones."""
    if cell["swap_frac"] > 0 and ORDERS[cell["order"]] in (1, -2):
        return ["paging out single pages splits folios of 64 KiB; expected --order runs16 or sequential"]
    found = []
    for kib in (64 << power for power in range(10)):
        switch = FOLIOS + "hugepages-%dkB/enabled" % kib
        state = read(switch, chosen=True).replace("inherit", read(FOLIOS + "enabled", chosen=True))
        if (state in ("", "never")) == (kib == 64):
            change = "echo %s > %s" % ("madvise" if kib == 64 else "never", switch)
            found.append("folios of 64 KiB alone need Linux 6.8 or later and, as root: " + change)
    return found


def measure(cell, seed):
    """Run one storm and return what was measured, a dict by column."""
    refuse(missing([(0, cell)]), "; ".join(missing([(0, cell)])))
    children, front = [], []
    try:
        for number in range(cell["procs"]):
            command = [*CHILD, json.dumps(dict(cell, seed=seed * 1000 + number))]
            join = functools.partial(os.setpgid, 0, children[0].pid if children else 0)  # one group for all
            children.append(subprocess.Popen(command, preexec_fn=join, **PIPES))
        states = [json.loads(child.stdout.readline() or "null") for child in children]
        refuse(None in states, "a process ended too early: too little memory, or Linux before 5.4?")
        entries, present, runs, _ = zip(*states)
        if cell["fg"]:
            front.append(subprocess.Popen(CHILD, **PIPES))
            front[0].stdout.readline()
        free_kib = memory_kib("SwapFree")
        used = [read("/proc/%d/schedstat" % child.pid) for child in children]
        used_ns = sum(int((cpu or "0").split()[0]) or state[3] for cpu, state in zip(used, states))
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])  # it is waited for instead
        with contextlib.suppress(OSError):  # where it is not allowed, it waits like others
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        for app in front:
            print(file=app.stdin, flush=True)
        begin = time.monotonic_ns()
        os.killpg(children[0].pid, signal.SIGKILL if cell["how"] == "exit" else signal.SIGUSR1)
        times = {"kill_us": (time.monotonic_ns() - begin) / 1000}
        if cell["how"] == "exit":
            ends, cpu_us, times["swap_back99_us"] = reap(children, begin, free_kib, sum(entries) * 4)
            times["exit_cpu_us_sum"] = max(0.0, cpu_us - used_ns / 1000)
        else:
            told = [json.loads(child.stdout.readline()) for child in children]
            ends = sorted((end_ns - begin) / 1000 for end_ns, _ in told)
            times["exit_cpu_us_sum"] = sum(cpu_ns for _, cpu_ns in told) / 1000
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        done = json.loads(front[0].stdout.readline()) if front else []
    finally:
        for process in children + front:
            process.kill()  # nothing where it was reaped
            process.communicate()
    runs = "" if "" in runs else sum(runs)
    times.update(zip(("fg_cpu_us", "fg_mem_us"), ((time_ns - begin) / 1000 for time_ns in done)))
    times.update(first_exit_us=ends[0], median_exit_us=ends[(len(ends) - 1) // 2], last_exit_us=ends[-1])
    times.update(mean_exit_us=sum(ends) / len(ends), swap_entries=sum(entries), rss_pages=sum(present))
    return dict(times, swap_runs=runs, note=doubts(cell, sum(entries), runs or 0))


def reap(children, begin, free_kib, swapped_kib):
    """Wait for the killed and their swap; return times of the ends, CPU time, time until 99 % came back."""
    left, ends, cpu_us = {child.pid: child for child in children}, [], 0.0
    target_kib = free_kib + swapped_kib * 99 // 100
    swap_back, changed = None if swapped_kib else "", begin
    while left or (swap_back is None and time.monotonic_ns() - changed < QUIET_NS):
        signal.sigtimedwait([signal.SIGCHLD], 0.001)
        for pid in list(left):
            done, _, usage = os.wait4(pid, os.WNOHANG)
            if done:
                ends.append((time.monotonic_ns() - begin) / 1000)
                left.pop(pid).returncode = -signal.SIGKILL
                cpu_us += (usage.ru_utime + usage.ru_stime) * 1e6
        if swap_back is None:
            now_kib, now = memory_kib("SwapFree"), time.monotonic_ns()
            swap_back = (now - begin) / 1000 if now_kib >= target_kib else None
            free_kib, changed = now_kib, now if left or now_kib != free_kib else changed
    return ends, cpu_us, swap_back


def doubts(cell, swapped, runs):
    """Say how the memory is not laid out as it was asked for; empty when it is, or when runs are hidden."""
    wanted = cell["procs"] * int(cell["mb"] * PAGES_PER_MB * cell["swap_frac"])
    if swapped < 0.95 * wanted:
        return "only %d of %d pages were paged out" % (swapped, wanted)
    low, high = RUNS[ORDERS[cell["order"]]]
    return "runs of %.3g entries" % (swapped / runs) if runs and not low <= swapped / runs <= high else ""


def be_child(cell):
    """Be one process of the storm: fill, page out, report, wait; unmap at a signal."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    pages = int(cell["mb"] * PAGES_PER_MB)
    memory = mmap.mmap(-1, max(1, pages) * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if cell["kind"] == "64k":
        memory.madvise(MADV_HUGEPAGE)
    for page in range(pages):
        data = os.urandom(CONTENTS[cell["content"]]) or b"\x11" * PAGE
        memory[page * PAGE : page * PAGE + len(data)] = data
    for first, count in page_order(int(pages * cell["swap_frac"]), cell["order"], cell["seed"]):
        memory.madvise(MADV_PAGEOUT, first * PAGE, count * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    print(json.dumps([*look(address, pages), time.process_time_ns()]), flush=True)
    signal.sigwait([signal.SIGUSR1])
    before_ns = time.process_time_ns()
    memory.close()
    print(json.dumps([time.monotonic_ns(), time.process_time_ns() - before_ns]), flush=True)
    sys.stdin.readline()


def page_order(pages, order, seed):
    """Return the (first page, pages) in which memory is paged out, all of it once."""
    if order == "even-odd":
        return [(page, 1) for page in (*range(0, pages, 2), *range(1, pages, 2))]
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


def be_foreground():
    """Be the app that starts: hash, then touch new memory; report when each was done."""
    block = b"\0" * (HASHED_MB << 20)
    print("ready", flush=True)
    sys.stdin.readline()
    hashlib.sha256(block).digest()
    hashed_ns = time.monotonic_ns()
    memory = mmap.mmap(-1, TOUCHED_MB << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for page in range(0, TOUCHED_MB << 20, PAGE):
        memory[page] = 1
    print(json.dumps([hashed_ns, time.monotonic_ns()]), flush=True)
    sys.stdin.readline()


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["--child"]:
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))  # PR_SET_PDEATHSIG: end with the parent
        return be_child(json.loads(arguments[1])) if arguments[1:] else be_foreground()
    parser = add_options(argparse.ArgumentParser(description=__doc__.partition("\n")[0]))
    try:
        run(parser.parse_args(arguments))
    except (ProbeError, OSError, KeyboardInterrupt) as error:
        print("probe: error:", str(error) or "interrupted", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
