"""Logs of devices: every common form of a line is read, nothing is dropped unseen, any text is survived."""

import gzip
import json
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
KILLINFO, OLD, NEW = LINES["killinfo"], LINES["old"], LINES["new"]


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


@pytest.mark.parametrize(("text", "names", "rss", "reason"), LINES["continued"])
def test_a_kill_may_take_several_lines(save, text, names, rss, reason):
    frame = swaplib.read_lmkd(save(text))
    assert (frame.process.tolist(), frame.rss_kib.tolist(), frame.reason[0]) == (names, rss, reason)
    assert frame.attrs["unread"] == 0
    assert frame.attrs["other"] + len(frame) == frame.attrs["lines"]


def test_the_size_of_a_kill_that_was_not_understood_is_no_other_kills(save):
    lines = [f"Killing {APP}, adj 906", "Killing 'torn", "   to free 4kB because cache is low"]
    frame = swaplib.read_lmkd(save("".join(f"{THREADTIME}{line}\n" for line in lines)))
    assert (frame.rss_kib.isna().tolist(), frame.attrs["unread"]) == ([True], 2)


@pytest.mark.parametrize(("cut", "swap"), [(None, [22360]), (-len(",22360,254540,5]"), [])])
def test_an_event_tells_of_a_kill_where_no_line_does(save, cut, swap):
    """Android 11 does not know the swap yet."""
    frame = swaplib.read_lmkd(save(KILLINFO[:cut].rstrip("]") + "]"))
    row = frame.iloc[0]
    assert (row.source, row.pid, row.uid, row.oom_score_adj) == ("killinfo", 2183, 10123, 945)
    assert (row.rss_kib, frame.swap_kib.dropna().tolist(), row.reason) == (188964, swap, "killinfo reason 14")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_one_kill_by_lmkd_is_one_row_with_its_event_and_its_end(save, order):
    lines = [f"{THREADTIME}{KILL}; reason: {WHY}", KILLINFO]
    frame = swaplib.read_lmkd(save("\n".join([*(lines[i] for i in order), LINES["died"]])))
    assert frame.source.tolist() == ["lmkd"]
    assert (frame.process[0], frame.swap_kib[0], frame.reason[0]) == ("com.example.app", 22360, WHY)
    assert frame.died_s[0] - frame.time_s[0] == pytest.approx(0.25, abs=0.002)
    assert (frame.attrs["other"], frame.attrs["unread"]) == (2, 0)


def test_a_later_process_with_the_same_number_is_another_kill(save):
    later = KILLINFO.replace("10:00:01", "10:05:01")
    assert len(swaplib.read_lmkd(save(f"{THREADTIME}{KILL}\n{later}\n"))) == 2


@pytest.mark.parametrize(("text", "rss"), LINES["am_kill"])
def test_am_kill_is_read_with_and_without_its_memory(save, text, rss):
    frame = swaplib.read_lmkd(save(f"11-24 10:00:01.500  1000  1234  1300 I am_kill : {text}\n"))
    assert (frame.source[0], frame.process[0], frame.pid[0]) == ("am_kill", "com.example.app", 2183)
    assert frame.rss_kib.dropna().tolist() == rss


def test_what_lmkd_says_without_killing_is_not_taken_for_a_kill(save):
    said = LINES["talk"]
    frame = swaplib.read_lmkd(save("\n".join(THREADTIME + text for text in said)))
    assert (len(frame), frame.attrs["other"], frame.attrs["unread"]) == (0, len(said), 0)


def test_a_line_that_looks_like_a_kill_and_is_not_understood_is_counted_and_shown(save):
    lines = ["I/lmkd( 1): Kill it, whatever it is", "I/other( 1): hello", f"I/lmkd( 1): {KILL}"]
    lines += ["[ 11-24 10:00:01.500   612:  612 I/am_kill ]", "[0,1,a,2,b]", "I(  7:  7) Kill 'torn"]
    frame = swaplib.read_lmkd(save("\n".join(lines)))
    assert (len(frame), frame.attrs["unread"], frame.attrs["other"], frame.attrs["lines"]) == (1, 3, 2, 6)
    assert "log.txt: 3 lines" in frame.attrs["notes"][0]
    assert "line 1: I/lmkd( 1): Kill it" in frame.attrs["notes"][0]


def test_times_count_from_the_first_kill_over_the_end_of_a_year(save):
    lines = [f"{day} 612 612 I lmkd: {KILL}" for day in ("12-31 23:59:59.000", "01-01 00:00:01.250")]
    assert swaplib.read_lmkd(save("\n".join(lines))).time_s.tolist() == [0, 2.25]


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


def test_a_large_log_is_read_in_bounded_memory(tmp_path):
    """40 MB of a usual logcat take hardly more memory than its first tenth; a row is a few hundred bytes."""
    noise = (
        "11-24 10:00:01.500  1000  1234  1300 D SomeService: a message of usual length, about this and that\n"
        * 99
    )
    grown = []
    for megabytes in (4, 40):
        path = tmp_path / f"{megabytes}.txt"
        with path.open("w") as file:
            for number in range(megabytes * 1_000_000 // len(noise)):
                file.write(noise + f"{THREADTIME}{KILL.replace('2183', str(number))}; reason: {WHY}\n")
        tracemalloc.start()
        frame = swaplib.read_lmkd(path)
        grown.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert len(frame) == frame.attrs["lines"] // 100
    assert grown[1] - grown[0] < 1000 * len(frame)


@pytest.mark.parametrize("prefix", LINES["kernel"])
def test_a_table_is_read_behind_every_prefix(save, prefix):
    lines = NEW.splitlines()
    frame = swaplib.read_oom(save("".join(prefix + line + "\n" for line in lines)))
    assert frame.killed.tolist() == [True, True]
    assert frame.process.tolist() == ["sh", "node (1)"]
    assert (frame.swap_kib[1], frame.rss_anon_kib[1], frame.oom_score_adj[0]) == (4000, 4 * 1995157, -1000)
    assert (frame.attrs["unread"], frame.attrs["other"]) == (0, len(lines) - 2)
    assert swaplib.to_storm(frame).swap_entries == [0, 1000]


@pytest.mark.parametrize(("heading", "cells", "swap"), LINES["headings"])
@pytest.mark.parametrize("bracket", ["[ pid ]", "[  pid  ]"])
def test_the_columns_are_those_of_the_heading(save, heading, cells, swap, bracket):
    table = (
        f"{bracket}   uid  tgid total_vm      rss {heading} name\n[  310] 0 310 10000 1000 {cells} udevd\n"
    )
    frame = swaplib.read_oom(save(table))
    assert (frame.process[0], frame.rss_kib[0], frame.swap_kib.dropna().tolist()) == ("udevd", 4000, swap)


@pytest.mark.parametrize("victim", LINES["victims"])
def test_every_form_of_the_victims_line_is_a_row_without_a_table(save, victim):
    frame = swaplib.read_oom(save(f"[1.0] {victim}\n"))
    row = frame.iloc[0]
    assert (row.pid, row.process, row.total_vm_kib, row.rss_anon_kib, row.rss_kib) == (9, "a", 800, 40, 44)
    assert (row.killed, row.event, frame.attrs["unread"]) == (True, 0, 0)


def test_a_child_that_is_killed_instead_is_the_victim(save):
    child = "[1.0] Killed process 2190 (child) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB\n"
    frame = swaplib.read_oom(save(OLD.partition("[ 1.0] Killed")[0] + child))
    assert (frame[frame.killed].process.tolist(), len(frame)) == (["child"], 3)


def test_who_was_to_be_killed_is_the_victim_where_no_line_says_more(save):
    frame = swaplib.read_oom(save(NEW.partition("Memory cgroup out")[0] + OLD))
    assert frame.groupby("event").process.apply(list).tolist() == [
        ["sh", "node (1)"],
        ["systemd-udevd", "stress"],
    ]
    assert frame[frame.killed].process.tolist() == ["node (1)", "stress"]


def test_what_an_old_table_does_not_say_is_read_from_the_victims_line(save):
    frame = swaplib.read_oom(save(OLD))
    victim = frame[frame.killed].iloc[0]
    assert (victim.pid, victim.rss_kib, victim.swap_kib, victim.total_vm_kib) == (
        2183,
        480000,
        20000,
        2000000,
    )
    assert frame.rss_anon_kib.dropna().tolist() == [470000]


def test_victims_keep_their_distance_in_time(save):
    line = "Out of memory: Killed process {0} (a) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB"
    frame = swaplib.read_oom(save("".join(f"[ 12.{t}] " + line.format(t) + "\n" for t in (100, 350))))
    assert frame.time_s.tolist() == [0, 0.25]


def test_a_torn_row_of_a_table_is_counted(save):
    frame = swaplib.read_oom(save(OLD.replace("   10000     1000      22", "    10x")))
    assert (frame.attrs["unread"], len(frame)) == (1, 1)


def columns(frame, *names):
    return frame[list(names)].to_numpy().tolist()


@pytest.mark.parametrize("case", LINES["cases"])
def test_files_of_peoples_tools_are_read_right(case):
    names, values = LINES["cases"][case]
    kinds = {"oom": swaplib.read_oom, "grep": swaplib.read_status}
    frame = kinds.get(case.partition("_")[0], swaplib.read_lmkd)(VECTORS / "cases" / f"{case}.txt")
    assert frame[names].to_numpy().tolist() == values
    assert frame.attrs["unread"] == 0


def status(name, rss, swap):
    sizes = f"VmRSS:\t{rss} kB\nRssAnon:\t10 kB\nRssFile:\t5 kB\nRssShmem:\t1 kB\nVmSwap:\t{swap} kB\n"
    return f"Name:\t{name}\nPid:\t7\n{sizes}"


def test_snapshots_have_the_layout_of_the_patchs_memory_table(save):
    frame = swaplib.read_status(
        [save(status("app", 300, 100), "fg_5min.txt"), save("Name:\tkthreadd\nPid:\t2\n", "k")]
    )
    assert frame.columns.tolist()[:9] == swaplib.load("mail/process_memory").columns.tolist()
    row = frame.iloc[0]
    assert (row.app, row.label, row.minutes, row.swap_ratio_percent, row.pid) == ("app", "fg_5min", 5, 25, 7)
    assert len(frame) == 1


def test_a_file_may_hold_several_snapshots(save):
    text = status("a", 1, 2) + status("b", 3, 4) + "VmSwap:\t5 kB\r\n"
    assert columns(swaplib.read_status(save(text)), "vmswap_kib") == [[2], [4], [5]]


def test_snapshots_in_folders_by_minute_and_by_pattern_are_read(tmp_path):
    for minute in (1, 10):
        folder = tmp_path / f"bg_{minute}min"
        folder.mkdir()
        (folder / "app.status").write_text(status("app", 300, minute))
    for paths in (tmp_path, str(tmp_path / "*" / "*.status"), str(tmp_path / "**" / "app*")):
        frame = swaplib.read_status(paths)
        assert sorted(columns(frame, "minutes", "vmswap_kib")) == [[1, 1], [10, 10]]
        assert set(frame.label) == {"app"}


@pytest.mark.parametrize("text", ["", "VmSwap: many\n"])
def test_what_holds_no_snapshot_is_refused(save, text):
    with pytest.raises(ValueError, match=r"no snapshot with VmRSS in .*log\.txt"):
        swaplib.read_status(save(text))


def benchmark(values, frames, **more):
    sampled = {"frameDurationCpuMs": {"P50": 1, "runs": frames}}
    metrics = {"timeToInitialDisplayMs": {"median": 1, "runs": values}, "frameCount": {"runs": []}}
    return {"name": "launch", "metrics": metrics, "sampledMetrics": sampled, **more}


def saved(save, name, *benchmarks):
    return save(json.dumps({"context": {}, "benchmarks": benchmarks}), name)


def test_macrobenchmark_becomes_the_frame_that_compare_takes(save):
    values = {"before": [10, 11, 12, 13], "after": [5, 6, 7, 8]}
    files = {
        arm: saved(save, f"{arm}.json", benchmark(runs, [[1, 2, 3]] * 4)) for arm, runs in values.items()
    }
    frame = swaplib.read_macrobenchmark(files)
    table = swaplib.compare(frame, "before").df()
    row = table[table.metric == "launch.timeToInitialDisplayMs"].iloc[0]
    assert frame[frame.metric.str.endswith("p50")].value.unique().tolist() == [2]
    assert set(frame.unit) == {"ms"}
    assert row.change_percent == pytest.approx(100 * -5 / 11.5)
    assert frame.attrs["notes"][0] == "before.json: launch.frameCount has no runs"


def test_benchmarks_of_one_name_are_told_apart_by_their_class(save):
    two = [benchmark([10, 11], [[1]], className=f"com.example.{name}") for name in ("Cold", "Hot")]
    frame = swaplib.read_macrobenchmark(saved(save, "x.json", *two))
    assert {"Cold.launch.timeToInitialDisplayMs", "Hot.launch.timeToInitialDisplayMs"} <= set(frame.metric)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"benchmarks": []}', "{", '{"benchmarks": [1]}'])
def test_a_file_without_results_is_refused(save, text):
    with pytest.raises(ValueError, match=r"log\.txt"):
        swaplib.read_macrobenchmark(save(text))


def test_a_run_that_is_no_number_is_named(save):
    with pytest.raises(ValueError, match=r"x\.json: launch\.timeToInitialDisplayMs, run 2 is None"):
        swaplib.read_macrobenchmark(saved(save, "x.json", benchmark([10, None], [[1]])))


def kills(*times):
    lines = [
        f"11-24 {time} 612 612 I lmkd: {KILL.replace('2183', str(pid))}" for pid, time in enumerate(times)
    ]
    return "\n".join(lines)


def test_kills_become_a_storm(save):
    storm = swaplib.to_storm(swaplib.read_lmkd(save(kills("10:00:00.000", "10:00:00.100", "10:00:00.150"))))
    assert storm.swap_entries == [22360 // 4] * 3
    assert storm.present_pages == [188964 // 4] * 3
    assert (storm.processes, storm.gap_ns) == (3, [100_000_000, 50_000_000])


def test_a_storm_of_a_long_log_is_its_largest_burst(save):
    times = ("10:00:00.000", "10:20:00.100", "10:20:00.150", "10:20:00.400", "11:00:00.000")
    frame = swaplib.read_lmkd(save(kills(*times)))
    assert swaplib.to_storm(frame).processes == 5
    storm = swaplib.to_storm(frame, burst_s=1)
    assert (storm.processes, storm.gap_ns) == (3, [50_000_000, 250_000_000])
    with pytest.raises(ValueError, match="burst_s is 0"):
        swaplib.to_storm(frame, burst_s=0)


def test_one_death_that_is_told_twice_is_one_of_the_storm(save):
    assert swaplib.to_storm(swaplib.read_lmkd(save(f"{THREADTIME}{KILL}\n" * 2))).processes == 1


def test_a_storm_of_victims_has_their_anonymous_and_file_pages(save):
    storm = swaplib.to_storm(swaplib.read_oom(save(NEW)))
    assert (storm.present_pages, storm.file_pages) == ([32, 1995157], [257, 141])


def test_a_storm_needs_the_memory_in_swap(save):
    with pytest.raises(ValueError, match="memory in swap"):
        swaplib.to_storm(swaplib.read_lmkd(save(f"I/lmkd( 1): {LINES['lmkd'][0][0]}\n")))


@pytest.mark.parametrize("read", [swaplib.read_lmkd, swaplib.read_oom])
def test_a_missing_file_and_a_folder_are_refused(read, tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")
    with pytest.raises(ValueError, match="not a regular file"):
        read(tmp_path)


@given(st.lists(st.one_of(st.sampled_from(LINES["words"]), st.text(max_size=5)), max_size=60).map("".join))
def test_no_text_breaks_a_reader_and_every_line_is_accounted_for(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("log") / "log.txt"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    lines = path.read_bytes().count(b"\n") + (not path.read_bytes().endswith(b"\n") and bool(text))
    for read in (swaplib.read_lmkd, swaplib.read_oom):
        frame = read(path)
        assert frame.attrs["lines"] == lines
        assert len(frame) + frame.attrs["other"] + frame.attrs["unread"] == lines
        assert min(frame.attrs["other"], frame.attrs["unread"]) >= 0
