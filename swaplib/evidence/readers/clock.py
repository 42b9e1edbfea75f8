"""The time at the head of a line, whatever wrote the log: logcat, dmesg, the journal or syslog."""

from __future__ import annotations

import re
from datetime import date

_DAY_S = 86400.0
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_FIRST_DAY = (0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335)  # of each month of a leap year

_TIME = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d(?:[.,]\d{1,9})?)"
_HEADS = (
    re.compile(
        rf"(?:\[\s?)?(?:(?P<year>\d{{4}})-)?(?P<month>\d\d)-(?P<day>\d\d)[ T]\s*{_TIME}"
    ),  # logcat, ISO 8601
    re.compile(
        rf"\[?(?:[A-Z][a-z]{{2}}\s+)?(?P<month>[A-Z][a-z]{{2}})\s+(?P<day>\d{{1,2}})\s+{_TIME}"
    ),  # syslog
    re.compile(
        r"(?:<\d{1,3}>|\w+\s*:\w+\s*:\s)?\[\s*(?P<seconds>\d{1,12}\.\d{1,9})\]"
    ),  # dmesg, short-monotonic
    re.compile(r"\s*(?P<seconds>\d{1,12}\.\d{3,9})\s"),  # logcat's epoch and monotonic
)


class Clock:
    """Seconds at each line; a log without years that jumps back by most of one goes on in the next."""

    def __init__(self) -> None:
        self.now_s = float("nan")
        self._years = 0

    def read(self, text: str) -> None:
        """Read the time at the head of a line; a line without one keeps the last."""
        part = next((found.groupdict() for head in _HEADS if (found := head.match(text))), {})
        if "seconds" in part:
            self.now_s = float(part["seconds"])
        elif part and (days := _days(part)):
            clock_s = (
                int(part["hour"]) * 3600 + int(part["minute"]) * 60 + float(part["second"].replace(",", "."))
            )
            self.now_s = (days + self._years_of(days, part)) * _DAY_S + clock_s

    def _years_of(self, days: int, part: dict[str, str]) -> int:
        """Return the days of the years that have passed in a log whose lines do not name them."""
        if part.get("year"):
            return 0
        if (days + self._years * 366 + 300) * _DAY_S < self.now_s:
            self._years += 1
        return self._years * 366


def _days(part: dict[str, str]) -> int:
    """Return the number of a day, from the start of the calendar or of a year; 0 where there is no such day."""
    name, day = part["month"], int(part["day"])
    month = _MONTHS.index(name) + 1 if name in _MONTHS else int(name) if name.isdigit() else 0
    if not 1 <= month <= 12 or not 1 <= day <= 31:
        return 0
    if not part.get("year"):
        return _FIRST_DAY[month - 1] + day
    try:
        return date(int(part["year"]), month, day).toordinal()
    except ValueError:
        return 0
