"""Snapshots of /proc/PID/status, in the layout of the patch's memory table."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from swaplib.evidence.log import Log

_RSS = {"RssAnon": "rss_anon_kib", "RssFile": "rss_file_kib", "RssShmem": "rss_shmem_kib"}
_FIELDS = {"VmRSS": "vmrss_kib", **_RSS, "VmSwap": "vmswap_kib"}
_MINUTES = re.compile(r"(\d+(?:\.\d+)?)\s*_?-?min", re.I)


def read_status(paths: str | Path | Sequence[str | Path]) -> pd.DataFrame:
    """Read snapshots of ``/proc/PID/status``.

    Parameters
    ----------
    paths
        A file, a folder (its files, those of folders in it too), a pattern such as ``"snapshots/*.txt"``, or
        several of these. A file may hold several snapshots; its name without ending is their label, and one
        like ``bg_10min``, or a folder of such a name, gives the minutes.

    Returns
    -------
    DataFrame
        One row a snapshot, as `mail/process_memory`: app (Name), label, minutes (NaN if no name gives them),
        vmrss_kib, rss_anon_kib, rss_file_kib, rss_shmem_kib, vmswap_kib, swap_ratio_percent (100 vmswap /
        (vmswap + vmrss)), pid. Kernel threads have no memory: left out. ``attrs`` are those of `Log.read`.

    Raises
    ------
    FileNotFoundError, ValueError
        A missing file; a folder without files; no snapshot in any of them.
    """
    files: list[Path] = []
    for path in map(Path, [paths] if isinstance(paths, str | Path) else paths):
        pattern = f"{glob.escape(str(path))}/**" if path.is_dir() else str(path)
        found = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207
        files += [file for file in found if file.is_file()] or [path]
    frame = _Snapshots().read(*files)
    if frame.empty:
        raise ValueError(
            f"no snapshot with VmRSS in {', '.join(map(str, files[:3]))}; expected /proc/PID/status"
        )
    frame["swap_ratio_percent"] = (100 * frame.vmswap_kib / (frame.vmswap_kib + frame.vmrss_kib)).round(2)
    return frame


class _Snapshots(Log):
    """Snapshots in the making: another begins where Name, a field or the file of another process comes."""

    columns = f"app label minutes {' '.join(_FIELDS.values())} swap_ratio_percent pid"
    wanted = re.compile(  # `grep` puts the name of a file before
        r"^\s*(?:\S*?(?:/(?P<pid>\d{1,9})/)?status:\s*)?"
        rf"(?P<name>Name|Pid|{'|'.join(_FIELDS)}):\s*(?P<value>.*?)\s*$"
    )
    what = "a line of /proc/PID/status"

    def __init__(self) -> None:
        super().__init__()
        self.close()

    def close(self) -> None:
        """Begin another snapshot."""
        self._about: dict[str, str] = {}
        self._place = -1

    def take(self, text: str) -> None:
        """Read one line; it begins a snapshot, becomes part of one, or is counted."""
        pid, name, value = self.wanted.findall(text)[0]
        if name == "Name" or (pid and pid != self._about.get("pid")):
            self.close()
            self._about = {"pid": pid}
        kib = re.fullmatch(r"(\d{1,15})\s*kB", value)
        if kib and name in _FIELDS:
            if self._place < 0 or self.get(self._place, _FIELDS[name]) >= 0:  # it has come before
                self._place = self._add()
            self.set(self._place, {_FIELDS[name]: kib[1]})
        elif name == "Name" or (name == "Pid" and value.isdecimal()):
            self._about["app" if name == "Name" else "pid"] = value
        else:
            self.miss(text)

    def _add(self) -> int:
        label = re.sub(r"(\.(gz|txt|log|status))+$", "", self.path.name)
        minutes = _MINUTES.search(label) or _MINUTES.search(self.path.parent.name)
        return self.add({**self._about, "label": label, "minutes": minutes[1] if minutes else None})
