"""Measure exits with swapped-out memory on this machine: standard library only, so that the file can be copied alone.

    python3 probe_core.py --out runs.csv --processes 1,2,4 --mb 64

Every process is a fresh interpreter that maps, fills and pages out memory, waits, and is ended by SIGKILL (or unmaps on
command). Times are CLOCK_MONOTONIC in microseconds since the first kill. Nothing on the machine is changed; swap must
be there. The columns are those of data/measured/exit_storm_6.18_2cpu.csv, see data/README.md of swaplib.
"""

import argparse
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

PAGE = 4096
PAGES_PER_MB = 256
MADV_HUGEPAGE, MADV_PAGEOUT = 14, 21
ORDERS = {"random": 1, "even-odd": -2, "runs16": 16, "sequential": 0}
CONTENTS = ("compressible", "incompressible", "same-filled")
KINDS = {"4k": 1, "64k": 16}
RANDOM_BYTES = 1100  # of a compressible page; the rest is zeros, about 28 % of the page in all
HASHED_MB, TOUCHED_MB = 4, 16  # the foreground: a fixed amount of hashing, then new memory
MTHP = "/sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled"
CELL = ("procs", "mb", "swap_frac", "order", "content", "kind", "how", "fg")
COLUMNS = (
    *("kernel", "smp", "accel", "folio_pages", "layout_run", "procs", "mb", "swap_frac", "rep", "fg", "swap_entries"),
    *("rss_pages", "swap_runs", "kill_us", "first_exit_us", "median_exit_us", "mean_exit_us", "last_exit_us"),
    *("swap_back99_us", "fg_cpu_us", "fg_mem_us", "exit_cpu_us_sum", "loadavg", "how", "content", "order"),
    *("cpu_model", "swap_device", "compressor", "governor"),
)


class ProbeError(Exception):
    """Something is missing or was asked for wrongly; the message says what would be right."""


def read(path, default=""):
    """Return the text of a small file, or the default where it cannot be read."""
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return default


def memory_kib(field):
    """Return a field of /proc/meminfo in KiB."""
    for line in read("/proc/meminfo").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    return 0


def chosen(text):
    """Return what stands in brackets, as in 'lzo [lzo-rle] lz4'."""
    return text.partition("[")[2].partition("]")[0]


def about_machine():
    """Return what every row says of the machine."""
    models = [line.partition(":")[2].strip() for line in read("/proc/cpuinfo").splitlines() if "model name" in line]
    swaps = [line.split()[0] for line in read("/proc/swaps").splitlines()[1:]]
    zram = [os.path.basename(swap) for swap in swaps if "zram" in swap]
    return {
        "kernel": os.uname().release,
        "smp": os.cpu_count(),
        "accel": "native",
        "cpu_model": models[0] if models else os.uname().machine,
        "swap_device": " ".join(swaps),
        "compressor": chosen(read("/sys/block/%s/comp_algorithm" % zram[0])) if zram else "",
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    }


def page_order(pages, order, seed):
    """Return the (first page, pages) in which memory is paged out, all of it once."""
    if order == "sequential":
        return [(0, pages)]
    if order == "even-odd":
        return [(page, 1) for start in (0, 1) for page in range(start, pages, 2)]
    run = ORDERS[order]
    blocks = [(first, min(run, pages - first)) for first in range(0, pages, run)]
    random.Random(seed).shuffle(blocks)
    return blocks


def fill(memory, pages, content):
    """Write every page."""
    for page in range(pages):
        if content == "same-filled":
            data = b"\x11" * PAGE
        elif content == "incompressible":
            data = os.urandom(PAGE)
        else:
            data = os.urandom(RANDOM_BYTES)
        memory[page * PAGE : page * PAGE + len(data)] = data


def look(memory_address, pages):
    """Return (entries in swap, present pages, runs of consecutive slots or '' where the kernel hides them)."""
    with open("/proc/self/pagemap", "rb", buffering=0) as file:
        file.seek(memory_address // PAGE * 8)
        data = file.read(pages * 8)
    swapped = present = runs = 0
    before = hidden = None
    for (word,) in struct.iter_unpack("<Q", data):
        present += word >> 63
        slot = word >> 5 & (1 << 50) - 1 if word >> 62 & 1 else None
        if slot is not None:
            swapped += 1
            hidden = slot == 0 and hidden is not False
            runs += before is None or slot != before + 1
        before = slot
    return swapped, present, "" if hidden else runs


def child(spec):
    """Be one process of the storm: fill, page out, report, wait; unmap when told, else wait for SIGKILL."""
    pages = int(spec["mb"] * PAGES_PER_MB)
    swapped = int(pages * spec["swap_frac"])
    memory = mmap.mmap(-1, max(1, pages) * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if spec["kind"] == "64k":
        memory.madvise(MADV_HUGEPAGE)
    fill(memory, pages, spec["content"])
    for first, count in page_order(swapped, spec["order"], spec["seed"]):
        if count:
            memory.madvise(MADV_PAGEOUT, first * PAGE, count * PAGE)
    view = ctypes.c_char.from_buffer(memory)
    address = ctypes.addressof(view)
    del view
    print(json.dumps(look(address, pages)), flush=True)
    sys.stdin.readline()
    start = time.monotonic_ns()
    cpu = time.process_time_ns()
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


def check_room(cell):
    """Refuse a cell that does not fit into memory and swap."""
    need = cell["procs"] * cell["mb"]
    room = {"free swap": (need * cell["swap_frac"], "SwapFree"), "memory": (need * 1.25 + 64, "MemAvailable")}
    for what, (wanted_mib, field) in room.items():
        if memory_kib(field) < wanted_mib * 1024:
            raise ProbeError(
                "%d processes of %d MB need %d MiB of %s and there are %d; take fewer or smaller processes"
                % (cell["procs"], cell["mb"], wanted_mib, what, memory_kib(field) // 1024)
            )
    if cell["kind"] == "64k" and chosen(read(MTHP)) not in ("always", "inherit", "madvise"):
        raise ProbeError("64 KiB folios are off on this kernel; as root: echo madvise > %s" % MTHP)


def measure(cell, seed):
    """Run one storm and return what was measured, a dict by column."""
    check_room(cell)
    children, front = [], None
    try:
        for i in range(cell["procs"]):
            children.append(start("--child", json.dumps(dict(cell, seed=seed * 1000 + i))))
        states = [json.loads(c.stdout.readline() or "null") for c in children]
        if None in states:
            raise ProbeError("a process of the storm ended before it was killed: is there memory enough?")
        if cell["fg"]:
            front = start("--be-foreground")
            front.stdout.readline()
            tell(front)
        free_before = memory_kib("SwapFree")
        times = (killed if cell["how"] == "exit" else unmapped)(children, free_before, states)
        if front:
            done = json.loads(front.stdout.readline())
            times["fg_cpu_us"], times["fg_mem_us"] = ((t - times["start"]) / 1000 for t in done)
    finally:
        for process in [*children, *([front] if front else [])]:
            end(process)
    runs = [state[2] for state in states]
    return {
        **{name: value for name, value in times.items() if name != "start"},
        "swap_entries": sum(state[0] for state in states),
        "rss_pages": sum(state[1] for state in states),
        "swap_runs": "" if "" in runs else sum(runs),
        "loadavg": os.getloadavg()[0],
    }


def end(process):
    """Make sure that a process is gone and its pipes are closed."""
    if process.returncode is None:
        process.kill()
        process.wait()
    process.stdin.close()
    process.stdout.close()


def cpu_ns(pid):
    """Return the CPU time that a process has used."""
    return int(read("/proc/%d/schedstat" % pid, "0").split()[0])


def killed(children, free_before, states):
    """Kill all children at once and reap them."""
    before = [cpu_ns(c.pid) for c in children]
    begin = time.monotonic_ns()
    for c in children:
        os.kill(c.pid, signal.SIGKILL)
    sent = time.monotonic_ns()
    left = {c.pid: c for c in children}
    ends, spent, swap_back = [], 0.0, None
    entries = sum(state[0] for state in states)
    target = free_before + entries * 4 * 99 // 100
    while left or (entries and swap_back is None):
        for pid in list(left):
            done, _, usage = os.wait4(pid, os.WNOHANG)
            if done:
                ends.append((time.monotonic_ns() - begin) / 1000)
                spent += (usage.ru_utime + usage.ru_stime) * 1e6 - before[children.index(left[pid])] / 1000
                left.pop(pid).returncode = -signal.SIGKILL
        now = time.monotonic_ns() - begin
        if entries and swap_back is None and memory_kib("SwapFree") >= target:
            swap_back = now / 1000
        if not left and now > 20e9:
            break
        time.sleep(0.0001)
    return spread(begin, sent, ends, spent, swap_back)


def unmapped(children, free_before, states):
    """Tell all children at once to unmap."""
    begin = time.monotonic_ns()
    for c in children:
        tell(c)
    sent = time.monotonic_ns()
    told = [json.loads(c.stdout.readline()) for c in children]
    ends = [(stop - begin) / 1000 for _, stop, _ in told]
    return spread(begin, sent, ends, sum(cpu for _, _, cpu in told) / 1000, None)


def tell(process):
    process.stdin.write("\n")
    process.stdin.flush()


def spread(begin, sent, ends, spent, swap_back):
    """Return the times of a run by column."""
    ends = sorted(ends)
    return {
        "start": begin,
        "kill_us": (sent - begin) / 1000,
        "first_exit_us": ends[0],
        "median_exit_us": ends[(len(ends) - 1) // 2],
        "mean_exit_us": sum(ends) / len(ends),
        "last_exit_us": ends[-1],
        "exit_cpu_us_sum": max(0.0, spent),
        "swap_back99_us": "" if swap_back is None else swap_back,
    }


def plan(options):
    """Return the cells of every repetition in interleaved random order, as (repetition, cell)."""
    shares = options.swap_share
    if min(*options.processes, *options.mb, options.repetitions) < 1 or min(shares) < 0 or max(shares) > 1:
        raise ProbeError("processes, MB and repetitions are whole numbers from 1, and shares lie between 0 and 1")
    choices = (options.processes, options.mb, options.swap_share, options.order, options.content, options.page_kind)
    cells = []
    for values in itertools.product(*choices):
        cell = dict(zip(CELL, (*values, options.how, int(options.foreground))))
        if cell["swap_frac"] == 0:  # nothing is paged out in any order
            cell["order"] = options.order[0]
        if cell not in cells:
            cells.append(cell)
    rounds = []
    for rep in range(1, options.repetitions + 1):
        shuffled = list(cells)
        random.Random(options.seed * 7919 + rep).shuffle(shuffled)
        rounds += [(rep, cell) for cell in shuffled]
    return rounds


def missing(rounds):
    """Say what keeps this machine from being measured; empty when nothing does."""
    found = []
    if not sys.platform.startswith("linux"):
        return ["only Linux can be measured"]
    if any(cell["swap_frac"] > 0 for _, cell in rounds) and not memory_kib("SwapTotal"):
        found.append("there is no swap; as root, swaplib probe --setup-zram 2G takes a zram device for this run only")
    for _, cell in rounds:
        try:
            check_room(cell)
        except ProbeError as error:
            if str(error) not in found and memory_kib("SwapTotal"):
                found.append(str(error))
    return found


def run(options, say=lambda line: None):
    """Measure every cell of the plan and write one row after another; nothing that exists is overwritten."""
    rounds = plan(options)
    lacks = missing(rounds)
    if lacks:
        raise ProbeError("; ".join(lacks))
    machine = about_machine()
    exists = os.path.exists(options.out)
    if exists and not options.append:
        raise ProbeError("%s exists; choose another name, or --append" % options.out)
    with open(options.out, "a" if exists else "x", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        if not exists:
            writer.writeheader()
        for place, (rep, cell) in enumerate(rounds, 1):
            row = dict(machine, **measure(cell, options.seed + rep))
            row.update({name: cell[name] for name in ("procs", "mb", "swap_frac", "how", "content", "fg")})
            row.update(rep=rep, order=place, folio_pages=KINDS[cell["kind"]], layout_run=ORDERS[cell["order"]])
            writer.writerow({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()})
            file.flush()
            os.fsync(file.fileno())
            say("%d of %d: %s" % (place, len(rounds), " ".join("%s=%s" % item for item in cell.items())))


def listed(kind, known=None):
    """Return a parser of comma-separated values."""

    def parse(text):
        values = [kind(part) for part in text.split(",") if part]
        if not values or (known and not set(values) <= set(known)):
            raise argparse.ArgumentTypeError("%r is not known; expected some of %s" % (text, ", ".join(known or ())))
        return values

    return parse


def add_options(parser):
    """Add what can be measured to a parser."""
    parser.add_argument("--out", metavar="CSV", default="runs.csv", help="a new file (default: runs.csv)")
    parser.add_argument("--append", action="store_true", help="continue a file that exists")
    parser.add_argument("--processes", type=listed(int), default=[1, 2, 4], metavar="N,N", help="at once (1,2,4)")
    parser.add_argument("--mb", type=listed(int), default=[64], metavar="MB,MB", help="memory of each (64)")
    parser.add_argument("--swap-share", type=listed(float), default=[1.0, 0.0], metavar="S,S", help="paged out (1,0)")
    orders = ", ".join(ORDERS)
    parser.add_argument("--order", type=listed(str, ORDERS), default=["random", "runs16"], metavar="O,O", help=orders)
    parser.add_argument("--content", type=listed(str, CONTENTS), default=["compressible"], help=", ".join(CONTENTS))
    parser.add_argument("--page-kind", type=listed(str, KINDS), default=["4k"], metavar="K,K", help="4k or 64k")
    parser.add_argument("--how", choices=["exit", "munmap"], default="exit", help="killed, or unmapping (exit)")
    parser.add_argument("--foreground", action="store_true", help="an app starts beside the exits")
    parser.add_argument("--repetitions", type=int, default=5, metavar="N", help="of every cell (5)")
    parser.add_argument("--seed", type=int, default=0, help="of the orders (0)")
    return parser


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["--child"]:
        return child(json.loads(arguments[1]))
    if arguments == ["--be-foreground"]:
        return foreground()
    options = add_options(argparse.ArgumentParser(description=__doc__.partition("\n")[0])).parse_args(arguments)
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
