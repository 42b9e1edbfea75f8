"""The content of a source decides how it is read, and one that is none is refused with what is accepted."""

import gzip

import pytest

import swaplib
from swaplib.analysis import sources

KILL = "11-24 10:00:01.5 6 6 I lmkd: Kill 'a' (7), uid 1, oom_score_adj 0 to free 100kB rss, 40kB swap\n"
OOM = (
    "[1.0] x invoked oom-killer: order=0\n"
    "[1.0] [  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name\n"
    "[1.0] [      7]     0     7    10000     1000    77824       50             0 a\n"
    "[1.0] Out of memory: Killed process 7 (a) total-vm:40000kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB\n"
)
STATUS = "Name:\ta\nPid:\t7\nVmRSS:\t100 kB\nRssAnon:\t60 kB\nVmSwap:\t40 kB\n"
CSV = "kernel,smp,procs,mb,exit_cpu_us_sum\n6.18.1,4,1,64,9000\n6.12.1,4,1,64,9900\n"
BOTH = OOM + KILL * 2  # most kills decide
ALL = "logcat.*dmesg.*snapshots.*'probe'"


@pytest.mark.parametrize(
    ("text", "kind", "rows"),
    [(KILL, "kills", 1), (OOM, "kills", 1), (STATUS, "snapshots", 1), (CSV, "storms", 2), (BOTH, "kills", 2)],
)
def test_a_file_is_what_it_holds(tmp_path, monkeypatch, text, kind, rows):
    (tmp_path / "any.name").write_text(text)
    monkeypatch.chdir(tmp_path)
    frame = swaplib.read_source("any.name")
    assert (frame.attrs["kind"], len(frame)) == (kind, rows)
    assert isinstance(frame.attrs["notes"], list)


def test_what_another_reader_finds_and_a_process_that_is_seen_again_are_said(tmp_path):
    (tmp_path / "both.log").write_text(BOTH)
    notes = swaplib.read_source(tmp_path / "both.log").attrs["notes"]
    assert "left out: 1 that read_oom finds" in notes
    (tmp_path / "again").write_text(STATUS + STATUS.replace("40 kB", "80 kB"))
    frame = swaplib.read_source(tmp_path / "again")
    assert "1 of 2 snapshots are of a process that is seen again" in frame.attrs["notes"][0]
    assert swaplib.to_storm(frame).swap_entries == [20]


def test_a_compressed_log_a_folder_and_a_pattern_are_read(tmp_path):
    (tmp_path / "log.gz").write_bytes(gzip.compress(KILL.encode()))
    assert swaplib.read_source(str(tmp_path / "log.gz")).attrs["kind"] == "kills"
    (tmp_path / "snapshots").mkdir()
    for minute in (1, 5):
        (tmp_path / "snapshots" / f"a_{minute}min.txt").write_text(STATUS)
    for source in (tmp_path / "snapshots", tmp_path / "snapshots" / "*.txt"):
        assert swaplib.read_source(source).minutes.tolist() == [1, 5]


@pytest.mark.parametrize(
    ("name", "kind"), [("measured/exit_storm_6.18_2cpu", "storms"), ("mail/process_memory_v1", "snapshots")]
)
def test_a_table_of_data_is_read_by_name(name, kind):
    assert swaplib.read_source(name).attrs["kind"] == kind


def test_of_several_kernels_one_is_taken(tmp_path):
    (tmp_path / "runs.csv").write_text(CSV)
    assert swaplib.read_source(tmp_path / "runs.csv", "6.12").kernel.tolist() == ["6.12.1"]
    assert len(swaplib.read_source(tmp_path / "runs.csv", "6.1")) == 2
    assert set(swaplib.read_source("measured/exit_storm_instructions", "6.12").kernel) == {"6.12", "6.12+v3"}


@pytest.mark.parametrize("text", ["", "words\n", '{"runs": []}', "a,b\n1,2\n", "\x00\x01"])
def test_a_file_with_nothing_to_read_is_refused_with_what_is_accepted(tmp_path, text):
    (tmp_path / "file").write_text(text)
    with pytest.raises(ValueError, match=f"holds no storm, kill or snapshot.*{ALL}"):
        swaplib.read_source(tmp_path / "file")


def test_a_table_that_lacks_a_column_says_which(tmp_path):
    (tmp_path / "runs.csv").write_text(CSV.replace("smp", "cores"))
    with pytest.raises(ValueError, match="has no column 'smp'"):
        swaplib.read_source(tmp_path / "runs.csv")


@pytest.mark.parametrize("source", ["nowhere.csv", "measured/nothing", "/nowhere/else"])
def test_what_is_neither_file_nor_table_is_refused_with_what_is_accepted(source):
    with pytest.raises(FileNotFoundError, match=f"no file and no table of data/ .*{ALL}"):
        swaplib.read_source(source)


@pytest.mark.parametrize("source", ["mail/claims", "published/kernel_build", "measured/splits"])
def test_a_table_of_data_without_storms_is_refused(source):
    with pytest.raises(ValueError, match="holds no storm, kill or snapshot"):
        swaplib.read_source(source)


def test_this_machine_is_measured_only_when_asked(monkeypatch):
    asked = []
    monkeypatch.setattr(sources, "probe", lambda out: asked.append(out.write_text(CSV)))
    swaplib.read_source("mail/process_memory")
    assert asked == []
    assert swaplib.read_source("probe").attrs["kind"] == "storms"
    assert len(asked) == 1
