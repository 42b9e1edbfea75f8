"""What Android tells: the kills of lmkd and of its activity manager, from a saved logcat or dmesg."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from swaplib.evidence.log import Log

_COLUMNS = (
    "time_s source process pid uid oom_score_adj rss_kib rss_anon_kib rss_file_kib rss_shmem_kib swap_kib "
    "reason line"
)
_WANTED = r"lmkd|lowmemorykiller|am_kill|killinfo|Kill|Reclaim|to free \d"
_TAG = re.compile(
    r"(?:^|[\s/<>\];,])(lmkd|lowmemorykiller|am_kill|killinfo)\s*(?:[(\[][\d\s:]*[)\]])?\s*:\s?(.*)$"
)
_ADJ = r"(?:,?\s*(?:oom_score_adj|oom_adj|adj)\s*(?P<oom_score_adj>-?\d{1,5}))?"
_KILL = re.compile(
    r"\b(?:(?:Kill|Reclaim)(?:ing|ed)?\s+(?:process\s+)?'(?P<process>.*?)'\s*\(\s*|watchdog killed process )"
    r"(?P<pid>\d{1,9})(?:\s*\))?(?:\s*\(tgid \d+\))?"
    rf"(?:,\s*uid\s*(?P<uid>\d{{1,9}}))?{_ADJ}(?P<sizes>.*)$"
)
_SIZE = re.compile(r"(\d{1,15})\s*kB(?:\s+((?:(?:anon|file|shmem|dmabuf)[ _])?(?:rss|pss|swap)))?", re.I)
_SIZES = {"": "rss_kib", "rss": "rss_kib", "swap": "swap_kib"}
_SIZES |= {f"{kind}_rss": f"rss_{kind}_kib" for kind in ("anon", "file", "shmem")}
_UNREAD = re.compile(  # looks like a kill: words of lmkd; -v long; a size on a line of its own
    r"^lmkd:\s*(?:Kill|Reclaim)(?:ing)?\s+(?!because)|\b(?:Kill|Reclaim)(?:ing)?\s+'"
    r"|/(?:am_kill|killinfo)\s*\]\s*$|(?:^|[>\]:;])\s*to free \d"
)
_AM_KILL = re.compile(  # before Android 4.2 without the user, which comes first since then
    r"\[\s*(?:\d+\s*,\s*)?(?P<pid>\d{1,9})\s*,\s*(?P<process>.*?)\s*,\s*(?P<oom_score_adj>-?\d{1,5})\s*,"
    r"\s*(?P<reason>.*?)\s*(?:,\s*0*(?P<rss_kib>\d{0,15})\s*)?\]\s*$"
)


def read_lmkd(path: str | Path) -> pd.DataFrame:
    """Read every kill from a saved logcat or dmesg.

    Kills by lmkd, or by the old driver lowmemorykiller, are known by their words in any format; the event
    am_kill needs its tag in its line, so not ``-v long`` or raw.

    Returns
    -------
    DataFrame
        One row a kill: time_s (since the first that has a time; NaN in brief), source (lmkd or am_kill, which
        may tell of a death in a row each), process, pid, uid, oom_score_adj, rss_kib, rss_anon_kib,
        rss_file_kib, rss_shmem_kib, swap_kib (NaN where not said), reason, line (number in the file).
        ``attrs`` are those of `Log.frame`.
    """
    log = Log(_COLUMNS, "a kill", _WANTED)
    for text in log.lines(path):
        text = text.replace("\\x0a", " ")  # several lines in one record of /dev/kmsg
        tagged = _TAG.search(text)
        tag, message = tagged.groups() if tagged else ("", text)
        is_lmkd, row = tag in ("lmkd", "lowmemorykiller"), _row(tag, message)
        if row:
            log.pack()
            log.keep(row)
        elif (tag and not is_lmkd) or _UNREAD.search(f"lmkd:{message}" if is_lmkd else text):
            log.miss(text)
    return log.frame()


def _row(tag: str, message: str) -> dict[str, Any]:
    """Return what a line says of a kill, by column; empty where it tells of none."""
    if tag == "am_kill":
        event = _AM_KILL.search(message)
        return {"source": tag, **event.groupdict()} if event else {}
    found = _KILL.search(message)
    if not found or tag == "killinfo" or not (tag or found["oom_score_adj"]):
        return {}
    return {"source": "lmkd", **found.groupdict(), **_sizes(found["sizes"])}


def _sizes(text: str) -> dict[str, str]:
    """Return the sizes behind `to free`, by column, and the reason."""
    sizes, *reason = re.split(r"\breason:|\bbecause\b", text, maxsplit=1)
    row = {"reason": "".join(reason).partition(" Free memory is")[0].strip()}
    for kib, name in _SIZE.findall(sizes.partition("to free")[2]):
        row.setdefault(_SIZES.get(name.lower().replace(" ", "_"), ""), kib)
    return row
