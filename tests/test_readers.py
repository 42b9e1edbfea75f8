"""Logs of devices: every common form of a line is read, nothing is dropped unseen, any text is survived."""

import gzip
import json
import re
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import swaplib

VECTORS = Path(__file__).parent / "vectors"
LINES = json.loads((VECTORS / "logs.json").read_text(encoding="utf-8"))
APP = "'com.example.app' (2183), uid 10123"
KILL = f"Kill {APP}, oom_score_adj 945 to free 188964kB rss, 22360kB swap"
WHY = "low watermark is breached and swap is low (0kB < 512kB)"
THREADTIME = "11-24 10:00:01.500   612   612 I lowmemorykiller: "
OLD, NEW = LINES["old"], LINES["new"]


@pytest.fixture
def save(tmp_path):
    def write(text, name="log.txt"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("prefix", LINES["logcat"])
@pytest.mark.parametrize(("text", "expected"), LINES["lmkd"])
def test_lmkd_is_read_in_every_format_of_logcat(save, prefix, text, expected):
    frame = swaplib.read_lmkd(save(f"--------- beginning of main\n{prefix}{text}\n"))
    assert (frame.attrs["unread"], frame.attrs["lines"]) == (0, 2)
    assert frame.iloc[0][list(expected)].to_dict() == expected


def test_what_lmkd_says_without_killing_is_not_taken_for_a_kill(save):
    said = LINES["talk"]
    frame = swaplib.read_lmkd(save("\n".join(THREADTIME + text for text in said)))
    assert (len(frame), frame.attrs["other"], frame.attrs["unread"]) == (0, len(said), 0)


def test_a_line_that_looks_like_a_kill_and_is_not_understood_is_counted_and_shown(save):
    lines = ["I/lmkd( 1): Kill it, whatever it is", "I/other( 1): hello", f"I/lmkd( 1): {KILL}"]
    lines += ["[ 11-24 10:00:01.500   612:  612 I/am_kill ]", "[0,1,a,2,b]", "I(  7:  7) Kill 'torn"]
    frame = swaplib.read_lmkd(save("\n".join([*lines, "11-24 10:00:01.5 6 6 I killinfo: [2184,1,2]"])))
    assert (len(frame), frame.attrs["unread"], frame.attrs["other"], frame.attrs["lines"]) == (1, 4, 2, 7)
    not_understood, untimed = frame.attrs["notes"]
    assert "log.txt: 4 lines" in not_understood
    assert "line 1: I/lmkd( 1): Kill it" in not_understood
    assert "1 of 1 rows have no time that was understood; the first is line 3" in untimed


def test_two_kills_on_one_line_are_counted_as_not_understood_and_never_mixed(save):
    victim = "[ 1.5] Out of memory: Killed process 7 (a) total-vm:8kB, anon-rss:4kB"
    for read, line in ((swaplib.read_lmkd, THREADTIME + KILL), (swaplib.read_oom, victim)):
        frame = read(save(f"{line} {line}\n{line}\n"))
        assert (len(frame), frame.attrs["unread"], frame.line[0]) == (1, 1, 2)


def test_a_damaged_archive_and_what_is_no_file_are_refused(save, tmp_path):
    (tmp_path / "log.gz").write_bytes(gzip.compress(KILL.encode() * 99)[:50])
    with pytest.raises(ValueError, match=r"log\.gz is damaged"):
        swaplib.read_lmkd(tmp_path / "log.gz")
    with pytest.raises(FileNotFoundError):
        swaplib.read_oom(tmp_path / "none")
    with pytest.raises(ValueError, match="not a regular file"):
        swaplib.read_oom(tmp_path)


@pytest.mark.parametrize("clock", LINES["clocks"])
def test_a_time_is_read_in_every_form_or_said_not_to_be(save, clock):
    heads = [clock.replace("%", digit) for digit in "05"]
    line = "Out of memory: Killed process {} (a) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB"
    frame = swaplib.read_oom(save("\n".join(head + line.format(pid) for pid, head in enumerate(heads))))
    is_read = frame.time_s.tolist() == pytest.approx([0, 5])
    told = "2 of 2 rows have no time that was understood" in "".join(frame.attrs["notes"])
    assert (is_read, told) == ((False, True) if clock in LINES["unknown"] else (True, False))


def test_months_of_another_language_are_not_compared(save):
    line = "[mar. 3 {} 09:00:00 2026] Killed process {} (a) total-vm:8kB, anon-rss:4kB\n"
    frame = swaplib.read_oom(save(line.format("mars", 1) + line.format("mai", 2) + line.format("mars", 3)))
    assert frame.time_s.isna().tolist() == [False, True, False]


def test_a_clock_that_goes_back_is_said_and_no_burst_goes_across(save):
    frame = swaplib.read_lmkd(save(kills("10:00:00.000", "10:00:00.500", "09:00:00.100", "10:00:00.600")))
    assert "at line 3 the clock goes back" in frame.attrs["notes"][0]
    assert swaplib.to_storm(frame, burst_s=1).processes == 2
    with pytest.raises(ValueError, match="clock goes back between kills; give burst_s"):
        swaplib.to_storm(frame)


@pytest.mark.parametrize(
    ("name", "encode"),
    [
        ("log.txt", lambda text: text.encode("utf-16")),  # as PowerShell writes
        ("log.txt", lambda text: b"\0\0\0" + text.replace("\n", "\r\n").encode()),
        ("log.gz", lambda text: gzip.compress(text.encode())),
        ("log.txt", lambda text: text.replace("main", "x" * 100_000).encode()),
    ],
)
def test_a_log_is_read_however_it_was_saved(tmp_path, name, encode):
    path = tmp_path / name
    path.write_bytes(encode(f"--------- beginning of main\n{THREADTIME}{KILL}\n"))
    frame = swaplib.read_lmkd(path)
    assert (frame.swap_kib.tolist(), frame.attrs["lines"]) == ([22360], 2)


def test_the_memory_of_reading_a_log_grows_with_its_kills_and_not_with_other_lines(tmp_path):
    line = f"{THREADTIME}{KILL}; reason: {WHY}\n"
    noise = "11-24 10:00:01.500  1000  1234  1300 D Service: a message of usual length, of this\n"
    peaks = []
    for kills, others in ((10, 1), (1500, 1), (1500, 20)):  # the first loads what any reading needs
        path = tmp_path / f"{kills}-{others}.txt"
        path.write_text("".join(others * noise + line.replace("2183", str(n)) for n in range(kills)))
        tracemalloc.start()
        frame = swaplib.read_lmkd(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (len(frame), frame.attrs["lines"]) == (kills, kills * (1 + others))
    assert peaks[1] < 2500 * 1500
    assert peaks[2] < 1.1 * peaks[1]


@pytest.mark.parametrize("prefix", LINES["kernel"])
def test_a_table_is_read_behind_every_prefix(save, prefix):
    lines = NEW.splitlines()
    frame = swaplib.read_oom(save("".join(prefix + line + "\n" for line in lines)))
    assert frame.killed.tolist() == [True, True]
    assert frame.process.tolist() == ["sh", "node (1)"]
    assert (frame.swap_kib[1], frame.rss_anon_kib[1], frame.oom_score_adj[0]) == (4000, 4 * 1995157, -1000)
    assert (frame.attrs["unread"], frame.attrs["other"]) == (0, len(lines) - 2)
    storm = swaplib.to_storm(frame, gap_s=0.1)
    assert storm.swap_entries == [0, 1000]
    assert (storm.present_pages, storm.file_pages) == ([32, 1995157], [257, 141])


@pytest.mark.parametrize(("heading", "cells", "swap"), LINES["headings"])
@pytest.mark.parametrize("bracket", ["[ pid ]", "[  pid  ]"])
def test_the_columns_are_those_of_the_heading(save, heading, cells, swap, bracket):
    heading = f"{bracket}   uid  tgid total_vm      rss {heading} name"
    frame = swaplib.read_oom(save(f"{heading}\n[  310] 0 310 10000 1000 {cells} udevd\n"))
    assert (frame.process[0], frame.rss_kib[0], frame.swap_kib.dropna().tolist()) == ("udevd", 4000, swap)


@pytest.mark.parametrize("victim", LINES["victims"])
def test_every_form_of_the_victims_line_is_a_row_without_a_table(save, victim):
    frame = swaplib.read_oom(save(f"[1.0] {victim}\n"))
    row = frame.iloc[0]
    assert (row.pid, row.process, row.total_vm_kib, row.rss_anon_kib, row.rss_kib) == (9, "a", 800, 40, 44)
    assert (row.killed, row.event, frame.attrs["unread"]) == (True, 0, 0)


def test_what_an_old_table_does_not_say_is_read_from_the_victims_line(save):
    frame = swaplib.read_oom(save(OLD))
    sizes = frame.loc[frame.killed, ["pid", "rss_kib", "swap_kib", "total_vm_kib", "rss_anon_kib"]]
    assert sizes.to_numpy().tolist() == [[2183, 480000, 20000, 2000000, 470000]]


def test_what_a_table_or_an_announcement_leaves_open_is_counted(save):
    frame = swaplib.read_oom(save(OLD.replace("   10000     1000      22", "    10x")))
    assert (frame.attrs["unread"], len(frame)) == (1, 1)
    frame = swaplib.read_oom(save("Out of memory: Kill process 7 (a) score 9 or sacrifice child\n"))
    assert (frame.attrs["unread"], len(frame)) == (1, 0)
    frame = swaplib.read_oom(save(OLD.partition("[ 1.0] Out of")[0]))
    assert "pages are taken as 4 KiB" in frame.attrs["notes"][-1]


@pytest.mark.parametrize("case", LINES["cases"])
def test_files_of_peoples_tools_are_read_right(case):
    names, values = LINES["cases"][case]
    kinds = {"oom": swaplib.read_oom, "grep": swaplib.read_status}
    path = VECTORS / "cases" / f"{case}.txt"
    frame = kinds.get(case.partition("_")[0], swaplib.read_lmkd)(path)
    assert frame[names].to_numpy().tolist() == values
    assert frame.attrs["unread"] == 0
    assert swaplib.read_source(path)[names].to_numpy().tolist() == values


def status(name, rss, swap):
    sizes = f"VmRSS:\t{rss} kB\nRssAnon:\t10 kB\nRssFile:\t5 kB\nRssShmem:\t1 kB\nVmSwap:\t{swap} kB\n"
    return f"Name:\t{name}\nPid:\t7\n{sizes}"


def test_snapshots_have_the_layout_of_the_patchs_memory_table(save):
    frame = swaplib.read_status(save(status("app", 300, 100) + "Name:\tkthreadd\nPid:\t2\n", "fg_5min.txt"))
    assert frame.columns.tolist()[:9] == swaplib.load("mail/process_memory").columns.tolist()
    row = frame.iloc[0]
    assert (row.app, row.label, row.minutes, row.swap_ratio_percent, row.pid) == ("app", "fg_5min", 5, 25, 7)
    assert len(frame) == 1


def test_what_holds_no_snapshot_is_refused_with_what_was_not_understood(save):
    with pytest.raises(ValueError, match=r"no snapshot .*; log\.txt: 1 lines that look like"):
        swaplib.read_status(save("VmSwap: many\n"))


def test_a_file_may_hold_several_snapshots_also_without_names(save):
    text = "VmSwap:\t5 kB\nVmSwap:\t6 kB\r\n"
    frame = swaplib.read_status(save(text + status("a", 1, 2) + status("b", 3, 4)))
    assert frame.vmswap_kib.tolist() == [5, 6, 2, 4]
    assert "2 of 4 snapshots say neither name nor pid" in frame.attrs["notes"][0]


def test_threads_are_no_processes_and_colours_of_grep_are_no_text(save):
    thread = status("app", 300, 100).replace("Pid:", "Tgid:\t7\nPid:")
    frame = swaplib.read_status(save(thread + thread.replace("Pid:\t7", "Pid:\t8")))
    assert frame.pid.tolist() == [7]
    line = "\x1b[35m\x1b[K/proc/{}/status\x1b[m\x1b[K:VmSwap:\t{} kB\n"
    frame = swaplib.read_status(save(line.format("5", 10) + line.format("5/task/6", 10) + line.format(9, 20)))
    assert frame[["pid", "vmswap_kib"]].to_numpy().tolist() == [[5, 10], [9, 20]]


def kills(*times):
    lines = [KILL.replace("2183", str(pid)) for pid in range(len(times))]
    return "\n".join(f"11-24 {time} 6 6 I lmkd: {line}" for time, line in zip(times, lines, strict=True))


def test_a_storm_is_all_kills_of_a_log_or_its_largest_burst_each_death_once(save):
    times = ("10:00:00.000", "10:20:00.100", "10:20:00.150", "10:20:00.400", "11:00:00.000")
    frame = swaplib.read_lmkd(save(kills(*times) + "\n" + kills(*times).splitlines()[-1]))
    assert swaplib.to_storm(frame).processes == 5
    storm = swaplib.to_storm(frame, burst_s=1)
    assert (storm.processes, storm.gap_ns) == (3, [50_000_000, 250_000_000])
    assert (storm.swap_entries, storm.present_pages) == ([22360 // 4] * 3, [188964 // 4] * 3)
    with pytest.raises(ValueError, match="burst_s is -1"):
        swaplib.to_storm(frame, burst_s=-1)


def test_a_storm_needs_memory_in_swap_and_times_or_a_gap(save):
    none, zero = f"I/lmkd( 1): {LINES['lmkd'][0][0]}\n", KILL.replace("22360kB swap", "3kB swap")
    with pytest.raises(ValueError, match="none of 1 rows says how much was in swap"):
        swaplib.to_storm(swaplib.read_lmkd(save(none)))
    with pytest.raises(ValueError, match="none of 1 processes had anything in swap: there is nothing to rel"):
        swaplib.to_storm(swaplib.read_lmkd(save(THREADTIME + zero)))
    brief = f"I/lmkd( 1): {KILL}\n"
    assert swaplib.to_storm(swaplib.read_lmkd(save(brief))).processes == 1
    frame = swaplib.read_lmkd(save(brief + brief.replace("2183", "2184")))
    with pytest.raises(ValueError, match="none of 2 kills has a time; give gap_s"):
        swaplib.to_storm(frame, burst_s=1)
    assert swaplib.to_storm(frame, gap_s=0.25).gap_ns == [250_000_000]


PIECES = [piece for name in ("words", "logcat", "kernel", "clocks", "victims") for piece in LINES[name]]
PIECES += [KILL, OLD, NEW, *(path.read_text() for path in sorted((VECTORS / "cases").glob("*.txt")))]


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=40), st.data())
def test_no_text_breaks_a_reader_and_every_line_is_accounted_for(tmp_path_factory, pieces, data):
    text = "".join(pieces)
    for _ in range(data.draw(st.integers(0, 3))):  # what is torn out
        at, length = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 20))
        text = text[:at] + text[at + length :]
    path = tmp_path_factory.mktemp("log") / "log.txt"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    lines = path.read_bytes().count(b"\n") + (not path.read_bytes().endswith(b"\n") and bool(text))
    for read in (swaplib.read_lmkd, swaplib.read_oom):
        frame = read(path)
        assert frame.attrs["lines"] == lines
        assert len(frame) + frame.attrs["other"] + frame.attrs["unread"] == lines
        assert min(frame.attrs["other"], frame.attrs["unread"]) >= 0
    try:
        swaplib.to_storm(swaplib.read_status(path))
    except ValueError as refusal:
        told = str(refusal)
    else:
        told = "no snapshot"
    assert re.search("no snapshot|how much was in swap|nothing to release", told), told
