"""Logs of real devices: every known form of a line is read, nothing is dropped unseen, and any text is survived."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import swaplib

KILL = "Kill 'com.example.app' (2183), uid 10123, oom_score_adj 945 to free 188964kB rss, 22360kB swap"
WHY = "reason: low watermark is breached and swap is low (0kB < 512kB)"
FORMATS = {
    "threadtime": "11-24 10:00:01.500   612   612 I lowmemorykiller: ",
    "threadtime with uid": "11-24 10:00:01.500  lmkd   612   612 I lmkd    : ",
    "threadtime with year": "2026-11-24 10:00:01.500000 +0000   612   612 I lowmemorykiller: ",
    "epoch": "1764000001.500   612   612 I lmkd    : ",
    "time": "11-24 10:00:01.500 I/lowmemorykiller(  612): ",
    "brief": "I/lowmemorykiller(  612): ",
    "tag": "I/lmkd: ",
}
LMKD = {
    "Android 9": ("Killing 'com.example.app' (2183), uid 10123, adj 900 to free 55304kB", {"rss_kib": 55304}),
    "Android 11": (f"{KILL}; {WHY}", {"rss_kib": 188964, "swap_kib": 22360, "uid": 10123, "oom_score_adj": 945}),
    "anonymous and dmabuf": (
        "Kill 'a b' (7), uid 1, oom_score_adj 0 to free 100kB rss, 60kB anon rss, 20kB swap, 8kB dmabuf rss; reason: x",
        {"rss_kib": 100, "rss_anon_kib": 60, "swap_kib": 20, "dmabuf_kib": 8},
    ),
    "names before sizes": (
        "Kill 'c' (7), uid 1, oom_score_adj 0 to free 100kB rss (anon 60kB, dmabuf: 8kB), 20kB swap; reason: 5kB swap",
        {"rss_kib": 100, "rss_anon_kib": 60, "swap_kib": 20, "dmabuf_kib": 8},
    ),
}
OLD = """\
[ 1.0] stress invoked oom-killer: gfp_mask=0x24201ca, order=0, oom_score_adj=0
[ 1.0] [ pid ]   uid  tgid total_vm      rss nr_ptes nr_pmds swapents oom_score_adj name
[ 1.0] [  310]     0   310    10000     1000      22       3       50         -1000 systemd-udevd
[ 1.0] [ 2183] 10123  2183   500000   120000     900       4     5000           900 stress
[ 1.0] Out of memory: Kill process 2183 (stress) score 900 or sacrifice child
[ 1.0] Killed process 2183 (stress) total-vm:2000000kB, anon-rss:470000kB, file-rss:10000kB, shmem-rss:0kB
"""
NEW = """\
Nov 24 10:00:00 host kernel: python3 invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE), order=0
Nov 24 10:00:00 host kernel: Tasks state (memory values in pages):
Nov 24 10:00:00 host kernel: [  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes \
swapents oom_score_adj name
Nov 24 10:00:00 host kernel: [    310]     0   310    10000     1000      700      300         0    77824       50 \
        -1000 systemd-udevd
Nov 24 10:00:00 host kernel: [   2183]  1000  2183   500000   120000   119000     1000         0  1048576     5000 \
            0 Web Content (1)
Nov 24 10:00:00 host kernel: Out of memory: Killed process 2183 (Web Content (1)) total-vm:2000000kB, \
anon-rss:476000kB, file-rss:4000kB, shmem-rss:0kB, UID:1000 pgtables:1024kB oom_score_adj:0
"""


@pytest.fixture
def save(tmp_path):
    def write(text, name="log.txt"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("line", LMKD)
def test_lmkd_is_read_in_every_format_of_logcat(save, format_, line):
    text, expected = LMKD[line]
    frame = swaplib.read_lmkd(save(f"--------- beginning of main\n{FORMATS[format_]}{text}\n"))
    assert frame.attrs["unread"] == 0
    assert frame.iloc[0][list(expected)].to_dict() == expected
    assert frame.attrs["lines"] == 2


def test_the_reason_of_a_kill_is_kept_whole(save):
    assert swaplib.read_lmkd(save(f"{FORMATS['brief']}{KILL}; {WHY}\n")).reason[0] == WHY.removeprefix("reason: ")


def test_the_long_format_has_its_message_on_the_next_line(save):
    text = f"[ 11-24 10:00:01.500   612:  612 I/lowmemorykiller ]\n{KILL}; {WHY}\n\n"
    frame = swaplib.read_lmkd(save(text))
    assert frame.swap_kib.tolist() == [22360]


@pytest.mark.parametrize(
    ("text", "rss"),
    [
        ("[0,2183,com.example.app,945,cached #33]", None),
        ("[0,2183,com.example.app,945,stop com.example, due to x]", None),
        ("[0,2183,com.example.app,945,cached #33,188964]", 188964),
    ],
)
def test_am_kill_is_read_with_and_without_its_memory(save, text, rss):
    frame = swaplib.read_lmkd(save(f"11-24 10:00:01.500  1000  1234  1300 I am_kill : {text}\n"))
    assert (frame.process[0], frame.pid[0], frame.oom_score_adj[0]) == ("com.example.app", 2183, 945)
    assert frame.source[0] == "am_kill"
    assert frame.rss_kib.dropna().tolist() == ([] if rss is None else [rss])


def test_times_count_from_the_first_kill_over_the_end_of_a_year(save):
    lines = [f"{day} 612 612 I lmkd: {KILL}; {WHY}" for day in ("12-31 23:59:59.000", "01-01 00:00:01.250")]
    assert swaplib.read_lmkd(save("\n".join(lines))).time_s.tolist() == [0, 2.25]


def test_a_line_of_lmkd_that_is_not_understood_is_counted_and_shown(save):
    frame = swaplib.read_lmkd(save(f"I/lmkd( 1): Kill it, whatever it is\nI/other( 1): hello\nI/lmkd( 1): {KILL}\n"))
    assert (len(frame), frame.attrs["unread"], frame.attrs["other"], frame.attrs["lines"]) == (1, 1, 1, 3)
    assert "line 1: I/lmkd( 1): Kill it" in frame.attrs["notes"][0]


@pytest.mark.parametrize(("text", "anon"), [(OLD, None), (NEW, 476000)])
def test_the_table_of_the_oom_killer_is_read_with_and_without_kinds_of_memory(save, text, anon):
    frame = swaplib.read_oom(save(text))
    victim = frame[frame.killed].iloc[0]
    assert len(frame) == 2
    assert frame.attrs["unread"] == 0
    assert (victim.pid, victim.rss_kib, victim.swap_kib, victim.total_vm_kib) == (2183, 480000, 20000, 2000000)
    assert victim.process in ("stress", "Web Content (1)")
    assert frame.rss_anon_kib.dropna().tolist() == ([] if anon is None else [2800, anon])


def test_each_use_of_the_oom_killer_is_an_event(save):
    assert swaplib.read_oom(save(OLD + NEW)).groupby("event").size().tolist() == [2, 2]


def test_a_victim_without_a_table_is_a_row(save):
    line = (
        "oom: Memory cgroup out of memory: Killed process 9 (a) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB"
    )
    frame = swaplib.read_oom(save(line))
    assert (frame.rss_anon_kib[0], frame.killed[0], frame.event[0]) == (4, True, 0)


def test_a_torn_row_of_a_table_is_counted(save):
    torn = OLD.replace("[  310]     0   310    10000     1000      22", "[  310]     0   310    10x")
    frame = swaplib.read_oom(save(torn))
    assert (frame.attrs["unread"], len(frame)) == (1, 1)


def status(name, rss, swap):
    return (
        f"Name:\t{name}\nPid:\t7\nVmRSS:\t{rss} kB\nRssAnon:\t10 kB\nRssFile:\t5 kB\nRssShmem:\t1 kB\n"
        f"VmSwap:\t{swap} kB\n"
    )


def test_snapshots_have_the_layout_of_the_patchs_memory_table(save):
    frame = swaplib.read_status([save(status("app", 300, 100), "fg_5min.txt"), save("Name:\tkthreadd\nPid:\t2\n", "k")])
    assert frame.columns.tolist()[:9] == swaplib.load("mail/process_memory").columns.tolist()
    row = frame.iloc[0]
    assert (row.app, row.label, row.minutes, row.swap_ratio_percent) == ("app", "fg_5min", 5, 25)
    assert len(frame) == 1


def test_a_file_may_hold_several_snapshots(save):
    assert swaplib.read_status(save(status("a", 1, 2) + status("b", 3, 4))).app.tolist() == ["a", "b"]


def benchmark(values, frames):
    return {
        "context": {},
        "benchmarks": [
            {
                "name": "launch",
                "metrics": {"timeToInitialDisplayMs": {"median": 1, "runs": values}},
                "sampledMetrics": {"frameDurationCpuMs": {"P50": 1, "runs": frames}},
            }
        ],
    }


def test_macrobenchmark_becomes_the_frame_that_compare_takes(save):
    files = {
        arm: save(json.dumps(benchmark([v + shift for v in (10, 11, 12, 13)], [[1, 2, 3]] * 4)), f"{arm}.json")
        for arm, shift in (("before", 0), ("after", -5))
    }
    frame = swaplib.read_macrobenchmark(files)
    table = swaplib.compare(frame, "before").df()
    row = table[table.metric == "launch.timeToInitialDisplayMs"].iloc[0]
    assert frame[frame.metric.str.endswith("p50")].value.unique().tolist() == [2]
    assert row.change_percent == pytest.approx(100 * -5 / 11.5)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"benchmarks": []}', "{"])
def test_a_file_without_results_is_refused(save, text):
    with pytest.raises(ValueError, match=r"log\.txt"):
        swaplib.read_macrobenchmark(save(text))


def test_kills_become_a_storm(save):
    times = ("10:00:00.000", "10:00:00.100", "10:00:00.150")
    text = "\n".join(f"11-24 {time} 612 612 I lmkd: {KILL}; {WHY}" for time in times)
    storm = swaplib.to_storm(swaplib.read_lmkd(save(text)))
    assert storm.processes == 3
    assert storm.swap_entries == [22360 // 4] * 3
    assert storm.present_pages == [188964 // 4] * 3
    assert storm.gap_ns == [100_000_000, 50_000_000]


def test_only_victims_of_an_oom_table_make_a_storm(save):
    storm = swaplib.to_storm(swaplib.read_oom(save(NEW)))
    assert (storm.processes, storm.swap_entries, storm.present_pages) == (1, [5000], [119000])


def test_a_storm_needs_the_memory_in_swap(save):
    with pytest.raises(ValueError, match="memory in swap"):
        swaplib.to_storm(swaplib.read_lmkd(save(f"I/lmkd( 1): {LMKD['Android 9'][0]}\n")))


@pytest.mark.parametrize("read", [swaplib.read_lmkd, swaplib.read_oom])
def test_a_missing_file_and_a_folder_are_refused(read, tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")
    with pytest.raises(ValueError, match="not a regular file"):
        read(tmp_path)


def test_a_compressed_log_is_read(tmp_path):
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(f"I/lmkd( 1): {KILL}\n".encode()))
    assert len(swaplib.read_lmkd(path)) == 1


def test_an_endless_line_is_one_line(save):
    frame = swaplib.read_lmkd(save("x" * 100_000 + f"\nI/lmkd( 1): {KILL}\n"))
    assert (frame.attrs["lines"], len(frame)) == (2, 1)


WORDS = [
    "I/lmkd( 1): ",
    "am_kill : ",
    "Kill '",
    "' (",
    "[",
    "]",
    ",",
    "9" * 40,
    "kB",
    " to free ",
    "[ pid ] uid ",
    "name",
]
WORDS += ["Killed process 1 (", ") total-vm:", "invoked oom-killer", "\x00", "\n", "[ 1] 1 1", "é", "reason:"]


@given(st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=5)), max_size=60).map("".join))
def test_no_text_breaks_a_reader_and_every_line_is_accounted_for(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("log") / "log.txt"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    for read in (swaplib.read_lmkd, swaplib.read_oom):
        frame = read(path)
        told = frame.attrs["other"] + frame.attrs["unread"]
        assert told <= frame.attrs["lines"]
        assert frame.attrs["lines"] == path.read_bytes().count(b"\n") + (
            not path.read_bytes().endswith(b"\n") and bool(text)
        )
