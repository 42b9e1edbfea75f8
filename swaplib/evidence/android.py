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
    r"(?:^|[\s/<>\];,])(lmkd|lowmemorykiller|am_kill|killinfo|ActivityManager)\s*"
    r"(?:[(\[][\d\s:]*[)\]])?\s*:\s?(.*)$"
)
_ADJ = r"(?:,?\s*(?:oom_score_adj|oom_adj|adj)\s*(?P<oom_score_adj>-?\d{1,5}))?"
_KILL = re.compile(
    r"\b(?:(?:Kill|Reclaim)(?:ing|ed)?\s+(?:process\s+)?'(?P<process>.*?)'\s*(?P<open>\()\s*"
    r"|watchdog killed process )"
    r"(?P<pid>\d{1,9})(?(open)\s*\))(?:\s*\(tgid \d+\))?"
    rf"(?:,\s*uid\s*(?P<uid>\d{{1,9}}))?{_ADJ}(?P<sizes>.*)$"
)
_SIZE = re.compile(
    r"(?<![\d,.-])(\d{1,15})\s*kB(?:\s+((?:(?:anon|file|shmem|dmabuf)[ _])?(?:rss|pss|swap)))?", re.I
)
_SIZES = {"": "rss_kib", "rss": "rss_kib", "swap": "swap_kib"}
_SIZES |= {f"{kind}_rss": f"rss_{kind}_kib" for kind in ("anon", "file", "shmem")}
_UNREAD = re.compile(  # looks like a kill: words of lmkd; -v long; a size on a line of its own
    r"^lmkd:\s*(?:Kill|Reclaim)(?:ing)?\s+(?!because)|\b(?:Kill|Reclaim)(?:ing)?\s+'"
    r"|/am_kill\s*\]\s*$|\(am_kill\)\s*$|(?:^|[>\]:;])\s*to free \d"
)
_AM_KILL = re.compile(  # before Android 4.2 without the user, which comes first since then
    r"\[\s*(?:-?\d+\s*,\s*)?(?P<pid>\d{1,9})\s*,\s*(?P<process>.*?)\s*,\s*(?P<oom_score_adj>-?\d{1,5})\s*,"
    r"\s*(?P<reason>.*?)\s*(?:,\s*0*(?P<rss_kib>\d{0,15})\s*)?\]\s*$"
)
_AM_WORDS = re.compile(
    r"Killing (?P<pid>\d{1,9}):(?P<process>[^/\s]+)/\S+ \(adj (?P<oom_score_adj>-?\d{1,5})\): (?P<reason>.*)$"
)


def read_lmkd(path: str | Path) -> pd.DataFrame:
    """Read every kill from a saved logcat or dmesg.

    Kills by lmkd, or by the old driver lowmemorykiller, are known by their words in any format; the event
    am_kill, and what the activity manager says of it, need their tag in the line: not ``-v long`` or raw.

    Returns
    -------
    DataFrame
        One row a kill: time_s (since the first that has a time; NaN in brief), source (lmkd or am_kill, which
        may tell of a death in a row each), process, pid, uid, oom_score_adj, rss_kib, rss_anon_kib,
        rss_file_kib, rss_shmem_kib, swap_kib (NaN where not said), reason, line (number in the file).
        ``attrs`` are those of `Log.frame`.
    """
    log, known = Log(_COLUMNS, "a kill", _WANTED), set[str]()
    told: list[Any] = []  # killinfo, of deaths that lmkd tells of in words, too
    for text in log.lines(path):
        text = text.replace("\\x0a", " ")  # several lines in one record of /dev/kmsg
        tagged = _TAG.search(text)
        tag, message = tagged.groups() if tagged else ("", text)
        is_lmkd, row = tag in ("lmkd", "lowmemorykiller"), _row(tag, message)
        if row:
            log.pack()
            known.add(log.keep(row)["pid"])
        elif tag == "killinfo" and (info := re.match(r"\[\s*(\d{1,9})\s*,", message)):
            told.append((info[1], text, log.line))
        elif message.lstrip().startswith("to free") and log.rows and log.rows[-1]["line"] == log.line - 1:
            log.rows[-1].update(_sizes(message))  # Android up to 9 writes them into the next line
        elif tag in ("am_kill", "killinfo") or _UNREAD.search(f"lmkd:{message}" if is_lmkd else text):
            log.miss(text)
    for pid, text, line in told:
        log.miss(text * (pid not in known), line)
    frame = log.frame()
    untold = frame.line[(frame.source == "lmkd") & frame.rss_kib.isna()]
    for line in untold[:1]:
        sizeless = f"{len(untold)} of {len(frame)} kills do not say what they freed"
        frame.attrs["notes"].append(f"{log.path.name}: {sizeless}; the first is line {line}")
    return frame


def _row(tag: str, message: str) -> dict[str, Any]:
    """Return what a line says of a kill, by column; empty where it tells of none."""
    if tag in ("am_kill", "ActivityManager"):
        event = (_AM_KILL if tag == "am_kill" else _AM_WORDS).search(message)
        return {"source": "am_kill", **event.groupdict()} if event else {}
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
