"""A user's file of runs is read as it is meant, or refused with its row and column."""

import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaplib.evidence.runs import read_runs

TIDY = (
    "arm,run,metric,unit,better,value\nbefore,1,t,ms,lower,3\nbefore,2,t,ms,lower,4\nafter,1,t,ms,lower,1\n"
)


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
    frame = read_runs(write(TIDY + "after,2,t,ms,lower,2.5\n"))
    assert list(frame) == ["arm", "run", "metric", "unit", "better", "value"]
    assert [tuple(row) for row in frame.itertuples(index=False)] == [
        ("before", 1, "t", "ms", "lower", 3.0),
        ("before", 2, "t", "ms", "lower", 4.0),
        ("after", 1, "t", "ms", "lower", 1.0),
        ("after", 2, "t", "ms", "lower", 2.5),
    ]
    assert frame.attrs["notes"] == []


def test_a_wide_file_of_two_columns_gives_the_same_runs(write):
    frame = read_runs(write("before_ms,after_ms\n3,1\n4,2.5\n"))
    assert values(frame, "before") == [3, 4]
    assert values(frame, "after") == [1, 2.5]
    assert set(frame.unit) == {"ms"}
    assert frame.run.tolist() == [1, 2, 1, 2]


def test_arms_of_a_wide_file_may_have_unequal_numbers_of_runs(write):
    frame = read_runs(write("before,after,other\n3,1,9\n4,2,8\n,3,7\n"))
    assert frame.groupby("arm", observed=True).size().to_dict() == {"before": 2, "after": 3, "other": 3}


def test_the_tables_of_the_mail_are_files_of_runs():
    from swaplib.evidence.datasets import data_folder, load

    frame = read_runs(data_folder() / "mail" / "camera_preview.csv")
    assert frame.value.tolist() == load("mail/camera_preview").value_ms.tolist()
    assert set(frame.unit) == {"ms"}


def test_parquet_gives_the_frame_that_csv_gives(write, tmp_path):
    frame = read_runs(write(TIDY + "after,2,t,ms,lower,2.5\n"))
    frame.to_parquet(tmp_path / "runs.parquet")
    pd.testing.assert_frame_equal(read_runs(tmp_path / "runs.parquet"), frame)


def test_the_base_is_the_first_arm_wherever_it_stands(write):
    frame = read_runs(write("arm,value\na,1\na,2\nb,3\nb,4\n"), base="b")
    assert list(frame.arm.cat.categories) == ["b", "a"]


def test_a_byte_order_mark_is_no_part_of_the_heading(write):
    assert values(read_runs(write(b"\xef\xbb\xbfbefore,after\n1,2\n3,4\n")), "before") == [1, 3]


def test_semicolons_and_decimal_commas_are_read_and_said(write):
    frame = read_runs(write("before;after\n1,5;2\n3,25;4,5\n"), better="lower")
    assert values(frame, "before") == [1.5, 3.25]
    assert values(frame, "after") == [2, 4.5]
    separators, decimals = frame.attrs["notes"]
    assert "semicolons" in separators
    assert "decimal commas" in decimals


def test_a_direction_that_nobody_gave_is_assumed_and_said(write):
    path = write("before,after\n1,2\n3,4\n")
    (note,) = read_runs(path).attrs["notes"]
    assert note == "runs.csv does not say which direction is better: took lower"
    assert read_runs(path, better="higher").attrs["notes"] == []
    assert set(read_runs(path, better="higher").better) == {"higher"}


def test_columns_that_mean_nothing_here_are_ignored_and_said(write):
    (note,) = read_runs(
        write("arm,metric,value,who\nbefore,t,1,x\nbefore,t,2,x\nafter,t,1,x\nafter,t,2,x\n"), "lower"
    ).attrs["notes"]
    assert note == "runs.csv: ignored the columns who"


def test_control_characters_in_names_become_their_escapes(write):
    frame = read_runs(
        write(
            "arm,metric,value\n"
            + "".join(f"{a},\x1b[31m\u202ex,{v}\n" for a in ("before", "after") for v in (1, 2))
        )
    )
    assert set(frame.metric) == {r"\x1b[31m\u202ex"}


def test_blanks_around_names_and_numbers_make_no_difference(write):
    frame = read_runs(write("arm, value\nbefore, 1\n before,2 \nafter,1\nafter , 2\n"))
    assert list(frame.arm.cat.categories) == ["before", "after"]
    assert frame.value.tolist() == [1, 2, 1, 2]


REFUSED = {
    "a missing column": (
        "arm,time\nbefore,1\n",
        "row 1: there is no column 'value'; expected the columns arm",
    ),
    "no arm at all": ("run,value\n1,1\n", "row 1: there is no column 'arm'"),
    "a wide file without the base": ("old,new\n1,2\n3,4\n", "row 1: no column is the base 'before'"),
    "text in numbers": (
        "before_ms,after_ms\n1,2\n3,n/a\n",
        "row 3: column 'after_ms' is 'n/a'; expected a number",
    ),
    "a blank line before the error": ("arm,value\nbefore,1\n\nafter,x\n", "row 4: column 'value' is 'x'"),
    "an empty value": ("arm,value\nbefore,1\nbefore,\n", "row 3: column 'value' is empty; expected a number"),
    "an empty arm": ("arm,value\nbefore,1\n,2\n", "row 3: column 'arm' is empty; expected text"),
    "NaN": ("arm,value\nbefore,1\nbefore,NaN\n", "row 3: column 'value' is 'NaN'; expected a number"),
    "infinity": ("before,after\n1,-inf\n3,4\n", "row 2: column 'after' is '-inf'; expected a number"),
    "a number too large": (
        "before,after\n1,1e999\n3,4\n",
        "row 2: column 'after' is '1e999'; expected a number",
    ),
    "a run that is no whole number": (
        "arm,run,value\nbefore,one,1\n",
        "row 2: column 'run' is 'one'; expected a whole",
    ),
    "one run in an arm": (
        TIDY,
        "row 4: column 'arm' is 'after' only here for metric 't': one run has no spread",
    ),
    "one run in an arm of a wide file": (
        "before,after\n1,\n2,\n3,4\n",
        "row 4: column 'arm' is 'after' only here",
    ),
    "a run twice": (
        "arm,run,value\nbefore,1,1\nbefore,2,2\nbefore,1,2\n",
        "row 4: column 'run' is 1 for the second time in arm 'before' of metric 'runs'; expected one value a run",
    ),
    "mixed units": (
        "arm,unit,value\nbefore,ms,1\nbefore,ms,2\nafter,s,1\nafter,ms,2\n",
        "row 4: column 'unit' is 's' for metric 'runs', elsewhere 'ms'; expected one unit for a metric",
    ),
    "mixed units in a heading": ("before_ms,after_s\n1,2\n", "row 1: mixed units in 'before_ms', 'after_s'"),
    "mixed directions": (
        "arm,better,value\nbefore,lower,1\nbefore,higher,2\nafter,lower,1\n",
        "row 3: column 'better' is 'higher' for metric 'runs', elsewhere 'lower'",
    ),
    "a direction that is none": (
        "arm,better,value\nbefore,up,1\n",
        "row 2: column 'better' is 'up'; expected lower or hi",
    ),
    "decimal points among decimal commas": (
        "before;after\n1,5;2\n3;4.5\n",
        "row 3: column 'after' is '4.5'; expected",
    ),
    "decimal commas between commas": ("before,after\n1,5,2\n", "row 2: 3 cells; expected 2"),
    "a row cut short": ("arm,value\nbefore,1\nbefore\n", "row 3: 1 cell; expected 2"),
    "an open quote": ('arm,value\nbefore,"1\n', "unexpected end of data; expected comma-separated text"),
    "an empty file": ("", " is empty; expected a heading and one row per run"),
    "a heading alone": ("arm,value\n", " has a heading and no rows; expected one row per run"),
    "a nameless column": ("arm,,value\nbefore,1,2\n", "row 1: column 2 has no name"),
    "a column twice": ("arm,value,value\nbefore,1,2\n", "row 1: column 'value' appears twice"),
    "a file without the base": ("arm,value\nold,1\nnew,2\n", "no row of column 'arm' is the base 'before'"),
    "one arm alone": ("arm,value\nbefore,1\nbefore,2\n", "'before' is the only arm"),
    "a metric without the base": (
        "arm,metric,value\nbefore,a,1\nbefore,a,2\nafter,a,1\nafter,a,2\nafter,b,1\nafter,b,2\n",
        "metric 'b' has no run of the base 'before'",
    ),
    "bytes that are no text": (b"arm,value\nbef\xe4,1\n", "byte 0xe4 is not UTF-8; expected UTF-8 text"),
    "UTF-16": ("before,after\n1,2\n".encode("utf-16"), " is UTF-16; expected CSV in UTF-8"),
    "a spreadsheet": (b"PK\x03\x04 and so on", " is a binary file; expected CSV in UTF-8, or parquet"),
    "NUL bytes": (b"arm,value\nbefore\0,1\n", " is a binary file"),
    "parquet cut short": (b"PAR1 and no more", "expected a parquet file"),
}


@pytest.mark.parametrize(("content", "words"), REFUSED.values(), ids=REFUSED)
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


def test_parquet_with_numbers_that_are_not_finite_is_refused_with_the_row(tmp_path):
    frame = pd.DataFrame({"before": [1.0, 2.0], "after": [1.0, np.inf]})
    frame.to_parquet(tmp_path / "runs.parquet")
    with pytest.raises(ValueError, match=r"runs\.parquet, row 2: column 'after' is inf; expected a number"):
        read_runs(tmp_path / "runs.parquet")


def test_parquet_with_text_for_numbers_is_refused(tmp_path):
    pd.DataFrame({"before": ["1", "2"], "after": [1.0, 2.0]}).to_parquet(tmp_path / "runs.parquet")
    with pytest.raises(ValueError, match=r"column 'before' holds .*string; expected a number in every row"):
        read_runs(tmp_path / "runs.parquet")


def test_a_wrong_direction_is_refused(write):
    with pytest.raises(ValueError, match="better is 'up'; expected one of lower, higher"):
        read_runs(write("before,after\n1,2\n3,4\n"), better="up")
    with pytest.raises(ValueError, match="row 2: column 'better' is 'lower'; expected higher"):
        read_runs(write(TIDY), better="higher")


@given(st.lists(st.floats(-1e300, 1e300, allow_subnormal=False), min_size=2, max_size=20))
def test_every_finite_number_is_read_back_exactly(tmp_path_factory, numbers):
    path = tmp_path_factory.mktemp("exact") / "runs.csv"
    path.write_text("arm,value\n" + "".join(f"{arm},{x!r}\n" for arm in ("before", "after") for x in numbers))
    assert values(read_runs(path), "after") == numbers
