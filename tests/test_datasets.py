"""Tables load by name with their types; a file that is not as it should be is refused by row and column."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import swaplib
from swaplib.evidence import data
from swaplib.evidence.data import Column, read_schema, read_table

BESIDE = Path(swaplib.__file__).resolve().parents[1] / "data"
WORKS = Column("works", "integer", "works", empty="not recorded")
COLUMNS = (
    Column("arm", "text", "arm"),
    Column("run", "integer", "run"),
    Column("ms", "number", "time"),
    WORKS,
)
GOOD = "arm,run,ms,works\nbefore,1,1498.5,3\nafter,2,1396,\n"


@pytest.fixture
def table(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "camera.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_cells_get_the_types_of_their_columns(table):
    frame = read_table(table(GOOD), COLUMNS)
    assert [str(kind) for kind in frame.dtypes] == ["str", "int64", "float64", "float64"]
    assert frame.ms.tolist() == [1498.5, 1396.0]
    assert frame.works.isna().tolist() == [False, True]


def test_printed_cells_stay_text_with_their_decimals(table):
    frame = read_table(table(GOOD.replace("1396,", "1396.00,")), COLUMNS, printed=True)
    assert frame.ms.tolist() == ["1498.5", "1396.00"]
    assert frame.works.tolist() == ["3", ""]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1396", "n/a", r"camera\.csv, row 3: column 'ms' is 'n/a'; expected a number"),
        ("1498.5", "1498,5", r"row 2: 5 cells; expected 4"),
        ("1498.5", '"1498,5"', r"row 2: column 'ms' is '1498,5'"),
        ("1498.5", "nan", r"row 2: column 'ms' is 'nan'"),
        ("1498.5", "inf", r"row 2: column 'ms' is 'inf'"),
        ("1498.5", "", r"row 2: column 'ms' is empty; expected a number"),
        ("before,1", "before,1.5", r"row 2: column 'run' is '1.5'; expected a whole number"),
        ("before,1", "before,9" + "9" * 18, r"row 2: column 'run' is '9{19}'"),
        ("arm,run", "arm,lap", r"row 1: the heading lacks 'run'; expected arm, run"),
        ("works\n", "works,note\n", r"row 1: the heading has 'note' too much"),
        ("arm,run", "run,arm", r"row 1: the heading is in another order"),
        ("1396,", '1396,"2', r"camera\.csv: .*; expected comma-separated text"),
        (GOOD[17:], "", r"has a heading and no rows"),
        (GOOD, "", r"camera\.csv is empty"),
    ],
)
def test_a_malformed_file_is_refused_by_row_and_column(table, old, new, message):
    with pytest.raises(ValueError, match=message):
        read_table(table(GOOD.replace(old, new)), COLUMNS)


def test_a_file_that_is_not_utf_8_and_one_that_is_missing_are_refused(table, tmp_path):
    with pytest.raises(ValueError, match=r"camera\.csv: byte 0xe4 is not UTF-8"):
        read_table(table(GOOD.replace("after", "näch"), encoding="latin-1"), COLUMNS)
    with pytest.raises(
        FileNotFoundError, match=r"gone\.csv is missing; expected the columns arm, run, ms, works"
    ):
        read_table(tmp_path / "gone.csv", COLUMNS)


@given(st.text(max_size=12).filter(lambda cell: not (cell.isascii() and any(map(str.isdigit, cell)))))
def test_no_text_without_a_digit_passes_for_a_number(tmp_path_factory, cell):
    path = tmp_path_factory.mktemp("cells") / "camera.csv"
    quoted = cell.replace('"', '""')
    path.write_text(f'ms\n"{quoted}"\n', encoding="utf-8", errors="replace", newline="")
    with pytest.raises(ValueError, match=r"row 2|expected"):
        read_table(path, COLUMNS[2:3])


@given(st.decimals(min_value=-(10**12), max_value=10**12, places=6), st.integers(-99, 99))
def test_every_printed_number_reads_back(tmp_path_factory, value, exponent):
    path = tmp_path_factory.mktemp("numbers") / "camera.csv"
    path.write_text(f"ms\n{value:f}\n{value:f}e{exponent}\n", encoding="utf-8")
    assert read_table(path, COLUMNS[2:3]).ms.tolist() == [float(value), float(f"{value:f}e{exponent}")]


def test_every_dataset_loads_with_the_rows_that_datasets_lists():
    for entry in swaplib.datasets().itertuples():
        assert len(swaplib.load(entry.name)) == entry.rows > 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mail/camera_cold_star", r"'mail/camera_cold_star'; did you mean 'mail/camera_cold_start'\?"),
        ("camera_preview", "did you mean 'mail/camera_preview'"),
        *((name, "there is no dataset") for name in ("../x", "mail/../mail/claims", "/etc/passwd", "", None)),
    ],
)
def test_a_name_that_is_none_suggests_close_ones_and_is_no_path(name, said):
    with pytest.raises(ValueError, match=said):
        swaplib.load(name)


def test_data_beside_the_package_is_found_first(monkeypatch, tmp_path):
    monkeypatch.setenv("SWAPLIB_DATA", str(tmp_path))
    assert (data.data_folder() / "mail" / "claims.csv").is_file()


def test_without_data_beside_the_package_swaplib_data_says_where(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "__file__", str(tmp_path / "site" / "swaplib" / "evidence" / "data.py"))
    shutil.copytree(BESIDE, tmp_path / "own", ignore=shutil.ignore_patterns("measured", "published"))
    monkeypatch.setenv("SWAPLIB_DATA", str(tmp_path / "own"))
    assert len(swaplib.load("mail/camera_preview")) == 12
    monkeypatch.setenv("SWAPLIB_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"SWAPLIB_DATA is '.*', which has no schema\.toml"):
        swaplib.load("mail/camera_preview")
    monkeypatch.delenv("SWAPLIB_DATA")
    with pytest.raises(
        FileNotFoundError, match="SWAPLIB_DATA is not set; expected SWAPLIB_DATA to be the path"
    ):
        swaplib.load("mail/camera_preview")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"schema\.toml: 'files' is missing"),
        ("[columns\n", r"schema\.toml: "),
        (
            'a = {type = "date", meaning = "a"}\n[files]\n',
            "type of column 'a' is 'date'; expected one of text",
        ),
        ('[files."../x"]\nwhat=""\nsource=""\ncolumns=[]\n', r"file '\.\./x'; expected folder/name"),
        ('[files."mail/x"]\nwhat=""\nsource=""\ncolumns=["a"]\n', "'mail/x' has the column 'a', which"),
        ('[files."mail/x"]\nwhat=""\n', r"schema\.toml: 'columns' is missing"),
    ],
)
def test_a_wrong_schema_is_refused(tmp_path, text, message):
    path = tmp_path / "schema.toml"
    path.write_text("[columns]\n" + text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_schema(path)
