"""The probe: what it plans, what it refuses, that its core runs alone, and, where allowed, that it really measures."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import swaplib
from swaplib import cli
from swaplib.evidence import probe_core, zram
from swaplib.evidence.probe import arguments_of

CORE = Path(probe_core.__file__)
SWAPS = "Filename Type Size Used Priority\n"


def options(**changes):
    grid = {"processes": [1, 2], "mb": [8], "swap_share": [1.0, 0.0], "order": ["random", "runs16"]}
    grid |= {"content": ["compressible"], "page_kind": ["4k"], "how": "exit", "foreground": False}
    return Namespace(**grid | {"repetitions": 3, "seed": 0, "out": "runs.csv", "append": False} | changes)


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
        ({}, "no folios of 64 KiB"),
    ],
)
def test_folios_of_64_kib_are_refused_where_they_would_not_come(tmp_path, monkeypatch, sizes, says):
    folios(tmp_path, **sizes)
    monkeypatch.setattr(probe_core, "FOLIOS", f"{tmp_path}/")
    found = probe_core.folios_lacking({"swap_frac": 1.0, "order": "runs16"})
    assert len(found) == bool(says)
    assert re.search(says, "".join(found))


@pytest.mark.parametrize(
    "changes", [{"processes": [0]}, {"mb": [0]}, {"swap_share": [1.5]}, {"repetitions": 0}]
)
def test_an_impossible_plan_is_refused(changes):
    with pytest.raises(probe_core.ProbeError, match="whole numbers from 1"):
        probe_core.plan(options(**changes))


def test_a_dry_run_does_not_miss_the_swap_that_it_is_told_to_set_up(capsys, monkeypatch):
    monkeypatch.setattr(probe_core, "memory_kib", lambda field: 0 if field.startswith("Swap") else 1 << 30)
    assert cli.main(["probe", "--dry-run", "--mb", "8"]) == 0
    assert probe_core.NO_SWAP in capsys.readouterr().out
    assert cli.main(["probe", "--dry-run", "--mb", "8", "--setup-zram", "64M"]) == 0
    assert "nothing is missing" in capsys.readouterr().out


@pytest.mark.parametrize("swap_kib", [0, 1 << 20])
def test_more_memory_than_there_is_is_refused_before_anything_starts(monkeypatch, swap_kib):
    monkeypatch.setattr(
        probe_core, "memory_kib", lambda field: swap_kib if field.startswith("Swap") else 1 << 24
    )
    missing = probe_core.missing(probe_core.plan(options(mb=[1 << 24], swap_share=[0.0])))
    assert len(missing) == 2  # one and two processes
    assert all("MiB of memory" in what for what in missing)


def test_without_swap_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(probe_core, "memory_kib", lambda field: 0 if field.startswith("Swap") else 1 << 30)
    (missing,) = probe_core.missing(probe_core.plan(options()))
    assert "--setup-zram 2G" in missing


def test_too_little_swap_is_named(monkeypatch):
    monkeypatch.setattr(probe_core, "memory_kib", lambda field: 8192 if field.startswith("Swap") else 1 << 30)
    (missing,) = probe_core.missing(probe_core.plan(options()))
    assert "2 processes of 8 MB need 16 MiB of free swap and there are 8" in missing


def test_the_core_runs_alone_in_an_empty_folder(tmp_path):
    shutil.copy(CORE, tmp_path / "core.py")
    grid = ["--processes", "2", "--mb", "2", "--swap-share", "0", "--order", "random"]
    command = [sys.executable, "-I", "core.py", *grid]
    done = subprocess.run(
        [*command, "--repetitions", "1", "--foreground"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
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
def places(tmp_path):
    """A made-up /sys with an unused zram0, and no swap."""
    (tmp_path / "block" / "zram0").mkdir(parents=True)
    (tmp_path / "block" / "zram0" / "disksize").write_text("0")
    (tmp_path / "block" / "zram0" / "reset").write_text("0")
    (tmp_path / "swaps").write_text(SWAPS)
    return zram.Places(
        tmp_path / "block", tmp_path / "control", tmp_path / "swaps", tmp_path / "dev", tmp_path / "owner"
    )


@pytest.fixture
def calls(monkeypatch):
    done = []
    monkeypatch.setattr(zram, "_call", lambda *command: done.append(command))
    monkeypatch.setattr(zram.shutil, "which", lambda tool: tool)
    return done


def test_an_unused_device_is_taken_and_given_back(places, calls):
    with zram.zram_swap(1 << 20, places=places) as device:
        assert json.loads(places.owner.read_text())["device"] == device.name == "zram0"
        assert (places.blocks / "zram0" / "disksize").read_text() == str(1 << 20)
        places.swaps.write_text(f"{SWAPS}{device} partition 1024 0 1\n")
    assert [command[0] for command in calls] == ["mkswap", "swapon", "swapoff"]
    assert (places.blocks / "zram0" / "reset").read_text() == "1"
    assert not places.owner.exists()


def test_everything_is_taken_back_after_an_error(places, calls):
    with pytest.raises(KeyboardInterrupt), zram.zram_swap(1 << 20, places=places):
        raise KeyboardInterrupt
    assert not places.owner.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_everything_is_taken_back_when_it_is_told_to_end(places, calls, number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), zram.zram_swap(1 << 20, places=places):
        signal.raise_signal(number)
    assert signal.getsignal(number) == before
    assert (places.blocks / "zram0" / "reset").read_text() == "1"
    assert not places.owner.exists()


def owned(places, **changes):
    """Write the owner file of a run that was killed."""
    owner = {
        "pid": 1 << 30,
        "started": "long ago",
        "device": "zram0",
        "added": False,
        "bytes": 4096,
        "before": [],
    }
    places.owner.write_text(json.dumps(owner | changes))


def test_a_device_that_was_added_but_not_yet_written_down_is_found(places, calls):
    places.control.mkdir()
    (places.control / "hot_remove").write_text("")
    (places.blocks / "zram1").mkdir()
    (places.blocks / "zram1" / "disksize").write_text("0")
    owned(places, device=None, before=["zram0"])
    assert zram.clean_up(places)
    assert (places.control / "hot_remove").read_text() == "1"


def test_the_device_of_a_run_that_goes_on_is_not_taken_away(places, calls):
    with zram.zram_swap(1 << 20, places=places):
        owner = json.loads(places.owner.read_text())
        parent = {"pid": os.getppid(), "started": zram._started(os.getppid())}
        places.owner.write_text(json.dumps(owner | parent))
        with pytest.raises(probe_core.ProbeError, match="wait for it"):
            zram.clean_up(places)
        with (
            pytest.raises(probe_core.ProbeError, match="wait for it"),
            zram.zram_swap(1 << 20, places=places),
        ):
            pass
    assert places.owner.exists()


def test_a_later_process_with_the_number_of_a_killed_one_does_not_count(places, calls):
    owned(places, pid=os.getpid())
    assert "--cleanup" in zram.left_behind(places)


def test_an_owner_file_that_is_a_link_is_not_written_through(places, calls, tmp_path):
    places.owner.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(probe_core.ProbeError, match="another run"), zram.zram_swap(1 << 20, places=places):
        pass
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda p: p.swaps.write_text(f"{SWAPS}/dev/sda2 partition 1 0 -2\n"), "--force"),
        (lambda p: (p.blocks / "zram0" / "disksize").write_text("4096"), "zram0 is in use"),
        (lambda p: shutil.rmtree(p.blocks / "zram0"), "modprobe zram"),
        (lambda p: p.owner.write_text("{"), "not readable"),
        (lambda p: owned(p, device="../sda"), "not readable"),
    ],
)
def test_what_stands_in_the_way_is_named_and_left_as_it_is(places, calls, spoil, says):
    spoil(places)
    with pytest.raises(probe_core.ProbeError, match=says), zram.zram_swap(1 << 20, places=places):
        pass
    assert calls == []


def test_a_device_that_is_not_ours_any_more_is_left_alone(places, calls):
    owned(places)
    (places.blocks / "zram0" / "disksize").write_text("8192")
    assert "--cleanup" in zram.left_behind(places)
    with pytest.raises(probe_core.ProbeError, match="left alone"):
        zram.clean_up(places)


@pytest.mark.parametrize("text", ["", "2", "2T", "0G", "-1G", "1.5G"])
def test_a_size_needs_a_unit(text):
    with pytest.raises(ValueError, match="is no size"):
        zram.size_bytes(text)


@pytest.fixture
def real_zram(require):
    if os.environ.get("SWAPLIB_TEST_ZRAM") != "1":
        require("zram", False, "SWAPLIB_TEST_ZRAM is not 1: the machine's swap is not to be touched")
    has_device = Path("/sys/block/zram0").exists() or Path("/sys/class/zram-control").exists()
    require("zram", os.geteuid() == 0 and has_device, "root and a zram device are needed")
    require("zram", not probe_core.memory_kib("SwapTotal"), "other swap is active")


def test_a_real_device_is_measured_and_gone_afterwards(real_zram):
    frame = swaplib.probe((1, 2), (8,), (1.0,), ("random", "runs16"), repetitions=2, setup_zram="256M")
    cost_ns = 1000 * frame.exit_cpu_us_sum / frame.swap_entries
    assert len(frame) == 8
    assert (frame.swap_entries >= 0.95 * 2048 * frame.procs).all()
    assert (frame[frame.layout_run == 16].swap_runs < frame[frame.layout_run == 1].swap_runs.min()).all()
    assert cost_ns.between(20, 50_000).all()  # plausible on any machine, not a time to be met
    assert not probe_core.memory_kib("SwapTotal")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_leaves_nothing_that_cannot_be_cleaned(real_zram, tmp_path, how):
    code = "import sys; from swaplib.cli import main; sys.exit(main(sys.argv[1:]))"
    grid = ["--setup-zram", "256M", "--mb", "8", "--repetitions", "200"]
    command = [sys.executable, "-c", code, "probe", "--out", str(tmp_path / "runs.csv"), *grid]
    run = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not probe_core.memory_kib("SwapTotal") and time.monotonic() < deadline:
        time.sleep(0.05)
    run.send_signal(how)
    run.wait(timeout=60)
    time.sleep(1 if how == signal.SIGKILL else 0)
    assert bool(zram.left_behind()) == (how == signal.SIGKILL)
    assert zram.clean_up() == (how == signal.SIGKILL)
    assert not probe_core.memory_kib("SwapTotal")
    assert not zram.Places().owner.exists()
