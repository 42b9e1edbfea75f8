"""The probe: what it plans and refuses, that its core runs alone, and that it really measures."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import swaplib
from swaplib import cli
from swaplib.evidence import probe_core


def options(**changes):
    grid = {"processes": [1, 2], "mb": [8], "swap_share": [1.0, 0.0], "order": ["random", "runs16"]}
    grid["reapers"] = [0]
    return Namespace(**grid | {"repetitions": 3, "seed": 0, "out": "runs.csv"} | changes)


def test_every_repetition_holds_every_cell_once_in_an_order_of_its_own():
    rounds = probe_core.plan(options())
    orders = [[json.dumps(cell) for rep, cell in rounds if rep == number] for number in (1, 2, 3)]
    assert len(orders[0]) == 6  # nothing is paged out in one order only
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(orders[2])
    assert orders[0] != orders[1] or orders[1] != orders[2]


def test_a_reaper_without_a_process_of_its_own_is_not_measured():
    cells = [cell for _, cell in probe_core.plan(options(reapers=[0, 1, 2], swap_share=[1.0]))]
    assert {(cell["procs"], cell["reapers"]) for cell in cells} == {(1, 0), (1, 1), (2, 0), (2, 1), (2, 2)}


@given(st.integers(0, 300), st.sampled_from(sorted(probe_core.ORDERS)), st.integers(0, 3))
def test_every_page_is_paged_out_once(pages, order, seed):
    blocks = probe_core.page_order(pages, order, seed)
    found = [page for first, count in blocks for page in range(first, first + count)]
    assert sorted(found) == list(range(pages))


@pytest.mark.parametrize(("layout", "note"), [("runs16", ""), ("random", "runs of 16 entries")])
def test_runs_that_are_not_what_was_asked_for_are_noted(layout, note):
    cell = {"procs": 2, "mb": 1, "swap_frac": 1.0, "order": layout}
    assert probe_core.doubts(cell, 512, 32) == note
    assert "only 12 of 512 pages" in probe_core.doubts(cell, 12, 0)


def test_the_cpus_are_told_in_groups(tmp_path, monkeypatch):
    for cpu, (capacity, node) in enumerate([("327", 0), ("327", 0), ("1024", 1)]):
        (tmp_path / f"cpu{cpu}" / f"node{node}").mkdir(parents=True)
        (tmp_path / f"cpu{cpu}" / "cpu_capacity").write_text(capacity + "\n")
    monkeypatch.setattr(probe_core, "CPU", f"{tmp_path}/cpu%d/")
    assert probe_core.topology([0, 1, 2]) == "2x327@0/0 1x1024@1/1"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mb": [0]}, "whole numbers from 1"),
        ({"swap_share": [1.5]}, "shares from 0 to 1"),
        ({"repetitions": 0}, "whole numbers from 1"),
        ({"reapers": [-1]}, "reapers are whole numbers from 0"),
        ({"reapers": [3]}, "every reaper needs a process"),
        ({"order": ["backwards"]}, "order: expected some of random, runs16"),
    ],
)
def test_an_impossible_plan_is_refused(changes, says):
    with pytest.raises(probe_core.ProbeError, match=says):
        probe_core.plan(options(**changes))


def memory(monkeypatch, mib, swap_mib):
    monkeypatch.setattr(probe_core, "memory_mib", lambda name: swap_mib if name.startswith("Swap") else mib)


def test_without_swap_it_says_which_four_lines_make_it_and_makes_none(capsys, monkeypatch):
    memory(monkeypatch, 1 << 20, 0)
    assert cli.main(["probe", "--dry-run", "--mb", "8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-4:]] == ["modprobe", "echo", "mkswap", "swapon"]
    memory(monkeypatch, 1 << 20, 1 << 20)
    assert cli.main(["probe", "--dry-run", "--mb", "8"]) == 0
    assert "nothing is missing" in capsys.readouterr().out


@pytest.mark.parametrize(("mib", "swap_mib"), [(80, 1024), (1024, 8)])
def test_too_little_memory_or_swap_is_refused_before_anything_starts(monkeypatch, mib, swap_mib):
    memory(monkeypatch, mib, swap_mib)
    says = f"2 processes of 8 MB need 84 MiB of memory and 16 of swap; free are {mib} and {swap_mib}"
    with pytest.raises(probe_core.ProbeError, match=says):
        probe_core.run(options())


def test_a_kernel_without_process_mrelease_is_told_in_one_sentence(monkeypatch):
    memory(monkeypatch, 1 << 20, 1 << 20)
    monkeypatch.setattr(probe_core, "release", lambda pidfd: errno.ENOSYS)
    with pytest.raises(probe_core.ProbeError, match="process_mrelease is not there or not allowed"):
        probe_core.run(options(reapers=[0, 1]))


def test_the_core_runs_alone_in_an_empty_folder(tmp_path):
    shutil.copy(probe_core.__file__, tmp_path / "core.py")
    grid = "--processes 2 --mb 2 --swap-share 0 --order random --repetitions 1"
    command = [sys.executable, "-I", "core.py", *grid.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    frame = swaplib.measured_cells(pd.read_csv(tmp_path / "runs.csv"))
    assert {"exit_cpu_ms", "last_exit_ms"} <= set(frame.metric)
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "runs.csv exists" in again.stderr


def test_the_library_call_measures_and_overwrites_nothing(tmp_path):
    asked = {"out": tmp_path / "runs.csv", "processes": [1], "mb": [2], "swap_share": [0.0], "repetitions": 2}
    asked["reapers"] = [1]
    frame = swaplib.probe(**asked)
    assert (frame.rep.tolist(), set(frame.rss_pages)) == ([1, 2], {512})
    assert frame.reaped.isin([0, 1]).all()
    assert (frame.reaper_cpu_us_sum > 0).all()
    with pytest.raises(ValueError, match="exists; choose another name"):
        swaplib.probe(**asked)


def test_ctrl_c_ends_the_probe_with_its_processes_and_leaves_its_rows(tmp_path):
    grid = "probe --processes 2 --mb 2 --swap-share 0 --repetitions 9999 --out runs.csv"
    code = "import sys; from swaplib.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *grid.split()]
    run = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert run.stderr.readline().startswith("1 of ")
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert (run.returncode, said.splitlines()[-1]) == (130, "swaplib: interrupted")
    assert len(pd.read_csv(tmp_path / "runs.csv")) >= 1
    command = ["ps", "-o", "args=", "-s", str(run.pid)]
    for _ in range(100):  # one that had only begun ends by itself
        left = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        if "--child" in left:
            time.sleep(0.1)
    assert "--child" not in left


@pytest.fixture
def zram_swap(require):
    """Make a zram device of its own the machine's swap, and take back this one, and no other, at the end."""
    require("zram", os.environ.get("SWAPLIB_TEST_ZRAM") == "1", "SWAPLIB_TEST_ZRAM is not 1")
    hot_add = Path("/sys/class/zram-control/hot_add")
    require("zram", os.geteuid() == 0 and hot_add.exists(), "root and zram's hot_add are needed")
    require("zram", not probe_core.memory_mib("SwapTotal"), "other swap is active")
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


def test_real_swap_is_measured_as_it_was_asked_for(zram_swap, tmp_path):
    asked = {"processes": [1, 2], "mb": [8], "swap_share": [1.0], "repetitions": 2}
    frame = swaplib.probe(tmp_path / "runs.csv", **asked)
    cost_ns = 1000 * frame.exit_cpu_us_sum / frame.swap_entries
    assert len(frame) == 8
    assert (frame.swap_entries >= 0.95 * 2048 * frame.procs).all()
    assert (frame[frame.layout_run == 16].swap_runs < frame[frame.layout_run == 1].swap_runs.min()).all()
    assert (frame.swap_device == zram_swap).all()
    assert cost_ns.between(20, 50_000).all()  # plausible on any machine, not a time to be met
    assert frame.swap_back99_us.notna().all()
