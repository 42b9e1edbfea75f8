"""A zram device for the time of a measurement: taken only when asked for, and given back whatever happens."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swaplib.evidence.probe_core import ProbeError, memory_kib

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True)
class Places:
    """Where the kernel shows its devices and swap, and where the owner file is kept; a test has its own."""

    blocks: Path = Path("/sys/block")
    control: Path = Path("/sys/class/zram-control")
    swaps: Path = Path("/proc/swaps")
    devices: Path = Path("/dev")
    owner: Path = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / "swaplib-zram.json"


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
    _refuse(size, force, places)
    places.owner.write_text(json.dumps({"pid": os.getpid(), "device": None, "added": False, "bytes": size}))
    try:
        name, added = _take(places)
        places.owner.write_text(json.dumps({"pid": os.getpid(), "device": name, "added": added, "bytes": size}))
        device = places.devices / name
        (places.blocks / name / "disksize").write_text(str(size))
        _call("mkswap", str(device))
        _call("swapon", "--priority", "32767", str(device))
        yield device
    finally:
        clean_up(places)


def left_behind(places: Places | None = None) -> str:
    """Say which device a killed run left behind; empty when there is none."""
    owner = _owner(places or Places())
    if owner is None or _is_alive(int(owner["pid"])):
        return ""
    return (
        f"a run that was killed left {owner['device'] or 'an owner file'} behind; `swaplib probe --cleanup` removes it"
    )


def clean_up(places: Places | None = None) -> bool:
    """Remove the device of the owner file, and nothing else; False when there is none.

    Raises
    ------
    ProbeError
        The device is another's by now, or memory does not suffice to take its pages back.
    """
    places = places or Places()
    owner = _owner(places)
    if owner is None:
        return False
    name = owner["device"]
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
            (places.blocks / str(name) / "reset").write_text("1")
        if owner["added"]:
            (places.control / "hot_remove").write_text(str(name).removeprefix("zram"))
    places.owner.unlink()
    return True


def _refuse(size: int, force: bool, places: Places) -> None:
    owner = _owner(places)
    if owner is not None:
        raise ProbeError(
            left_behind(places) or f"process {owner['pid']} is measuring with {owner['device']}; wait for it"
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
        raise ProbeError("zram0 is in use and the kernel offers no other; swapoff and reset it, or measure with it")
    raise ProbeError("this kernel shows no zram; as root: modprobe zram")


def _owner(places: Places) -> dict[str, Any] | None:
    if not places.owner.exists():
        return None
    try:
        owner = json.loads(places.owner.read_text())
        return {name: owner[name] for name in ("pid", "device", "added", "bytes")}
    except (ValueError, KeyError, TypeError):
        raise ProbeError(f"{places.owner} is not readable; remove it after a look at /proc/swaps") from None


def _is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _active(places: Places) -> dict[str, int]:
    """Return the KiB used of every active swap device."""
    rows = [line.split() for line in places.swaps.read_text().splitlines()[1:]]
    return {row[0]: int(row[3]) for row in rows if len(row) > 3}


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProbeError(f"{command[0]} failed: {done.stderr.strip()}")
