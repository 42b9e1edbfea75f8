"""The probe: what it plans and refuses, that its core runs alone, and that it really measures."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import swaplib
from swaplib import cli
from swaplib.evidence import probe_core
from swaplib.evidence.probe import arguments_of

CORE = Path(probe_core.__file__)


def options(**changes):
    grid = {"processes": [1, 2], "mb": [8], "swap_share": [1.0, 0.0], "order": ["random", "runs16"]}
    grid |= {"content": ["compressible"], "page_kind": ["4k"], "how": "exit", "foreground": False}
    return Namespace(**grid | {"repetitions": 3, "seed": 0, "out": "runs.csv"} | changes)


def test_every_repetition_holds_every_cell_once_in_an_order_of_its_own():
    rounds = probe_core.plan(options())
    orders = [[json.dumps(cell) for rep, cell in rounds if rep == number] for number in (1, 2, 3)]
    assert len(orders[0]) == 6  # nothing is paged out in one order only
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(orders[2])
    assert orders[0] != orders[1] or orders[1] != orders[2]


@given(st.integers(0, 300), st.sampled_from(sorted(probe_core.ORDERS)), st.integers(0, 3))
def test_every_page_is_paged_out_once(pages, order, seed):
    blocks = probe_core.page_order(pages, order, seed)
    assert sorted(page for first, count in blocks for page in range(first, first + count)) == list(
        range(pages)
    )


def test_the_order_decides_the_runs():
    assert {count for _, count in probe_core.page_order(256, "runs16", 1)} == {16}
    assert probe_core.page_order(6, "even-odd", 0) == [(page, 1) for page in (0, 2, 4, 1, 3, 5)]
    assert probe_core.page_order(64, "random", 1) != probe_core.page_order(64, "random", 2)


def test_options_and_command_line_say_the_same():
    asked = options(foreground=True, how="munmap", processes=[1, 3])
    parser = probe_core.add_options(ArgumentParser())
    assert vars(parser.parse_args(arguments_of(asked))) == vars(asked)


@pytest.mark.parametrize(("layout", "note"), [("runs16", ""), ("random", "runs of 16 entries")])
def test_runs_that_are_not_what_was_asked_for_are_noted(layout, note):
    cell = {"procs": 2, "mb": 1, "swap_frac": 1.0, "order": layout}
    assert probe_core.doubts(cell, 512, 32) == note
    assert "only 12 of 512 pages" in probe_core.doubts(cell, 12, 0)


def test_slots_are_read_from_the_page_map(tmp_path, monkeypatch):
    def words(*slots):
        return b"".join(
            (1 << 62 | slot << 5 if slot is not None else 1 << 63).to_bytes(8, "little") for slot in slots
        )

    file = tmp_path / "pagemap"
    real = open
    monkeypatch.setattr(
        "builtins.open", lambda path, *a, **k: real(file if path == "/proc/self/pagemap" else path, *a, **k)
    )
    file.write_bytes(words(8, 9, None, 10, 20, 21))
    assert probe_core.look(0, 6) == (5, 1, 3)
    file.write_bytes(words(0, 0, None))
    assert probe_core.look(0, 3) == (2, 1, "")


def test_the_cpus_are_told_in_groups(tmp_path, monkeypatch):
    for cpu, (capacity, node) in enumerate([("327", 0), ("327", 0), ("1024", 1)]):
        (tmp_path / f"cpu{cpu}" / f"node{node}").mkdir(parents=True)
        (tmp_path / f"cpu{cpu}" / "cpu_capacity").write_text(capacity + "\n")
    monkeypatch.setattr(probe_core, "CPU", f"{tmp_path}/cpu%d/")
    assert probe_core.topology([0, 1, 2]) == "2x327@0/0 1x1024@1/1"


def folios(tmp_path, **sizes):
    for name, on in {"": sizes.pop("all", "madvise"), **sizes}.items():
        folder = tmp_path / name.replace("kib", "hugepages-") if name else tmp_path
        folder = folder.with_name(folder.name + "kB") if name else folder
        folder.mkdir(exist_ok=True)
        (folder / "enabled").write_text(f"always [{on}] never")


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({"kib64": "madvise", "kib2048": "never"}, ""),
        ({"kib64": "inherit", "kib2048": "never"}, ""),
        ({"kib64": "never", "kib2048": "never"}, "echo madvise > .*hugepages-64kB/enabled"),
        ({"kib64": "madvise", "kib2048": "inherit"}, "echo never > .*hugepages-2048kB/enabled"),
        ({}, "need Linux 6.8 or later"),
    ],
)
def test_folios_of_64_kib_are_refused_where_they_would_not_come(tmp_path, monkeypatch, sizes, says):
    folios(tmp_path, **sizes)
    monkeypatch.setattr(probe_core, "FOLIOS", f"{tmp_path}/")
    found = probe_core.folios_lacking({"swap_frac": 1.0, "order": "runs16"})
    assert len(found) == bool(says)
    assert re.search(says, "".join(found))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"processes": [0]}, "whole numbers from 1"),
        ({"mb": [0]}, "whole numbers from 1"),
        ({"swap_share": [1.5]}, "shares from 0 to 1"),
        ({"repetitions": 0}, "whole numbers from 1"),
        ({"order": ["backwards"]}, "order: expected some of random, even-odd"),
    ],
)
def test_an_impossible_plan_is_refused(changes, says):
    with pytest.raises(probe_core.ProbeError, match=says):
        probe_core.plan(options(**changes))


def memory(monkeypatch, kib, swap_kib):
    monkeypatch.setattr(probe_core, "memory_kib", lambda name: swap_kib if name.startswith("Swap") else kib)


def test_without_swap_it_says_which_four_lines_make_it_and_makes_none(capsys, monkeypatch):
    memory(monkeypatch, 1 << 30, 0)
    assert cli.main(["probe", "--dry-run", "--mb", "8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-4:]] == ["modprobe", "echo", "mkswap", "swapon"]
    memory(monkeypatch, 1 << 30, 1 << 30)
    assert cli.main(["probe", "--dry-run", "--mb", "8"]) == 0
    assert "nothing is missing" in capsys.readouterr().out


@pytest.mark.parametrize("swap_kib", [0, 1 << 20])
def test_more_memory_than_there_is_is_refused_before_anything_starts(monkeypatch, swap_kib):
    memory(monkeypatch, 1 << 24, swap_kib)
    missing = probe_core.missing(probe_core.plan(options(mb=[1 << 24], swap_share=[0.0])))
    assert len(missing) == 2  # one and two processes
    assert all("MiB of memory" in what for what in missing)


def test_too_little_swap_is_named(monkeypatch):
    memory(monkeypatch, 1 << 30, 8192)
    (missing,) = probe_core.missing(probe_core.plan(options()))
    assert "2 processes of 8 MB need 16 MiB of free swap and there are 8" in missing


def test_the_core_runs_alone_in_an_empty_folder(tmp_path):
    shutil.copy(CORE, tmp_path / "core.py")
    grid = "--processes 2 --mb 2 --swap-share 0 --order random --repetitions 1 --foreground"
    command = [sys.executable, "-I", "core.py", *grid.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    frame = swaplib.measured_cells(pd.read_csv(tmp_path / "runs.csv"))
    assert {"exit_cpu_ms", "last_exit_ms", "foreground_ms"} <= set(frame.metric)
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "runs.csv exists" in again.stderr


def test_the_library_call_measures_and_overwrites_nothing(tmp_path):
    out = tmp_path / "runs.csv"
    frame = swaplib.probe((1,), (2,), (0.0,), ("random",), repetitions=2, out=out)
    assert frame.rep.tolist() == [1, 2]
    assert (frame.rss_pages == 512).all()
    with pytest.raises(FileExistsError):
        swaplib.probe((1,), (2,), (0.0,), out=out)


@pytest.fixture
def zram_swap(require):
    """Make a zram device of its own the machine's swap, and take back this one, and no other, at the end."""
    require("zram", os.environ.get("SWAPLIB_TEST_ZRAM") == "1", "SWAPLIB_TEST_ZRAM is not 1")
    hot_add = Path("/sys/class/zram-control/hot_add")
    require("zram", os.geteuid() == 0 and hot_add.exists(), "root and zram's hot_add are needed")
    require("zram", not probe_core.memory_kib("SwapTotal"), "other swap is active")
    number = int(hot_add.read_text())
    device = f"/dev/zram{number}"
    try:
        Path(f"/sys/block/zram{number}/disksize").write_text("256M")
        subprocess.run(["mkswap", device], check=True, capture_output=True)
        subprocess.run(["swapon", device], check=True)
        yield device
    finally:
        if device in Path("/proc/swaps").read_text().split():
            subprocess.run(["swapoff", device], check=True)
        Path(f"/sys/block/zram{number}/reset").write_text("1")
        Path("/sys/class/zram-control/hot_remove").write_text(str(number))


def test_real_swap_is_measured_as_it_was_asked_for(zram_swap):
    frame = swaplib.probe((1, 2), (8,), (1.0,), ("random", "runs16"), repetitions=2)
    cost_ns = 1000 * frame.exit_cpu_us_sum / frame.swap_entries
    assert len(frame) == 8
    assert (frame.swap_entries >= 0.95 * 2048 * frame.procs).all()
    assert (frame[frame.layout_run == 16].swap_runs < frame[frame.layout_run == 1].swap_runs.min()).all()
    assert (frame.swap_device == zram_swap).all()
    assert frame.compressor.notna().all()
    assert cost_ns.between(20, 50_000).all()  # plausible on any machine, not a time to be met
    assert frame.swap_back99_us.notna().all()


def test_the_command_measures_into_a_file_and_ctrl_c_leaves_its_rows(zram_swap, tmp_path):
    code = "import sys; from swaplib.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "probe", "--mb", "8", "--repetitions", "200", "--out", "runs.csv"]
    pipe = subprocess.PIPE
    run = subprocess.Popen(command, cwd=tmp_path, stderr=pipe, text=True, start_new_session=True)
    assert run.stderr.readline().startswith("1 of ")
    os.killpg(run.pid, signal.SIGINT)
    run.communicate(timeout=60)
    assert len(pd.read_csv(tmp_path / "runs.csv")) >= 1
