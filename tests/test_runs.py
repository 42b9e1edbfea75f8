"""A user's file of runs is read as it is meant, or refused with its row and column."""

import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import swaplib
from swaplib.evidence.data import data_folder
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
    assert list(frame) == ["arm", "run", "metric", "unit", "better", "value"]
    assert [tuple(row) for row in frame.itertuples(index=False)] == ROWS
    assert frame.attrs["notes"] == []


def test_a_wide_file_of_two_columns_gives_the_same_runs(write):
    frame = read_runs(
        write("\ufeffbefore_ms,after_ms\n3,1\n4,2.5\n")
    )  # a byte order mark is no part of a name
    assert (values(frame, "before"), values(frame, "after")) == ([3, 4], [1, 2.5])
    assert set(frame.unit) == {"ms"}
    assert frame.run.tolist() == [1, 2, 1, 2]


def test_arms_of_a_wide_file_may_have_unequal_numbers_of_runs_which_are_no_pairs(write):
    frame = read_runs(write("before,after,other\n3,1,9\n4,2,8\n,3,7\n"))
    assert frame.groupby("arm", observed=True).size().to_dict() == {"before": 2, "after": 3, "other": 3}
    with pytest.raises(ValueError, match="run 1 is not in both 'before' and 'after'"):
        swaplib.compare(read_runs(write("before,after\n10,\n20,19\n31,29\n")), paired=True)


def test_130_arms_are_compared(write):
    frame = read_runs(
        write("before," + ",".join(f"a{i}" for i in range(130)) + ("\n" + "1," * 130 + "2") * 2)
    )
    assert frame.arm.nunique() == 131


@pytest.mark.parametrize("name", ["order", "index", "iteration"])
def test_a_number_that_counts_runs_is_no_arm_of_a_wide_file(write, name):
    frame = read_runs(write(f"{name},before_ms,after_ms,scenario\n1,3,1,x\n2,4,2.5,y\n"), "lower")
    assert set(frame.arm) == {"before", "after"}
    assert frame.attrs["notes"] == [f"runs.csv: ignored the columns {name}, scenario"]


def test_the_tables_of_the_mail_are_files_of_runs():
    frame = read_runs(data_folder() / "mail" / "camera_preview.csv")
    assert frame.value.tolist() == swaplib.load("mail/camera_preview").value_ms.tolist()
    assert set(frame.unit) == {"ms"}


def test_parquet_gives_the_frame_that_csv_gives(write, tmp_path):
    pytest.importorskip("pyarrow")
    frame = read_runs(write(TIDY))
    frame.to_parquet(tmp_path / "runs.parquet")
    pd.testing.assert_frame_equal(read_runs(tmp_path / "runs.parquet"), frame)
    pd.DataFrame({"before": [1.0, 2.0], "after": [1.0, np.inf]}).to_parquet(tmp_path / "runs.parquet")
    with pytest.raises(ValueError, match=r"runs\.parquet, row 2: column 'after' is 'inf'; expected a number"):
        read_runs(tmp_path / "runs.parquet")
    (tmp_path / "runs.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match="expected a parquet file"):
        read_runs(tmp_path / "runs.parquet")


def test_without_pyarrow_parquet_is_refused_with_what_to_install(write, monkeypatch):
    def missing(path):
        raise ImportError

    monkeypatch.setattr(pd, "read_parquet", missing)
    with pytest.raises(ValueError, match=r"pip install -e \.\[parquet\]"):
        read_runs(write(b"PAR1 and more", "runs.parquet"))


def test_newlines_in_quotes_are_part_of_a_cell_however_long_the_file(write):
    rows = "".join(f'{"before" if i % 2 else "after"},{i % 97},"one\nbefore,99999"\n' for i in range(30_000))
    frame = read_runs(write("arm,value,note\n" + rows))
    assert (len(frame), frame.value.max()) == (30_000, 96)


def test_semicolons_and_decimal_commas_are_read_and_said(write):
    frame = read_runs(write("before;after\n1,5;2\n3,25;4,5\n"), better="lower")
    assert (values(frame, "before"), values(frame, "after")) == ([1.5, 3.25], [2, 4.5])
    separators, decimals = frame.attrs["notes"]
    assert "semicolons" in separators
    assert "decimal commas" in decimals


def test_a_direction_that_nobody_gave_is_assumed_and_said(write):
    path = write("before,after\n1,2\n3,4\n")
    assert read_runs(path).attrs["notes"] == ["runs.csv does not say which direction is better: took lower"]
    assert read_runs(path, better="higher").attrs["notes"] == []
    assert set(read_runs(path, better="higher").better) == {"higher"}


def test_control_characters_in_names_become_their_escapes(write):
    rows = "".join(f"{a},\x1b[31m\u202ex,{v}\n" for a in ("before", "after") for v in (1, 2))
    assert set(read_runs(write("arm,metric,value\n" + rows)).metric) == {r"\x1b[31m\u202ex"}


def test_blanks_around_names_and_numbers_make_no_difference(write):
    frame = read_runs(write("arm, value\nbefore, 1\n before,2 \nafter,1\nafter , 2\n"))
    assert list(frame.arm.cat.categories) == ["before", "after"]
    other = read_runs(write("arm,value\na,1\na,2\nb,3\nb,4\n"), base="b")
    assert list(other.arm.cat.categories) == ["b", "a"]
    assert (frame.value.tolist(), frame.run.tolist()) == ([1, 2, 1, 2], [1, 2, 1, 2])


REFUSED = [
    ("arm,time\nbefore,1\n", "row 1: there is no column 'value'; expected the columns arm"),
    ("run,value\n1,1\n", "row 1: there is no column 'arm'"),
    ("old,new\n1,2\n3,4\n", "row 1: no column is the base 'before'"),
    ("before_ms,after_ms\n1,2\n3,n/a\n", "row 3: column 'after_ms' is 'n/a'; expected a number"),
    ("arm,value\nbefore,1\n\nafter,x\n", "row 4: column 'value' is 'x'"),  # below a blank line
    ("arm,value\nbefore,1\nbefore,\n", "row 3: column 'value' is empty; expected a number"),
    ("arm,value\nbefore,1\n,2\n", "row 3: column 'arm' is empty; expected text"),
    ("before,after\n1,NaN\n3,4\n", "row 2: column 'after' is 'NaN'; expected a number"),
    ("before,after\n1,-inf\n3,4\n", "row 2: column 'after' is '-inf'; expected a number"),
    ("before,after\n1,1e999\n3,4\n", "row 2: column 'after' is '1e999'; expected a number"),
    ("arm,run,value\nbefore,one,1\n", "row 2: column 'run' is 'one'; expected a whole number"),
    (
        TIDY.rpartition("after")[0],
        "row 4: column 'arm' is 'after' only here for metric 't': one run has no spread",
    ),
    ("before,after\n1,\n2,\n3,4\n", "row 4: column 'arm' is 'after' only here"),
    ("run,before,after\n1,1,2\n1,3,4\n", "row 3: column 'run' is 1 for the second time"),
    (
        TIDY + "after,2,t,ms,lower,3\n",
        "row 6: column 'run' is 2 for the second time in arm 'after' of metric 't'",
    ),
    (
        TIDY + "after,3,t,s,lower,3\n",
        "row 6: column 'unit' is 's' for metric 't', elsewhere 'ms'; expected one unit",
    ),
    (
        TIDY + "after,3,t,ms,higher,3\n",
        "row 6: column 'better' is 'higher' for metric 't', elsewhere 'lower'",
    ),
    (TIDY + "after,3,t,ms,up,3\n", "row 6: column 'better' is 'up'; expected lower or higher"),
    (TIDY + "after,1,u,ms,lower,3\n", "no run of arm 'before', which is the base; metric 'u' has 'after'"),
    ("before_ms,after_s\n1,2\n", "row 1: mixed units in 'before_ms', 'after_s'"),
    (
        "before;after\n1,5;2\n3;4.5\n",
        "row 3: column 'after' is '4.5'; expected a number with the decimal mark",
    ),
    ("before,after\n1,5,2\n", "row 2: 3 cells; expected 2"),
    ("before,after\n1,2\n3\n", "row 3: 1 cell; expected 2"),
    ('arm,value\nbefore,"1\n', "unexpected end of data; expected comma-separated text"),
    ("", " is empty; expected a heading and one row per run"),
    ("arm,value", " has a heading and no rows; expected one row per run"),
    ("arm,,value\nbefore,1,2\n", "row 1: column 2 has no name"),
    ("arm,value,value\nbefore,1,2\n", "row 1: column 'value' appears twice"),
    ("arm,value\nold,1\nnew,2\n", "no run of arm 'before', which is the base"),
    ("arm,value\nbefore,1\nbefore,2\n", "'before' is the only arm"),
    (b"arm,value\nbef\xe4,1\n", "byte 0xe4 is not UTF-8; expected UTF-8 text"),
    ("before,after\n1,2\n".encode("utf-16"), " is UTF-16; expected CSV in UTF-8"),
    (b"PK\x03\x04 and so on", " is a binary file; expected CSV in UTF-8, or parquet"),
    (b"arm,value\nbefore\0,1\n", " is a binary file"),
    (f"arm,metric,value\nbefore,{'m' * 200_000},3\nafter,x,1\n", "is the only arm"),
]


@pytest.mark.parametrize(("content", "words"), REFUSED, ids=range(len(REFUSED)))
def test_a_file_is_refused_with_what_is_wrong_and_where(write, content, words):
    with pytest.raises(ValueError, match=r"^runs\.csv") as refused:
        read_runs(write(content))
    assert words in str(refused.value)


def test_what_is_no_regular_file_is_refused_before_it_is_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, words in [
        ("https://example.org/runs.csv", "is an address; expected a local file"),
        ("file:///etc/hostname", "is an address"),
        ("/dev/zero", "is a device, pipe or socket"),
        (tmp_path / "pipe", "is a device, pipe or socket"),
        (tmp_path, "is a folder"),
        ("", "is no path"),
    ]:
        with pytest.raises(ValueError, match=words):
            read_runs(path)
    with pytest.raises(FileNotFoundError, match="does not exist; expected a CSV or parquet file"):
        read_runs(tmp_path / "missing.csv")


def test_a_wrong_direction_is_refused(write):
    with pytest.raises(ValueError, match="better is 'up'; expected one of lower, higher"):
        read_runs(write("before,after\n1,2\n3,4\n"), better="up")
    with pytest.raises(ValueError, match="row 2: column 'better' is 'lower'; expected higher"):
        read_runs(write(TIDY), better="higher")


@given(st.lists(st.floats(-1e299, 1e299, allow_subnormal=False), min_size=2, max_size=20))
def test_every_finite_number_is_read_back_exactly(tmp_path_factory, numbers):
    path = tmp_path_factory.mktemp("exact") / "runs.csv"
    numbers = [x if abs(x) > 1e-299 else 0.0 for x in numbers]
    path.write_text("arm,value\n" + "".join(f"{arm},{x!r}\n" for arm in ("before", "after") for x in numbers))
    assert values(read_runs(path), "after") == numbers
