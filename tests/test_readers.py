"""Logs of real devices: every known form of a line is read, nothing is dropped unseen, and any text is survived."""

import gzip
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

import swaplib
from swaplib.evidence.datasets import data_folder

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
    "monotonic": "  12.345678   612   612 I lmkd    : ",
    "the old Android Studio": "2026-11-24 10:00:01.500 612-612/? I/lowmemorykiller: ",
    "Android Studio": "2026-11-24 10:00:01.500   612-612   lowmemorykiller         pid-612           I  ",
}
LMKD = {
    "Android 9": ("Killing 'com.example.app' (2183), uid 10123, adj 900 to free 55304kB", {"rss_kib": 55304}),
    "Android 10": (
        "Kill 'com.example.app' (2183), uid 10123, oom_adj 906 to free 55304kB",
        {"rss_kib": 55304, "oom_score_adj": 906},
    ),
    "Android 11, early": (
        "Kill 'com.example.app' (2183), uid 10123, oom_adj 0 to free 55304kB; reason: device is not responding",
        {"rss_kib": 55304, "reason": "device is not responding"},
    ),
    "without a reason": (
        "Kill 'com.example.app:remote' (2183), uid 10123, oom_score_adj -800 to free 55304kB rss, 12kb swap",
        {
            "rss_kib": 55304,
            "swap_kib": 12,
            "process": "com.example.app:remote",
            "oom_score_adj": -800,
            "reason": "",
        },
    ),
    "Samsung": (
        "Reclaim 'com.example.app' (566), uid 1000, oom_score_adj 995, state 19 to free 20768kB rss, 47708kB swap; "
        "reason: min2x watermark is breached even after kill",
        {"rss_kib": 20768, "swap_kib": 47708, "reason": "min2x watermark is breached even after kill"},
    ),
    "Android 16": (
        "Kill 'com.example.app' (17757), uid 1010174, oom_score_adj 0 to free 4445960kB rss, 3990164kB anon rss, "
        "2413008kB swap, 16kB dmabuf_pss, 32kB dmabuf_rss; reason: device is low on swap (1kB < 2kB)",
        {"rss_kib": 4445960, "rss_anon_kib": 3990164, "swap_kib": 2413008, "dmabuf_kib": 16},
    ),
    "without a size": (
        "Kill 'com.example.app' (999), uid 10123, oom_score_adj 5",
        {"pid": 999, "oom_score_adj": 5},
    ),
    "watchdog": ("lmkd watchdog killed process 2183, oom_score_adj 900", {"pid": 2183, "oom_score_adj": 900}),
    "Android 11": (
        f"{KILL}; {WHY}",
        {"rss_kib": 188964, "swap_kib": 22360, "uid": 10123, "oom_score_adj": 945},
    ),
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


def test_the_format_process_has_its_tag_behind_the_message(save):
    assert swaplib.read_lmkd(save(f"I(  612) {KILL}; {WHY}  (lmkd)\n")).swap_kib.tolist() == [22360]


HEAD = "11-24 10:00:01.500   612   612 I lowmemorykiller: "
ANDROID_8 = (
    f"{HEAD}Killing 'com.example.app' (2183), uid 10123, adj 906\n"
    f"{HEAD}   to free 55304kB because system is under critical memory pressure oom_adj 900\n"
    f"{HEAD}Killing 'other' (9), uid 1, adj 900\n"
    f"{HEAD}   to free 4kB because cache 10kB is below limit 20kB for oom_adj 906\n"
    f"{HEAD}   Free memory is 1228kB above reserved\n"
)
DRIVER = (
    "<6>lowmemorykiller: Killing 'd.play.games.ui' (2613) (tgid 2613), adj 1000,\n"
    "<6>   to free 20784kB on behalf of 'kswapd0' (442) because\n"
    "<6>   cache 32112kB is below limit 32384kB for oom_score_adj 1000\n"
    "<6>   Free memory is 17432kB above reserved\n"
    "<6>usb 1-1: new device\n"
)


@pytest.mark.parametrize(
    ("text", "names", "rss", "reason"),
    [
        (
            ANDROID_8,
            ["com.example.app", "other"],
            [55304, 4],
            "system is under critical memory pressure oom_adj 900",
        ),
        (DRIVER, ["d.play.games.ui"], [20784], "cache 32112kB is below limit 32384kB for oom_score_adj 1000"),
        (
            DRIVER.replace("<6>", "<6>[ 12.500000] "),
            ["d.play.games.ui"],
            [20784],
            "cache 32112kB is below limit 32384kB for oom_score_adj 1000",
        ),
    ],
)
def test_a_kill_may_take_several_lines(save, text, names, rss, reason):
    frame = swaplib.read_lmkd(save(text))
    assert (frame.process.tolist(), frame.rss_kib.tolist(), frame.reason[0]) == (names, rss, reason)
    assert frame.attrs["unread"] == 0
    assert frame.attrs["other"] + len(frame) == frame.attrs["lines"]


KILLINFO = (
    "11-24 10:00:01.501   612   612 I killinfo: [2183,10123,945,201,188964,14,93812,638636,34000,1436,53000,4288,"
    "2664712,478784,584484,540460,211764,374244,84116,332916,88448,119632,0,0,840,1016,104,11,0,22360,254540,5,10,"
    "2.730000,1.010000,3.010000,0.650000,11.110000]"
)
DIED = "11-24 10:00:01.750  1000  1234  1300 I am_proc_died: [0,2183,com.example.app,945,19]"


def test_an_event_tells_of_a_kill_where_no_line_does(save):
    row = swaplib.read_lmkd(save(KILLINFO)).iloc[0]
    assert (row.source, row.pid, row.uid, row.oom_score_adj) == ("killinfo", 2183, 10123, 945)
    assert (row.rss_kib, row.swap_kib, row.reason) == (188964, 22360, "killinfo reason 14")


def test_the_event_of_android_11_does_not_know_the_swap(save):
    short = KILLINFO[: KILLINFO.index(",22360")] + "]"
    frame = swaplib.read_lmkd(save(short))
    assert (frame.rss_kib.tolist(), frame.swap_kib.isna().tolist()) == ([188964], [True])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_one_kill_by_lmkd_is_one_row_with_its_event_and_its_end(save, order):
    lines = [f"{FORMATS['threadtime']}{KILL}; {WHY}", KILLINFO]
    frame = swaplib.read_lmkd(save("\n".join([*(lines[i] for i in order), DIED])))
    assert frame.source.tolist() == ["lmkd"]
    assert (frame.process[0], frame.swap_kib[0], frame.reason[0]) == ("com.example.app", 22360, WHY[8:])
    assert frame.died_s[0] - frame.time_s[0] == pytest.approx(0.25, abs=0.002)
    assert (frame.attrs["other"], frame.attrs["unread"]) == (2, 0)


def test_a_later_process_with_the_same_number_is_another_kill(save):
    later = KILLINFO.replace("10:00:01", "10:05:01")
    assert len(swaplib.read_lmkd(save(f"{FORMATS['threadtime']}{KILL}; {WHY}\n{later}\n"))) == 2


def test_what_lmkd_says_without_killing_is_not_taken_for_a_kill(save):
    said = [
        "lmkd data connection established",
        "Using psi monitors for memory pressure detection",
        "Failed to open /proc/16854/oom_score_adj; errno=2: process 16854 might have been killed",
        "cached 0, sandbox(not0) 0",
        "Skipping kill; 12 kB freed elsewhere.",
        "Process got killed in 35ms",
    ]
    frame = swaplib.read_lmkd(save("\n".join(HEAD + text for text in said)))
    assert (len(frame), frame.attrs["other"], frame.attrs["unread"]) == (0, len(said), 0)


def test_a_log_that_powershell_wrote_is_read(tmp_path):
    path = tmp_path / "log.txt"
    path.write_bytes(
        f"--------- beginning of main\r\n{FORMATS['threadtime']}{KILL}; {WHY}\r\n".encode("utf-16")
    )
    frame = swaplib.read_lmkd(path)
    assert (frame.swap_kib.tolist(), frame.attrs["lines"]) == ([22360], 2)


def test_a_large_log_is_read_in_bounded_memory(tmp_path):
    """40 MB of a usual logcat take hardly more memory than its first tenth; a row is a few hundred bytes."""
    noise = (
        "11-24 10:00:01.500  1000  1234  1300 D SomeService: a message of the usual length, about this and that\n"
        * 99
    )
    grown = []
    for megabytes in (4, 40):
        path = tmp_path / f"{megabytes}.txt"
        with path.open("w") as file:
            for number in range(megabytes * 1_000_000 // len(noise)):
                file.write(noise + f"{FORMATS['threadtime']}{KILL.replace('2183', str(number))}; {WHY}\n")
        tracemalloc.start()
        frame = swaplib.read_lmkd(path)
        grown.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert len(frame) == frame.attrs["lines"] // 100
    assert grown[1] - grown[0] < 3000 * len(frame)
    assert grown[1] < 20_000_000


def test_the_reason_of_a_kill_is_kept_whole(save):
    assert swaplib.read_lmkd(save(f"{FORMATS['brief']}{KILL}; {WHY}\n")).reason[0] == WHY.removeprefix(
        "reason: "
    )


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
    frame = swaplib.read_lmkd(
        save(f"I/lmkd( 1): Kill it, whatever it is\nI/other( 1): hello\nI/lmkd( 1): {KILL}\n")
    )
    assert (len(frame), frame.attrs["unread"], frame.attrs["other"], frame.attrs["lines"]) == (1, 1, 1, 3)
    assert "line 1: I/lmkd( 1): Kill it" in frame.attrs["notes"][0]


PREFIXES = {
    "dmesg": "[ 2993.794008] ",
    "dmesg with the caller": "[ 2993.794008][T22609] ",
    "dmesg -T": "[Mon Nov 24 10:00:00 2026] ",
    "dmesg -T of another language": "[月  1月 26 01:49:41 2026] ",
    "dmesg -x": "kern  :info  : [ 2993.794008] ",
    "raw": "<6>[ 2993.794008] ",
    "journalctl": "Nov 24 10:00:00 host kernel: ",
    "journalctl -o short-precise": "Nov 24 10:00:00.123456 host kernel: ",
    "journalctl -o short-iso": "2026-11-24T10:00:00+0100 host kernel: ",
    "journalctl -o short-iso-precise": "2026-11-24T10:00:00.123456+01:00 host kernel: ",
    "journalctl -o short-monotonic": "[ 2993.794008] host kernel: ",
    "journalctl -o cat": "",
    "syslog": "Nov 24 10:00:00 host kernel: [ 2993.794008] ",
    "logcat": "11-24 10:00:00.500     0     0 I         : ",
}
LINES_6 = """\
Thread-2 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=969
CPU: 12 PID: 22609 Comm: node Tainted: P           O       6.8.0-50-generic #51-Ubuntu
memory: usage 4194304kB, limit 4194304kB, failcnt 1273284
Tasks state (memory values in pages):
[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name
[  22608]     0 22608      431      289       32      257         0    49152        0         -1000 sh
[  22609]  1000 22609  2628942  1995298  1995157      141         0 16052224     1000           969 node worker
oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,mems_allowed=0,oom_memcg=/a,task_memcg=/a/b,task=node \
worker,pid=22609,uid=1000
Memory cgroup out of memory: Killed process 22609 (node worker) total-vm:10515768kB, anon-rss:7980628kB, \
file-rss:564kB, shmem-rss:0kB, UID:1000 pgtables:15676kB oom_score_adj:969
Tasks in /a/b are going to be killed due to memory.oom.group set
Memory cgroup out of memory: Killed process 22608 (sh) total-vm:1724kB, anon-rss:128kB, file-rss:1028kB, \
shmem-rss:0kB, UID:0 pgtables:48kB oom_score_adj:-1000
oom_reaper: reaped process 22609 (node worker), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB
"""


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_table_is_read_behind_every_prefix(save, prefix):
    lines = LINES_6.splitlines()
    frame = swaplib.read_oom(save("".join(PREFIXES[prefix] + line + "\n" for line in lines)))
    assert frame.killed.tolist() == [True, True]
    assert frame.process.tolist() == ["sh", "node worker"]
    assert (frame.swap_kib[1], frame.rss_anon_kib[1], frame.oom_score_adj[0]) == (4000, 4 * 1995157, -1000)
    assert (frame.attrs["unread"], frame.attrs["other"]) == (0, len(lines) - 2)
    assert swaplib.to_storm(frame).swap_entries == [0, 1000]


HEADERS = {
    "2.6": (
        "uid  tgid total_vm      rss cpu oom_adj oom_score_adj name",
        "0 310 10000 1000 1 -17 -1000 udevd",
    ),
    "3.10": (
        "uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name",
        "0 310 10000 1000 22 50 -1000 udevd",
    ),
    "4.15": (
        "uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name",
        "0 310 10000 1000 77824 50 0 udevd",
    ),
}


@pytest.mark.parametrize("kernel", HEADERS)
@pytest.mark.parametrize("bracket", ["[ pid ]", "[  pid  ]"])
def test_the_columns_are_those_of_the_heading(save, kernel, bracket):
    heading, row = HEADERS[kernel]
    frame = swaplib.read_oom(save(f"[1.0] {bracket}   {heading}\n[1.0] [  310] {row}\n"))
    assert (frame.process[0], frame.rss_kib[0]) == ("udevd", 4000)
    assert frame.swap_kib.tolist() == pytest.approx([float("nan") if kernel == "2.6" else 200], nan_ok=True)


VICTIMS = {
    "4.x": "Killed process 9 (a) total-vm:800kB, anon-rss:40kB, file-rss:4kB, shmem-rss:0kB",
    "RHEL": "Killed process 9 (a), UID 1001, total-vm:800kB, anon-rss:40kB, file-rss:4kB, shmem-rss:0kB",
    "5.x": "Out of memory: Killed process 9 (a) total-vm:800kB, anon-rss:40kB, file-rss:4kB, shmem-rss:0kB, UID:1001 "
    "pgtables:48kB oom_score_adj:300",
    "allocating": "Out of memory (oom_kill_allocating_task): Killed process 9 (a) total-vm:800kB, anon-rss:40kB, "
    "file-rss:4kB, shmem-rss:0kB",
}


@pytest.mark.parametrize("form", VICTIMS)
def test_every_form_of_the_victims_line_is_read(save, form):
    frame = swaplib.read_oom(save(f"[1.0] {VICTIMS[form]}\n"))
    row = frame.iloc[0]
    assert (row.pid, row.process, row.total_vm_kib, row.rss_anon_kib, row.rss_kib) == (9, "a", 800, 40, 44)
    assert frame.attrs["unread"] == 0


def test_a_child_that_is_killed_instead_is_the_victim(save):
    text = (
        "[1.0] Out of memory: Kill process 2183 (stress) score 900 or sacrifice child\n"
        "[1.0] Killed process 2190 (child) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB\n"
    )
    frame = swaplib.read_oom(save(OLD.partition("[ 1.0] Out of memory")[0] + text))
    assert frame[frame.killed].process.tolist() == ["child"]
    assert len(frame) == 3


def test_who_was_to_be_killed_is_the_victim_where_no_line_says_more(save):
    frame = swaplib.read_oom(save(LINES_6.partition("Memory cgroup out")[0] + OLD))
    assert frame.groupby("event").process.apply(list).tolist() == [
        ["sh", "node worker"],
        ["systemd-udevd", "stress"],
    ]
    assert frame[frame.killed].process.tolist() == ["node worker", "stress"]


def test_victims_keep_their_distance_in_time(save):
    line = "Out of memory: Killed process {0} (a) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB"
    frame = swaplib.read_oom(save("".join(f"[ 12.{t}] " + line.format(t) + "\n" for t in (100, 350))))
    assert frame.time_s.tolist() == [0, 0.25]


@pytest.mark.parametrize(("text", "anon"), [(OLD, [470000]), (NEW, [2800, 476000])])
def test_the_table_of_the_oom_killer_is_read_with_and_without_kinds_of_memory(save, text, anon):
    frame = swaplib.read_oom(save(text))
    victim = frame[frame.killed].iloc[0]
    assert len(frame) == 2
    assert frame.attrs["unread"] == 0
    assert (victim.pid, victim.rss_kib, victim.swap_kib, victim.total_vm_kib) == (
        2183,
        480000,
        20000,
        2000000,
    )
    assert victim.process in ("stress", "Web Content (1)")
    assert (
        frame.rss_anon_kib.dropna().tolist() == anon
    )  # of an old table only the victim's, from its own line


def test_each_use_of_the_oom_killer_is_an_event(save):
    assert swaplib.read_oom(save(OLD + NEW)).groupby("event").size().tolist() == [2, 2]


def test_a_victim_without_a_table_is_a_row(save):
    line = "oom: Memory cgroup out of memory: Killed process 9 (a) total-vm:8kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB"
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
    frame = swaplib.read_status(
        [save(status("app", 300, 100), "fg_5min.txt"), save("Name:\tkthreadd\nPid:\t2\n", "k")]
    )
    assert frame.columns.tolist()[:9] == swaplib.load("mail/process_memory").columns.tolist()
    row = frame.iloc[0]
    assert (row.app, row.label, row.minutes, row.swap_ratio_percent) == ("app", "fg_5min", 5, 25)
    assert len(frame) == 1


def test_a_file_may_hold_several_snapshots(save):
    assert swaplib.read_status(save(status("a", 1, 2) + status("b", 3, 4))).app.tolist() == ["a", "b"]


def test_snapshots_in_folders_by_minute_and_by_pattern_are_read(tmp_path):
    for minute in (1, 10):
        folder = tmp_path / f"bg_{minute}min"
        folder.mkdir()
        (folder / "app.status").write_text(status("app", 300, minute))
    for paths in (tmp_path, str(tmp_path / "*" / "*.status"), str(tmp_path / "**" / "app*")):
        frame = swaplib.read_status(paths)
        assert sorted(zip(frame.minutes, frame.vmswap_kib, strict=True)) == [(1, 1), (10, 10)]
        assert set(frame.label) == {"app"}


def test_a_snapshot_that_was_picked_with_grep_is_read(save):
    text = "/proc/7/status:Name:\tapp\n/proc/7/status:Pid:\t7\n/proc/7/status:VmSwap:\t  100 kB\r\n"
    row = swaplib.read_status(save(text)).iloc[0]
    assert (row.app, row.vmswap_kib, row.pid) == ("app", 100, 7)


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
        arm: save(
            json.dumps(benchmark([v + shift for v in (10, 11, 12, 13)], [[1, 2, 3]] * 4)), f"{arm}.json"
        )
        for arm, shift in (("before", 0), ("after", -5))
    }
    frame = swaplib.read_macrobenchmark(files)
    table = swaplib.compare(frame, "before").df()
    row = table[table.metric == "launch.timeToInitialDisplayMs"].iloc[0]
    assert frame[frame.metric.str.endswith("p50")].value.unique().tolist() == [2]
    assert row.change_percent == pytest.approx(100 * -5 / 11.5)


def test_benchmarks_of_one_name_are_told_apart_by_their_class(save):
    two = benchmark([10, 11], [[1]])
    two["benchmarks"].append(dict(two["benchmarks"][0]))
    for one, name in zip(two["benchmarks"], ("com.example.Cold", "com.example.Hot"), strict=True):
        one["className"] = name
    frame = swaplib.read_macrobenchmark(save(json.dumps(two), "x.json"))
    assert {"Cold.launch.timeToInitialDisplayMs", "Hot.launch.timeToInitialDisplayMs"} <= set(frame.metric)


def test_a_run_that_is_no_number_is_named(save):
    with pytest.raises(ValueError, match=r"x\.json: launch\.timeToInitialDisplayMs, run 2 is None"):
        swaplib.read_macrobenchmark(save(json.dumps(benchmark([10, None], [[1]])), "x.json"))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"benchmarks": []}', "{"])
def test_a_file_without_results_is_refused(save, text):
    with pytest.raises(ValueError, match=r"log\.txt"):
        swaplib.read_macrobenchmark(save(text))


def test_kills_become_a_storm(save):
    times = ("10:00:00.000", "10:00:00.100", "10:00:00.150")
    kills = [KILL.replace("2183", str(pid)) for pid in range(3)]
    text = "\n".join(
        f"11-24 {time} 612 612 I lmkd: {kill}; {WHY}" for time, kill in zip(times, kills, strict=True)
    )
    storm = swaplib.to_storm(swaplib.read_lmkd(save(text)))
    assert storm.processes == 3
    assert storm.swap_entries == [22360 // 4] * 3
    assert storm.present_pages == [188964 // 4] * 3
    assert storm.gap_ns == [100_000_000, 50_000_000]


def test_a_storm_of_a_long_log_is_its_largest_burst(save):
    times = ("10:00:00.000", "10:20:00.100", "10:20:00.150", "10:20:00.400", "11:00:00.000")
    kills = [KILL.replace("2183", str(pid)) for pid in range(5)]
    text = "\n".join(
        f"11-24 {time} 612 612 I lmkd: {kill}; {WHY}" for time, kill in zip(times, kills, strict=True)
    )
    frame = swaplib.read_lmkd(save(text))
    assert swaplib.to_storm(frame).processes == 5
    storm = swaplib.to_storm(frame, burst_s=1)
    assert (storm.processes, storm.gap_ns) == (3, [50_000_000, 250_000_000])
    with pytest.raises(ValueError, match="burst_s is 0"):
        swaplib.to_storm(frame, burst_s=0)


def test_one_death_that_is_told_twice_is_one_of_the_storm(save):
    frame = swaplib.read_lmkd(
        save(f"{FORMATS['threadtime']}{KILL}; {WHY}\n{FORMATS['threadtime']}{KILL}; {WHY}\n")
    )
    assert swaplib.to_storm(frame).processes == 1


def test_only_victims_of_an_oom_table_make_a_storm(save):
    storm = swaplib.to_storm(swaplib.read_oom(save(NEW)))
    assert (storm.processes, storm.swap_entries, storm.present_pages) == (1, [5000], [119000])


def test_a_storm_needs_the_memory_in_swap(save):
    with pytest.raises(ValueError, match="memory in swap"):
        swaplib.to_storm(swaplib.read_lmkd(save(f"I/lmkd( 1): {LMKD['Android 9'][0]}\n")))


STORMS = (
    "kernel,smp,procs,mb,swap_frac,layout_run,folio_pages,fg,exit_cpu_us_sum,swap_back99_us,cpus,note\n"
    "6.18.44,2,1,64,1.0,16,1,0,5000,,2x1024@0/0,\n"
    "6.18.44,2,0,64,1.0,16,1,1,,,2x1024@0/0,\n"
    "6.18.44,2,2,64,1.0,16,512,0,9000,8000,2x1024@0/0,\n"
    "6.18.44,2,2,64,1.0,16,1,0,9500,8500,2x1024@0/0,runs of 1.1 entries\n"
    "6.18.44,2,4,64,1.0,16,16,0,21000,20000,2x1024@0/0,\n"
)


def test_measured_storms_are_read_and_what_no_model_has_is_left_out(save):
    frame = swaplib.read_measurements(save(STORMS, "runs.csv"))
    assert frame.procs.tolist() == [1, 4]
    assert frame.swap_back99_us.isna().tolist() == [True, False]
    assert len(frame.attrs["notes"]) == 3
    cells = swaplib.measured_cells(frame)
    assert cells[cells.metric == "exit_cpu_ms"].measured.tolist() == [5, 21]


def test_the_tables_of_data_are_measured_storms():
    for name in ("exit_storm_6.18_2cpu", "exit_storm_6.12_patched", "exit_storm_instructions"):
        frame = swaplib.read_measurements(data_folder() / "measured" / f"{name}.csv")
        assert len(frame) > 100
        assert not swaplib.measured_cells(frame).empty


def test_a_table_with_the_least_of_columns_is_read(save):
    frame = swaplib.read_measurements(
        save("kernel;smp;procs;mb;last_exit_us\n6.6.1;8;1;64;1500,5\n", "runs.csv")
    )
    (cell,) = swaplib.measured_cells(frame).itertuples()
    assert (cell.measured, cell.layout_run, cell.swap_frac, cell.how, cell.accel) == (
        1.5005,
        1,
        1,
        "exit",
        "native",
    )


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("kernel,", "release,", "has no column 'kernel'; measured storms need kernel, smp, procs, mb"),
        (
            "exit_cpu_us_sum,swap_back99_us",
            "a,b",
            "measures nothing; expected at least one column of exit_cpu_us_sum",
        ),
        ("1,64,1.0", "one,64,1.0", "row 2: column 'procs' is 'one'; expected a whole number"),
        ("1,64,1.0", "1,64,1.5", "row 2: column 'swap_frac' is 1.5; expected a share between 0 and 1"),
        ("1,64,1.0,16", "1,64,1.0,3", "row 2: column 'layout_run' is 3; expected one of 1, -2, 16, 0"),
        ("1,64,1.0", "1,0.5,1.0", "row 2: column 'mb' is 0.5; expected whole MiB"),
        ("0,5000", "0,-5", "row 2: column 'exit_cpu_us_sum' is -5.0; expected 0 or more"),
        ("6.18.44,2,1", ",2,1", "row 2: column 'kernel' is empty"),
        (
            STORMS[STORMS.index("6.18.44,2,1") :],
            "6.18.44,2,0,64,1.0,16,1,1,,,,\n",
            "no row that a model can be compared",
        ),
    ],
)
def test_a_table_of_storms_that_is_wrong_is_refused_with_its_row(save, old, new, says):
    with pytest.raises(ValueError, match=says):
        swaplib.read_measurements(save(STORMS.replace(old, new, 1), "runs.csv"))


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
WORDS += [
    "<6>lowmemorykiller: ",
    "oom-kill:",
    "task=",
    ",pid=1,uid=1",
    "Kill process 1 (",
    ") score",
    "killinfo: ",
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
