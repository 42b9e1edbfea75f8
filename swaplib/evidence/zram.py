"""A zram device for the time of a measurement: taken only when asked for, and given back whatever happens."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swaplib.evidence.probe_core import ProbeError, memory_kib

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True)
class Places:
    """Where the kernel shows its devices and swap, and where the owner file is kept; a test has its own."""

    blocks: Path = Path("/sys/block")
    control: Path = Path("/sys/class/zram-control")
    swaps: Path = Path("/proc/swaps")
    devices: Path = Path("/dev")
    owner: Path = (
        Path("/run") if Path("/run").is_dir() else Path(tempfile.gettempdir())
    ) / "swaplib-zram.json"


def size_bytes(text: str) -> int:
    """Return the bytes of a size such as 512M or 2G, or raise ValueError."""
    found = re.fullmatch(r"(\d{1,9})([KMG])", text)
    if not found or int(found[1]) == 0:
        raise ValueError(f"{text!r} is no size; expected a whole number with K, M or G behind it, as 2G")
    return int(found[1]) * _UNITS[found[2]]


@contextmanager
def zram_swap(size: int, *, force: bool = False, places: Places | None = None) -> Iterator[Path]:
    """Make a fresh zram device of `size` bytes the machine's swap, and take it away again on the way out.

    Yields
    ------
    Path
        The device.

    Raises
    ------
    ProbeError
        No rights, no device, other swap without `force`, too little memory, or a device that another run left or has.
    """
    places = places or Places()
    size = -(-size // 65536) * 65536  # whole pages, whatever their size
    _refuse(size, force, places)
    with _until_cleaned():
        try:
            before = sorted(path.name for path in places.blocks.glob("zram*"))
            record = {"pid": os.getpid(), "started": _started(os.getpid()), "bytes": size, "before": before}
            _write(places.owner, {**record, "device": None, "added": False}, first=True)
            name, added = _take(places)
            _write(places.owner, {**record, "device": name, "added": added})
            device = places.devices / name
            (places.blocks / name / "disksize").write_text(str(size))
            _call("mkswap", str(device))
            _call("swapon", "--priority", "32767", str(device))
            yield device
        finally:
            _no_more_signals()
            if (_owner(places) or {}).get("pid") == os.getpid():
                clean_up(places)


@contextmanager
def _until_cleaned() -> Iterator[None]:
    """Let a request to end raise, so that what was set up is removed; afterwards signals do what they did before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        _no_more_signals()
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in _ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _no_more_signals() -> None:
    """Let nothing interrupt the removal."""
    if threading.current_thread() is threading.main_thread():
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)


def left_behind(places: Places | None = None) -> str:
    """Say which device a killed run left behind; empty when there is none."""
    owner = _owner(places or Places())
    if owner is None or _is_alive(owner):
        return ""
    return f"a run that was killed left {owner['device'] or 'an owner file'} behind; `swaplib probe --cleanup` removes it"


def clean_up(places: Places | None = None) -> bool:
    """Remove the device of the owner file, and nothing else; False when there is none.

    Raises
    ------
    ProbeError
        It belongs to a run that goes on, the device is another's by now, or memory does not suffice to take its pages
        back.
    """
    places = places or Places()
    owner = _owner(places)
    if owner is None:
        return False
    if owner["pid"] != os.getpid() and _is_alive(owner):
        raise ProbeError(
            f"process {owner['pid']} is measuring with {owner['device']}; wait for it, or end it"
        )
    if os.geteuid() == 0 and places.owner.stat().st_uid:
        raise ProbeError(f"{places.owner} was not written by root; remove it after a look at /proc/swaps")
    name, added = owner["device"], owner["added"]
    if not name:  # it ended between taking a device and writing down which
        name, added = _unnamed(places, owner["before"]), True
    if name:
        disksize = places.blocks / str(name) / "disksize"
        size = int(disksize.read_text()) if disksize.exists() else 0
        if size not in (0, owner["bytes"]):
            raise ProbeError(
                f"{name} is {size} bytes and not the {owner['bytes']} of {places.owner}; it was left alone"
            )
        used_kib = _active(places).get(str(places.devices / str(name)))
        if used_kib is not None:
            if memory_kib("MemAvailable") < used_kib + 65536:
                raise ProbeError(
                    f"{name} holds {used_kib // 1024} MiB and {memory_kib('MemAvailable') // 1024} are available; free "
                    "memory, then run `swaplib probe --cleanup`"
                )
            _call("swapoff", str(places.devices / str(name)))
        if size:
            _tell(places.blocks / str(name) / "reset", "1")
        if added:
            _tell(places.control / "hot_remove", str(name).removeprefix("zram"))
    places.owner.unlink()
    return True


def _unnamed(places: Places, before: list[str]) -> str | None:
    """Return the one zram device that is new and unused; None when there is none or more than one."""
    new = [path for path in places.blocks.glob("zram*") if path.name not in before]
    unused = [path.name for path in new if (path / "disksize").read_text().strip() == "0"]
    return unused[0] if len(new) == len(unused) == 1 else None


def _refuse(size: int, force: bool, places: Places) -> None:
    owner = _owner(places)
    if owner is not None:
        raise ProbeError(
            left_behind(places)
            or f"process {owner['pid']} is measuring with {owner['device']}; wait for it, or end it"
        )
    if not os.access(places.blocks, os.W_OK) and os.geteuid() != 0:
        raise ProbeError("setting up zram needs root; run the same command with sudo")
    active = _active(places)
    if active and not force:
        raise ProbeError(f"swap is active on {', '.join(active)}; measure with that, or add --force")
    missing = [tool for tool in ("mkswap", "swapon", "swapoff") if shutil.which(tool) is None]
    if missing:
        raise ProbeError(f"{missing[0]} is not installed; it is in util-linux (apt-get install util-linux)")
    if memory_kib("MemAvailable") * 1024 < size // 2:
        raise ProbeError(
            f"a zram of {size >> 20} MiB may take half of that and {memory_kib('MemAvailable') >> 10} MiB are available"
        )


def _take(places: Places) -> tuple[str, bool]:
    """Return the name of a fresh device and whether it was added."""
    hot_add = places.control / "hot_add"
    if hot_add.exists():
        return f"zram{int(hot_add.read_text())}", True
    disksize = places.blocks / "zram0" / "disksize"
    if disksize.exists() and int(disksize.read_text()) == 0:
        return "zram0", False
    if disksize.exists():
        raise ProbeError(
            "zram0 is in use and the kernel offers no other; swapoff and reset it, or measure with it"
        )
    raise ProbeError("this kernel shows no zram; as root: modprobe zram")


def _owner(places: Places) -> dict[str, Any] | None:
    if not places.owner.exists():
        return None
    try:
        owner = json.loads(places.owner.read_text())
        if owner["device"] and not re.fullmatch(r"zram\d+", owner["device"]):
            raise ValueError
        unsaid = {"started": "", "before": [path.name for path in places.blocks.glob("zram*")]}
        return {**unsaid, **{name: owner[name] for name in ("pid", "device", "added", "bytes")}, **owner}
    except (ValueError, KeyError, TypeError):
        raise ProbeError(f"{places.owner} is not readable; remove it after a look at /proc/swaps") from None


def _write(path: Path, owner: dict[str, Any], *, first: bool = False) -> None:
    """Write the owner file, whole or not at all, through no link; the first time only where there is none."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    with new.open("x", encoding="utf-8") as file:
        json.dump(owner, file)
    try:
        if first:
            path.hardlink_to(new)
        else:
            new.replace(path)
    except FileExistsError:
        raise ProbeError(f"another run has just begun, see {path}; wait for it") from None
    finally:
        new.unlink(missing_ok=True)


def _tell(switch: Path, text: str) -> None:
    """Write to a file of /sys, again for two seconds where somebody, as udev, is still looking at the device."""
    for attempt in range(20):
        try:
            switch.write_text(text)
        except OSError as error:
            if error.errno != errno.EBUSY or attempt == 19:
                raise ProbeError(f"{switch}: {error.strerror}; run `swaplib probe --cleanup` later") from None
            time.sleep(0.1)
        else:
            return


def _started(pid: int) -> str:
    """Return when a process started, in ticks since the boot; empty when there is no such process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return boot + " " + Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _is_alive(owner: dict[str, Any]) -> bool:
    """Tell whether the process that owns the device still runs: the same process, not a later one with its number."""
    started = _started(int(owner["pid"]))
    return bool(started) and owner["started"] in ("", started)


def _active(places: Places) -> dict[str, int]:
    """Return the KiB used of every active swap device."""
    rows = [line.split() for line in places.swaps.read_text().splitlines()[1:]]
    return {row[0]: int(row[3]) for row in rows if len(row) > 3}


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, start_new_session=True)
    if done.returncode:
        raise ProbeError(f"{command[0]} failed: {done.stderr.strip()}")
