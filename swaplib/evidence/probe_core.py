"""Measure exits with swapped-out memory on this machine: standard library only, so that the file can be copied alone.

    python3 probe_core.py --out runs.csv --processes 1,2,4 --mb 64

Every process is a fresh interpreter that maps, fills and pages out memory, waits, and is ended by SIGKILL (or unmaps at
a signal), all by one call. Times are CLOCK_MONOTONIC in microseconds since then; the measuring process waits at
real-time priority where it may. Nothing on the machine is changed. Columns: data/measured/README.md of swaplib.
"""

import argparse
import contextlib
import csv
import ctypes
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
RUNS = {
    "random": (1, 1.5),
    "even-odd": (1, 1.5),
    "runs16": (8, 24),
    "sequential": (64, 1e9),
}  # mean, as asked for
CONTENTS = {
    "compressible": 1100,
    "incompressible": PAGE,
    "same-filled": 0,
}  # random bytes of a page, 1100: about 28 %
KINDS = {"4k": 1, "64k": 16}
HASHED_MB, TOUCHED_MB = 4, 16  # the foreground: a fixed amount of hashing, then new memory
QUIET_NS = 1_000_000_000  # no swap space came back for so long after the last exit: no more will
NO_SWAP = (
    "there is no swap; as root, `swaplib probe --setup-zram 2G` takes a zram device for the time of the run"
)
FOLIOS = "/sys/kernel/mm/transparent_hugepage/"
CPU = "/sys/devices/system/cpu/cpu%d/"
CELL = ("procs", "mb", "swap_frac", "order", "content", "kind", "how", "fg")
COLUMNS = (
    *(
        "kernel",
        "smp",
        "accel",
        "folio_pages",
        "layout_run",
        "procs",
        "mb",
        "swap_frac",
        "rep",
        "fg",
        "swap_entries",
    ),
    *("rss_pages", "swap_runs", "kill_us", "first_exit_us", "median_exit_us", "mean_exit_us", "last_exit_us"),
    *("swap_back99_us", "fg_cpu_us", "fg_mem_us", "exit_cpu_us_sum", "loadavg", "how", "content", "order"),
    *("cpu_model", "cpus", "swap_device", "compressor", "governor", "note"),
)


class ProbeError(Exception):
    """Something is missing or was asked for wrongly; the message says what would be right."""


def refuse(is_wrong, reason):
    """Raise where something is wrong."""
    if is_wrong:
        raise ProbeError(reason)


def read(path, default=""):
    """Return the text of a small file, or the default where it cannot be read."""
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return default


def memory_kib(field):
    """Return a field of /proc/meminfo in KiB."""
    found = [line.split()[1] for line in read("/proc/meminfo").splitlines() if line.startswith(field + ":")]
    return int(found[0]) if found else 0


def chosen(text):
    """Return what stands in brackets, as in 'lzo [lzo-rle] lz4'."""
    return text.partition("[")[2].partition("]")[0]


def about_machine():
    """Return what every row says of the machine."""
    usable = sorted(os.sched_getaffinity(0))
    info = [line.partition(":") for line in read("/proc/cpuinfo").splitlines()]
    models = [value.strip() for name, _, value in info if name.strip() in ("model name", "Hardware", "Model")]
    models.append(read("/sys/firmware/devicetree/base/model").strip("\0") or os.uname().machine)
    swaps = [line.split()[0] for line in read("/proc/swaps").splitlines()[1:]]
    zram = [os.path.basename(swap) for swap in swaps if "zram" in swap]
    return {
        "kernel": os.uname().release,
        "smp": len(usable),
        "accel": "native",
        "cpu_model": models[0],
        "cpus": topology(usable),
        "swap_device": " ".join(swaps + ["zswap"] * (read("/sys/module/zswap/parameters/enabled") == "Y")),
        "compressor": chosen(read("/sys/block/%s/comp_algorithm" % zram[0])) if zram else "",
        "governor": read(CPU % usable[0] + "cpufreq/scaling_governor"),
    }


def topology(usable):
    """Return groups of CPUs as count x capacity @ node / pod, '4x327@0/0 4x1024@0/0'; a pod's CPUs share a cache."""
    listed = [os.listdir(CPU % cpu) if os.path.isdir(CPU % cpu) else [] for cpu in usable]
    nodes = [([name for name in names if name.startswith("node")] or ["node0"])[0] for names in listed]
    pods = [read(CPU % cpu + "cache/index3/shared_cpu_list") or node for cpu, node in zip(usable, nodes)]
    place = [
        (list(dict.fromkeys(nodes)).index(n), list(dict.fromkeys(pods)).index(p)) for n, p in zip(nodes, pods)
    ]
    capacity = [read(CPU % cpu + "cpu_capacity") or "1024" for cpu in usable]
    groups = itertools.groupby("%s@%d/%d" % (c, *where) for c, where in zip(capacity, place))
    return " ".join("%dx%s" % (len(list(same)), what) for what, same in groups)


def page_order(pages, order, seed):
    """Return the (first page, pages) in which memory is paged out, all of it once."""
    if order == "even-odd":
        return [(page, 1) for start in (0, 1) for page in range(start, pages, 2)]
    run = ORDERS[order] or max(1, pages)
    blocks = [(first, min(run, pages - first)) for first in range(0, pages, run)]
    random.Random(seed).shuffle(blocks)
    return blocks


def fill(memory, pages, content):
    """Write every page."""
    for page in range(pages):
        data = os.urandom(CONTENTS[content]) or b"\x11" * PAGE
        memory[page * PAGE : page * PAGE + len(data)] = data


def look(memory_address, pages):
    """Return (entries in swap, present pages, runs of consecutive slots or '' where the kernel hides them)."""
    with open("/proc/self/pagemap", "rb", buffering=0) as file:
        file.seek(memory_address // PAGE * 8)
        words = struct.unpack("<%dQ" % pages, file.read(pages * 8))
    slots = [word >> 5 & (1 << 50) - 1 if word >> 62 & 1 else None for word in words]
    swapped = [slot for slot in slots if slot is not None]
    runs = sum(s is not None and (b is None or s != b + 1) for b, s in zip([None, *slots], slots))
    return len(swapped), sum(word >> 63 for word in words), "" if swapped and not any(swapped) else runs


def end_with_parent(how):
    """Have the kernel send a signal when the parent dies (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, int(how))


def child(spec):
    """Be one process of the storm: fill, page out, report, join the others; unmap at a signal, or wait for SIGKILL."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    os.setpgid(0, 0)
    pages = int(spec["mb"] * PAGES_PER_MB)
    memory = mmap.mmap(-1, max(1, pages) * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if spec["kind"] == "64k":
        memory.madvise(MADV_HUGEPAGE)
    fill(memory, pages, spec["content"])
    for first, count in page_order(int(pages * spec["swap_frac"]), spec["order"], spec["seed"]):
        memory.madvise(MADV_PAGEOUT, first * PAGE, count * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    print(json.dumps([*look(address, pages), time.process_time_ns()]), flush=True)
    os.setpgid(0, int(sys.stdin.readline() or 0))
    print("ready", flush=True)
    if spec["how"] == "exit":
        sys.stdin.readline()
    signal.sigwait([signal.SIGUSR1])
    start, cpu = time.monotonic_ns(), time.process_time_ns()
    memory.close()
    print(json.dumps([start, time.monotonic_ns(), time.process_time_ns() - cpu]), flush=True)
    sys.stdin.readline()


def foreground():
    """Be the app that starts: hash, then touch new memory; report when each was done."""
    block = bytes(1 << 20)
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(HASHED_MB):
        hashlib.sha256(block).digest()
    hashed = time.monotonic_ns()
    memory = mmap.mmap(-1, TOUCHED_MB << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for page in range(0, TOUCHED_MB << 20, PAGE):
        memory[page] = 1
    print(json.dumps([hashed, time.monotonic_ns()]), flush=True)
    sys.stdin.readline()


def start(*arguments):
    """Start this file again in a fresh interpreter with pipes."""
    command = [sys.executable, "-S", os.path.abspath(__file__), *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def end(process):
    """Make sure that a process is gone and its pipes are closed."""
    process.kill()  # nothing where it was reaped
    process.communicate()


def lacking(cell):
    """Say what this machine lacks for a cell, as sentences."""
    need, swap = cell["procs"] * cell["mb"], memory_kib("SwapTotal")
    found = [] if swap or not cell["swap_frac"] else [NO_SWAP]
    room = [(need * 1.25 + 64, "memory", "MemAvailable"), (need * cell["swap_frac"], "free swap", "SwapFree")]
    for wanted_mib, what, field in room if swap else room[:1]:
        if memory_kib(field) < wanted_mib * 1024:
            of = (cell["procs"], cell["mb"], wanted_mib, what, memory_kib(field) // 1024)
            found.append(
                "%d processes of %d MB need %d MiB of %s and there are %d; take fewer or smaller ones" % of
            )
    return found + (folios_lacking(cell) if cell["kind"] == "64k" else [])


def folios_lacking(cell):
    """Say what keeps memory in folios of 64 KiB from being measured: they are off, or larger ones would come first."""
    if cell["swap_frac"] > 0 and ORDERS[cell["order"]] in (1, -2):
        return ["paging out single pages splits folios of 64 KiB; expected --order runs16 or sequential"]
    names = (
        [name for name in os.listdir(FOLIOS) if name.startswith("hugepages-")]
        if os.path.isdir(FOLIOS)
        else []
    )
    states = {int(name[10:-2]): chosen(read(FOLIOS + name + "/enabled")) for name in names}
    states = {
        kib: chosen(read(FOLIOS + "enabled")) if state == "inherit" else state
        for kib, state in states.items()
    }
    on = [kib for kib in sorted(states) if states[kib] in ("always", "madvise")]
    if 64 in on:
        larger = [FOLIOS + "hugepages-%dkB/enabled" % kib for kib in on if kib > 64]
        return ["larger folios would be taken; as root: echo never > " + switch for switch in larger]
    if 64 in states:
        return ["folios of 64 KiB are off; as root: echo madvise > %shugepages-64kB/enabled" % FOLIOS]
    return ["this kernel has no folios of 64 KiB; expected Linux 6.8 or later with transparent huge pages"]


def measure(cell, seed):
    """Run one storm and return what was measured, a dict by column."""
    refuse(lacking(cell), "; ".join(lacking(cell)))
    started = []
    try:
        for i in range(cell["procs"]):
            started.append(start("--child", json.dumps(dict(cell, seed=seed * 1000 + i))))
        children, front = started[:], []
        states = [json.loads(c.stdout.readline() or "null") for c in children]
        refuse(
            None in states, "a process ended before it was killed: too little memory, or a kernel before 5.4?"
        )
        for c in children:
            print(children[0].pid, file=c.stdin, flush=True)
            c.stdout.readline()
        if cell["fg"]:
            front = [start("--foreground-child")]
            started += front
            front[0].stdout.readline()
        before = memory_kib("SwapFree")
        with contextlib.suppress(OSError):  # where it is not allowed, it waits like others
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        for f in front:
            print(file=f.stdin, flush=True)
        times = (killed if cell["how"] == "exit" else unmapped)(children, states, before)
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        for f in front:
            done = json.loads(f.stdout.readline())
            times["fg_cpu_us"], times["fg_mem_us"] = ((t - times["start"]) / 1000 for t in done)
    finally:
        for process in started:
            end(process)
    swapped, runs = sum(state[0] for state in states), [state[2] for state in states]
    runs = "" if "" in runs else sum(runs)
    times.update(swap_entries=swapped, rss_pages=sum(state[1] for state in states), swap_runs=runs)
    return dict(times, note=doubts(cell, swapped, runs or 0), loadavg=os.getloadavg()[0])


def doubts(cell, swapped, runs):
    """Say in which way the memory is not laid out as it was asked for; empty when it is, or when runs are hidden."""
    wanted = cell["procs"] * int(cell["mb"] * PAGES_PER_MB * cell["swap_frac"])
    if swapped < 0.95 * wanted:
        return "only %d of %d pages were paged out" % (swapped, wanted)
    low, high = RUNS[cell["order"]]
    return "runs of %.3g entries" % (swapped / runs) if runs and not low <= swapped / runs <= high else ""


def killed(children, states, free):
    """Kill all children by one call and reap them; `free` KiB of swap are free before."""
    used = [int(read("/proc/%d/schedstat" % c.pid, "0").split()[0]) for c in children]
    left = {
        c.pid: (c, ns or state[3]) for c, ns, state in zip(children, used, states)
    }  # or what it told itself
    target = free + sum(state[0] for state in states) * 4 * 99 // 100
    ends, spent, swap_back = [], 0.0, "" if target == free else None
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])  # it is waited for instead
    begin = changed = time.monotonic_ns()
    os.killpg(children[0].pid, signal.SIGKILL)
    sent = time.monotonic_ns()
    while left or (swap_back is None and time.monotonic_ns() - changed < QUIET_NS):
        signal.sigtimedwait([signal.SIGCHLD], 0.001)
        for pid in list(left):
            done, _, usage = os.wait4(pid, os.WNOHANG)
            if done:
                ends.append((time.monotonic_ns() - begin) / 1000)
                process, before = left.pop(pid)
                process.returncode = -signal.SIGKILL
                spent += (usage.ru_utime + usage.ru_stime) * 1e6 - before / 1000
        if swap_back is None:
            now_free, now = memory_kib("SwapFree"), time.monotonic_ns()
            swap_back = (now - begin) / 1000 if now_free >= target else None
            free, changed = now_free, now if left or now_free != free else changed
    return spread(begin, sent, ends, spent, swap_back)


def unmapped(children, states, free):
    """Have all children unmap by one signal."""
    begin = time.monotonic_ns()
    os.killpg(children[0].pid, signal.SIGUSR1)
    sent = time.monotonic_ns()
    told = [json.loads(c.stdout.readline()) for c in children]
    ends = sorted((stop - begin) / 1000 for _, stop, _ in told)
    return spread(begin, sent, ends, sum(cpu for _, _, cpu in told) / 1000, "")


def spread(begin, sent, ends, spent, swap_back):
    """Return the times of a run by column; `ends` are in order."""
    times = {"first_exit_us": ends[0], "median_exit_us": ends[(len(ends) - 1) // 2], "last_exit_us": ends[-1]}
    times.update(start=begin, kill_us=(sent - begin) / 1000, mean_exit_us=sum(ends) / len(ends))
    return dict(times, exit_cpu_us_sum=max(0.0, spent), swap_back99_us=swap_back)


def plan(options):
    """Return the cells of every repetition in interleaved random order, as (repetition, cell)."""
    shares = options.swap_share
    wrong = (
        min(*options.processes, *options.mb, options.repetitions) < 1 or min(shares) < 0 or max(shares) > 1
    )
    refuse(wrong, "processes, MB and repetitions are whole numbers from 1, and shares lie between 0 and 1")
    choices = (
        options.processes,
        options.mb,
        options.swap_share,
        options.order,
        options.content,
        options.page_kind,
    )
    cells = []
    for values in itertools.product(*choices):
        cell = dict(zip(CELL, (*values, options.how, int(options.foreground))))
        if cell["swap_frac"] == 0:  # nothing is paged out in any order
            cell["order"] = options.order[0]
        if cell not in cells:
            cells.append(cell)
    orders = [random.Random(options.seed * 7919 + rep) for rep in range(1, options.repetitions + 1)]
    return [(rep, cell) for rep, order in enumerate(orders, 1) for cell in order.sample(cells, len(cells))]


def missing(rounds):
    """Say what keeps this machine from being measured; empty when nothing does."""
    if not sys.platform.startswith("linux"):
        return ["only Linux can be measured"]
    return list(dict.fromkeys(what for _, cell in rounds for what in lacking(cell)))


def run(options, say=lambda line: None):
    """Measure every cell of the plan and write one row after another; nothing that exists is overwritten."""
    rounds, exists = plan(options), os.path.exists(options.out)
    refuse(missing(rounds), "; ".join(missing(rounds)))
    refuse(exists and not options.append, "%s exists; choose another name, or --append" % options.out)
    refuse(
        exists and read(options.out).split("\n")[0] != ",".join(COLUMNS), options.out + " has other columns"
    )
    with open(options.out, "a" if exists else "x", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
        if not exists:
            writer.writeheader()
        for place, (rep, cell) in enumerate(rounds, 1):
            row = dict(about_machine(), **dict(cell, **measure(cell, options.seed + rep)))
            row.update(
                rep=rep, order=place, folio_pages=KINDS[cell["kind"]], layout_run=ORDERS[cell["order"]]
            )
            writer.writerow({name: round(v, 3) if isinstance(v, float) else v for name, v in row.items()})
            file.flush()
            os.fsync(file.fileno())
            say(
                "%d of %d: %s %s"
                % (place, len(rounds), " ".join(map("%s=%s".__mod__, cell.items())), row["note"])
            )


def listed(kind, known=None):
    """Return a parser of comma-separated values."""

    def parse(text):
        values = [kind(part) for part in text.split(",") if part]
        if not values or (known and not set(values) <= set(known)):
            raise argparse.ArgumentTypeError(
                "%r is not known; expected some of %s" % (text, ", ".join(known or ()))
            )
        return values

    return parse


def add_options(parser):
    """Add what can be measured to a parser."""
    parser.add_argument("--out", metavar="CSV", default="runs.csv", help="a new file (default: runs.csv)")
    parser.add_argument("--append", action="store_true", help="continue a file that exists")
    parser.add_argument(
        "--processes", type=listed(int), default=[1, 2, 4], metavar="N,N", help="at once (1,2,4)"
    )
    parser.add_argument("--mb", type=listed(int), default=[64], metavar="MB,MB", help="memory of each (64)")
    parser.add_argument(
        "--swap-share", type=listed(float), default=[1.0, 0.0], metavar="S,S", help="paged out (1,0)"
    )
    parser.add_argument(
        "--order", type=listed(str, ORDERS), default=["random", "runs16"], help=", ".join(ORDERS)
    )
    parser.add_argument(
        "--content", type=listed(str, CONTENTS), default=["compressible"], help=", ".join(CONTENTS)
    )
    parser.add_argument(
        "--page-kind", type=listed(str, KINDS), default=["4k"], metavar="K,K", help="4k or 64k"
    )
    parser.add_argument(
        "--how", choices=["exit", "munmap"], default="exit", help="killed, or unmapping (exit)"
    )
    parser.add_argument("--foreground", action="store_true", help="an app starts beside the exits")
    parser.add_argument("--repetitions", type=int, default=5, metavar="N", help="of every cell (5)")
    parser.add_argument("--seed", type=int, default=0, help="of the orders (0)")
    return parser


def main(arguments=None):
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments[:1] in (["--child"], ["--foreground-child"]):
        end_with_parent(signal.SIGKILL)
        return child(json.loads(arguments[1])) if arguments[1:] else foreground()
    if arguments[:1] == ["--end-with-parent"]:
        arguments.pop(0)
        end_with_parent(signal.SIGTERM)
    options = add_options(argparse.ArgumentParser(description=__doc__.partition("\n")[0])).parse_args(
        arguments
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        run(options, lambda line: print(line, file=sys.stderr))
    except (ProbeError, OSError) as error:
        print("probe: error: %s" % error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
