"""A user's file of runs is read as it is meant, or refused with its row and column."""

import json
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import swaplib
from swaplib.evidence.runs import read_runs

ROWS = [("before", 1, "t", "ms", "lower", 3.0), ("before", 2, "t", "ms", "lower", 4.0)]
ROWS += [("after", 1, "t", "ms", "lower", 1.0), ("after", 2, "t", "ms", "lower", 2.5)]
TIDY = "arm,run,metric,unit,better,value\n" + "".join(",".join(map(str, row)) + "\n" for row in ROWS)


@pytest.fixture
def write(tmp_path):
    """Write a file of runs and give its path."""

    def written(content, name="runs.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


def values(frame, arm):
    return frame[frame.arm == arm].value.tolist()


def test_a_tidy_file_is_read_as_it_stands(write):
    frame = read_runs(write(TIDY))
    assert list(frame) == ["arm", "run", "metric", "unit", "better", "value", "file", "row"]
    assert [tuple(row)[:-1] for row in frame.drop(columns="file").itertuples(index=False)] == ROWS
    assert frame.row.tolist() == [2, 3, 4, 5]
    assert frame.attrs["notes"] == []


def test_a_wide_file_of_two_columns_gives_the_same_runs(write):
    frame = read_runs(write("\ufeffbefore_ms,after_ms\n3,1\n4,2.5\n"))  # begins with a byte order mark
    assert (values(frame, "before"), values(frame, "after")) == ([3, 4], [1, 2.5])
    assert set(frame.unit) == {"ms"}
    assert frame.run.tolist() == [1, 2, 1, 2]


def test_arms_of_a_wide_file_may_have_unequal_numbers_of_runs_which_are_no_pairs(write):
    frame = read_runs(write("before,after,other\n3,1,9\n4,2,8\n,3,7\n"), arms=["before", "after", "other"])
    assert frame.groupby("arm", observed=True).size().to_dict() == {"before": 2, "after": 3, "other": 3}
    with pytest.raises(ValueError, match=r"runs\.csv, row 2: column 'run' is 1; expected pairs"):
        swaplib.compare(read_runs(write("before,after\n10,\n20,19\n31,29\n")), paired=True)


WIDE = [  # heading, arms (the base first), unit, what the notes say
    ("before_ms,after_ms", ["before", "after"], "ms", ""),
    ("before_µs,after_µs", ["before", "after"], "us", ""),
    ("before (MiB),after (MiB)", ["before", "after"], "MiB", ""),
    ("Before,After", ["Before", "After"], "", ""),
    ("new,old", ["old", "new"], "", ""),
    ("BEFORE / MS,after [ms]", ["BEFORE", "after"], "ms", ""),
    ("#,before,after", ["before", "after"], "", "ignored the columns '#'"),
    ("Unnamed: 0,idx,before,x", ["before", "x"], "", "took as arms 'before', 'x'"),
    ("control,treatment,treatment_2", ["control", "treatment", "treatment_2"], "", ""),
    ("before,x,y", ["before", "x", "y"], "", "took as arms 'before', 'x', 'y'"),
    ("order,before,after", ["before", "after"], "", "ignored the columns 'order'"),
    ("iteration,before,x", ["before", "x"], "", "ignored the columns 'iteration'"),
    (",before,after", ["before", "after"], "", "ignored the columns 'column 1'"),
    ("before_ms,after_ms,delta_ms", ["before", "after"], "ms", "ignored the columns 'delta_ms'"),
    ("before,zswap,faults,pswpin", ["before", "zswap"], "", "ignored the columns 'faults', 'pswpin'"),
    ("baseline,x,speedup", ["baseline", "x"], "", "ignored the columns 'speedup'"),
]


@pytest.mark.parametrize(("heading", "arms", "unit", "noted"), WIDE, ids=[one[0] for one in WIDE])
def test_arms_are_told_by_the_heading_and_other_columns_noted(write, heading, arms, unit, noted):
    row = ",".join(str(place) for place, _ in enumerate(heading.split(",")))
    frame = read_runs(write("\n".join([heading, row, row])))
    assert frame.attrs["base"] == arms[0]
    assert set(frame.arm) == set(arms)
    assert set(frame.unit) == {unit}
    assert noted in " ".join(frame.attrs["notes"])


def test_a_column_of_text_is_no_arm_and_runs_may_have_names(write):
    frame = read_runs(write("run,before,x,note\nboot-a,1,2,warm\nboot-b,3,4,cold\n"))
    assert set(frame.arm) == {"before", "x"}
    assert frame.run.tolist() == ["boot-a", "boot-b"] * 2


def test_benchmarks_in_a_column_of_their_own_are_not_pooled(write):
    frame = read_runs(write("benchmark,before,after\nfork,1,2\nexec,30,40\nfork,2,3\n"))
    assert frame.metric.tolist() == ["fork", "exec", "fork"] * 2
    assert frame.run.tolist() == [1, 1, 2] * 2
    assert "took 'benchmark' as metric" in frame.attrs["notes"][0]
    frame = read_runs(write("app,metric,arm,value\nmail,start,before,1\nmaps,start,before,2\n"))
    assert frame.metric.tolist() == ["mail start", "maps start"]
    assert read_runs(write("control,test\n1.5,2.5\n")).arm.tolist() == ["control", "test"]


def test_arms_of_a_tidy_file_are_chosen_and_its_base_found_in_any_case(write):
    path = write("arm,value\nBefore,1\nv2,2\nv3,3\n")
    frame = read_runs(path, arms=["V3"])
    assert (frame.attrs["base"], frame.arm.tolist()) == ("Before", ["Before", "v3"])
    assert read_runs(path, base="before").attrs["base"] == "Before"
    with pytest.raises(ValueError, match=r"no arm 'v4'; expected one of 'Before', 'v2', 'v3'"):
        read_runs(path, arms=["v4"])


GOOGLE = [
    {"run_name": name, "run_type": kind, "real_time": 2, "time_unit": "s"}
    for name, kind in (("old", "iteration"), ("mean", "aggregate"), ("new", "iteration"))
]
HYPERFINE = '{"results": [{"command": "old", "times": [1, 2]}, {"command": "new", "times": [3, 4]}]}'
JSON = {
    "hyperfine": HYPERFINE,
    "Google": json.dumps({"benchmarks": GOOGLE}),
    "pytest": '{"benchmarks": [{"name": "old", "stats": {"data": [2]}},'
    '{"name": "new", "stats": {"data": [1]}}]}',
}


@pytest.mark.parametrize("tool", JSON)
def test_times_that_a_benchmark_exports_as_json_are_runs_with_the_command_as_arm(write, tool):
    frame = read_runs(write(JSON[tool], "times.json"))
    assert (set(frame.arm), set(frame.unit), frame.attrs["base"]) == ({"old", "new"}, {"s"}, "old")
    assert swaplib.compare(frame).df().arm.tolist() == ["new"]


def test_of_files_by_arm_each_benchmark_is_a_metric_and_the_first_file_the_base(write):
    files = {arm: write(HYPERFINE, f"{arm}.json") for arm in ("b", "a")}
    files["c"] = write("metric,value_s\nold,1\nold,2\nnew,1\n", "c.csv")
    found = swaplib.compare(read_runs(files))
    assert (found.base, set(found.df().arm), set(found.df().metric)) == ("b", {"a", "c"}, {"old", "new"})


def macrobenchmark(runs):
    sampled = {"frameDurationCpuMs": {"P50": 1, "runs": [[1, 2, 3]] * len(runs)}}
    metrics = {"timeToInitialDisplayMs": {"median": 1, "runs": runs}, "frameCount": {"runs": []}}
    return {"name": "launch", "metrics": metrics, "sampledMetrics": sampled}


def test_macrobenchmark_becomes_the_frame_that_compare_takes(write):
    runs = {"before": [10, 11, 12, 13], "after": [5, 6, 7, 8]}
    texts = {arm: json.dumps({"context": {}, "benchmarks": [macrobenchmark(runs[arm])]}) for arm in runs}
    frame = swaplib.read_runs({arm: write(texts[arm], f"{arm}.json") for arm in runs})
    assert frame[frame.metric.str.endswith("p50")].value.unique().tolist() == [2]
    assert set(frame.unit) == {"ms"}
    means = frame[frame.metric == "launch.timeToInitialDisplayMs"].groupby("arm").value.mean()
    assert (means.before, means.after) == (11.5, 6.5)


def test_newlines_in_quotes_are_part_of_a_cell_however_long_the_file(write):
    rows = "".join(f'{"before" if i % 2 else "after"},{i % 97},"one\nbefore,99999"\n' for i in range(3_000))
    frame = read_runs(write("arm,value,note\n" + rows))
    assert (len(frame), frame.value.max()) == (3_000, 96)


def test_semicolons_and_decimal_commas_are_read_and_said(write):
    frame = read_runs(write("before;after\n1,5;2\n3,25;4,5\n"), better="lower")
    assert (values(frame, "before"), values(frame, "after")) == ([1.5, 3.25], [2, 4.5])
    separators, decimals = frame.attrs["notes"]
    assert "took ';' as separator" in separators
    assert "took ',' as decimal mark" in decimals


def test_excels_line_sep_and_remarks_are_passed_over(write):
    frame = read_runs(write("sep=;\n# warm\nbefore;after\n1,5;2\n2;3\n"))
    assert frame.value.tolist() == [1.5, 2, 2, 3]
    assert frame.row.tolist() == [4, 5, 4, 5]


@pytest.mark.parametrize("rows", ["1,234;987\n1,310;1,002", "1.234;987\n1.310;1.002"])
def test_thousands_that_look_like_decimals_are_refused(write, rows):
    with pytest.raises(ValueError, match=r"row 2: '1.234' beside 987 may be thousands or decimals"):
        read_runs(write(f"before;after\n{rows}\n"))


def test_a_direction_that_nobody_gave_is_assumed_and_said(write):
    path = write("before,after\n1,2\n3,4\n")
    assert read_runs(path).attrs["notes"] == ["runs.csv does not say which direction is better: took lower"]
    assert read_runs(path, better="higher").attrs["notes"] == []
    assert set(read_runs(path, better="higher").better) == {"higher"}


def test_a_count_has_no_unit_and_headings_may_have_capitals(write):
    frame = read_runs(write("Arm,Metric,Unit,Value\nbefore,t,ms,1\nbefore,n,,2\nafter,t,ms,1\nafter,n,,2\n"))
    assert frame.unit.tolist() == ["ms", "", "ms", ""]


REFUSED = [
    ("arm,time\nbefore,1\n", "row 1: there is no column 'value' in"),
    ("run,value\n1,1\n", "row 1: there is no column 'arm'"),
    ("x,y\n1,2\n3,4\n", "row 1: no column is 'before'"),
    ("before_ms,after_ms\n1,2\n3,n/a\n", "row 3: column 'after_ms' is 'n/a'; expected a number"),
    ("arm,value\nbefore,1\n\nafter,x\n", "row 4: column 'value' is 'x'"),  # below a blank line
    ("arm,value\nbefore,1\nbefore,\n", "row 3: column 'value' is empty; expected a number"),
    ("arm,value\nbefore,1\n,2\n", "row 3: column 'arm' is empty; expected text"),
    ("before,after\n1,NaN\n3,4\n", "row 2: column 'after' is 'NaN'; expected a number"),
    ("before,after\n1,-inf\n3,4\n", "row 2: column 'after' is '-inf'; expected a number"),
    ("before,after\n1,1e999\n3,4\n", "row 2: column 'after' is '1e999'; expected a number"),
    ("arm,order,value\nbefore,one,1\n", "row 2: column 'order' is 'one'; expected a whole number"),
    ("run,before,after\n1,1,2\n1,3,4\n", "row 3: column 'run' is 1; expected one value a run"),
    (TIDY + "after,2,t,ms,lower,3\n", "row 6: column 'run' is 2; expected one value a run"),
    (TIDY + "after,3,t,s,lower,3\n", "row 6: column 'unit' is 's'; expected one for all runs of a metric"),
    (TIDY + "after,3,t,ms,higher,3\n", "row 6: column 'better' is 'higher'; expected one for all"),
    (TIDY.replace("lower", "up"), "row 2: column 'better' is 'up'; expected lower or higher"),
    ("before_ms,after_s\n1,2\n", "row 1: mixed units in 'before_ms', 'after_s'"),
    ("before;after\n1,5;2\n3;4.5\n", "row 3: column 'after' is '4.5'; expected a number with the d"),
    ("before,after\n1,5,2\n", "row 2: 3 cells; expected 2"),
    ("before,after\n1,2\n3\n", "row 3: 1 cells; expected 2"),
    ('arm,value\nbefore,"1\n', "unexpected end of data; expected comma-separated text"),
    ("", " is empty; expected a heading and one row per run"),
    ("arm,value", " has a heading and no rows; expected one row per run"),
    ("arm,value,value\nbefore,1,2\n", "row 1: column 'value' appears twice"),
    ("arm,value\na,1\nb,2\n", "no metric has runs of the base 'before'"),
    ("arm,order,value\nbefore,1,1\nafter,1,2\n", "row 3: column 'order' is 1; expected one run at a time"),
    ("before,after\n1e160,2e160\n", "row 2: column 'value' is 1e+160; expected a finite number"),
    ("[1, 2]", "is no JSON of runs"),
    ("[" * 100_000, "is no JSON of runs (maximum recursion depth"),
    ('{"benchmarks": []}', "is no JSON of runs (there is no run); expected hyperfine's"),
    (json.dumps({"benchmarks": [macrobenchmark([1])] * 2}), "'launch' stands twice"),
    ('{"benchmarks": [{"name": "a", "stats": {"min": 1}}]}', "saved with --benchmark-save-data"),
    (HYPERFINE.replace("[3", "[null"), "row 3: column 'value' is nan; expected a finite number"),
    (HYPERFINE.replace("[1, 2]", '[1, 2], "exit_codes": [0, 1]'), "a run of 'old' ended with an error"),
    ("# nothing\n# but remarks\n", " has a heading and no rows"),
    ("run,before,after\n1,2,3\nmean,2,3\n", "row 3: column 'run' is 'mean'; expected runs alone"),
    ("before_s,after_ms,after_s\n1,2,3\n", "row 1: mixed units in"),
    ("arm,value\nbefore,1\nbefore,2\n", "no metric has runs of the base 'before' and of another arm"),
    (b"arm,value\nbef\xe4,1\n", "row 2: this is not UTF-8 text"),
    ("before,after\n1,2\n".encode("utf-16"), "row 1: this is not UTF-8 text"),
    (b"arm,value\nbefore\0,1\n", "row 2: this is not UTF-8 text"),
    (f"arm,metric,value\nbefore,{'m' * 200_000},3\nafter,x,1\n", "no metric has runs of the base"),
]


@pytest.mark.parametrize(("content", "words"), REFUSED, ids=range(len(REFUSED)))
def test_a_file_is_refused_with_what_is_wrong_and_where(write, content, words):
    with pytest.raises(ValueError, match=r"runs\.csv|^no metric") as refused:
        swaplib.compare(read_runs(write(content)))
    assert words in str(refused.value)


def test_what_is_no_regular_file_is_refused_before_it_is_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, words in [
        ("https://example.org/runs.csv", "is an address; expected a local file"),
        ("file:///etc/hostname", "is an address"),
        ("/dev/zero", "is a folder, device, pipe or socket"),
        (tmp_path / "pipe", "is a folder, device, pipe or socket"),
        (tmp_path, "is a folder"),
    ]:
        with pytest.raises(ValueError, match=words):
            read_runs(path)
    with pytest.raises(FileNotFoundError, match="does not exist; expected a CSV file"):
        read_runs(tmp_path / "missing.csv")


@given(st.lists(st.floats(-1e149, 1e149, allow_subnormal=False), min_size=2, max_size=20))
def test_every_finite_number_is_read_back_exactly(tmp_path_factory, numbers):
    path = tmp_path_factory.mktemp("exact") / "runs.csv"
    numbers = [x if abs(x) > 1e-149 else 0.0 for x in numbers]
    path.write_text("arm,value\n" + "".join(f"{arm},{x!r}\n" for arm in ("before", "after") for x in numbers))
    assert values(read_runs(path), "after") == numbers


FILES = [TIDY, "sep=;\nbefore;after\n1,5;2\n2,5;1,000\n", "order,before_ms,after_ms,note\n1,2,,x\n2,3,4,y\n"]
FILES += [*JSON.values(), json.dumps({"benchmarks": [macrobenchmark([1, 2])]})]
BITS = st.sampled_from([*',;"#\n{[1-', "1e999", "nan", "\0", "é", "before", "_ms", "null"])


@given(st.sampled_from(FILES), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9), BITS), max_size=4))
def test_no_damage_to_a_file_gives_more_than_a_sentence(tmp_path_factory, text, damages):
    for share, length, bit in damages:
        at = int(share * len(text))
        text = text[:at] + bit + text[at + length :]
    path = tmp_path_factory.mktemp("runs") / "runs.csv"
    path.write_text(text)
    try:
        told = swaplib.compare(read_runs(path)).text()
    except ValueError as refusal:
        told = str(refusal)
    assert re.search(r"\(base\) against|; expected |; there are the arms ", told), told


@pytest.mark.parametrize("other", ["after.1", "after std", "after_order", "after-before", "after/before"])
def test_what_is_said_of_an_arm_is_no_arm_and_noted(write, other):
    runs = swaplib.read_runs(write(f"before,after,{other}\n1,2,3\n4,5,6\n"))
    assert set(runs.arm) == {"before", "after"}
    assert any("ignored the columns" in note for note in runs.attrs["notes"])


@pytest.mark.parametrize("heading", ["", "run", "iteration"])
@pytest.mark.parametrize("summary", ["mean", "Average", "geomean", "25%"])
def test_a_row_that_sums_runs_up_is_refused_wherever_it_says_so(write, heading, summary):
    with pytest.raises(ValueError, match=r"row 4: .*; expected runs alone, without a row that sums them up"):
        swaplib.read_runs(write(f"{heading},before,after\n1,2,3\n2,5,6\n{summary},3,4\n"))
