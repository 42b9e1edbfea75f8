"""Tables load by name with their types, and a file that is not as it should be is refused by row and column."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import swaplib
from swaplib.evidence import datasets
from swaplib.evidence.schema import Column, read_schema
from swaplib.evidence.tables import read_table

BESIDE = Path(swaplib.__file__).resolve().parents[1] / "data"
COLUMNS = (
    Column("arm", "text", "arm"),
    Column("run", "integer", "run"),
    Column("before_ms", "number", "time", unit="ms"),
    Column("works", "integer", "works", empty="not recorded"),
)
GOOD = "arm,run,before_ms,works\nbefore,1,1498.5,3\nafter,2,1396,\n"


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
    assert frame.before_ms.tolist() == [1498.5, 1396.0]
    assert frame.works.isna().tolist() == [False, True]


def test_printed_cells_stay_text_with_their_decimals(table):
    frame = read_table(table(GOOD.replace("1396,", "1396.00,")), COLUMNS, printed=True)
    assert frame.before_ms.tolist() == ["1498.5", "1396.00"]
    assert frame.works.tolist() == ["3", ""]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            GOOD.replace("1396", "n/a"),
            r"camera\.csv, row 3: column 'before_ms' is 'n/a'; expected a number \(ms\)",
        ),
        (GOOD.replace("1498.5", "1498,5"), r"row 2: 5 cells; expected 4"),
        (GOOD.replace("1498.5", '"1498,5"'), r"row 2: column 'before_ms' is '1498,5'"),
        (GOOD.replace("1498.5", "nan"), r"row 2: column 'before_ms' is 'nan'"),
        (GOOD.replace("1498.5", "inf"), r"row 2: column 'before_ms' is 'inf'"),
        (GOOD.replace("1498.5", ""), r"row 2: column 'before_ms' is empty; expected a number"),
        (GOOD.replace("before,1", "before,1.5"), r"row 2: column 'run' is '1.5'; expected a whole number"),
        (GOOD.replace("before,1", "before,9" + "9" * 18), r"row 2: column 'run' is '9{19}'"),
        (GOOD.replace("arm,run", "arm,lap"), r"row 1: the heading lacks 'run'; expected arm, run"),
        (GOOD.replace("works\n", "works,note\n"), r"row 1: the heading has 'note' too much"),
        (GOOD.replace("arm,run", "run,arm"), r"row 1: the heading is in another order"),
        ("\ufeff" + GOOD, r"row 1: the heading lacks 'arm'"),
        (GOOD + "after,2\n", r"row 4: 2 cells; expected 4"),
        (GOOD + 'after,"2\n', r"camera\.csv: .*; expected comma-separated text"),
        ("arm,run,before_ms,works\n", r"has a heading and no rows"),
        ("", r"camera\.csv is empty"),
    ],
)
def test_a_malformed_file_is_refused_by_row_and_column(table, text, message):
    with pytest.raises(ValueError, match=message):
        read_table(table(text), COLUMNS)


def test_a_file_that_is_not_utf_8_is_refused(table):
    with pytest.raises(ValueError, match=r"camera\.csv: byte \d+ is not UTF-8"):
        read_table(table(GOOD.replace("after", "näch"), encoding="latin-1"), COLUMNS)


def test_a_missing_file_is_refused_with_the_columns_it_should_have(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.csv is missing; .* arm, run, before_ms, works"):
        read_table(tmp_path / "gone.csv", COLUMNS)


@given(
    cell=st.text(max_size=12).filter(
        lambda cell: not cell.isascii() or not any(mark.isdigit() for mark in cell)
    )
)
def test_no_text_without_a_digit_passes_for_a_number(tmp_path_factory, cell):
    path = tmp_path_factory.mktemp("cells") / "camera.csv"
    quoted = cell.replace('"', '""')
    try:
        path.write_text(f'value\n"{quoted}"\n', encoding="utf-8", newline="")
    except UnicodeEncodeError:  # half a surrogate pair cannot stand in a file
        return
    with pytest.raises(ValueError, match=r"row 2|expected"):
        read_table(path, (Column("value", "number", "value"),))


@given(value=st.decimals(min_value=-(10**12), max_value=10**12, places=6), exponent=st.integers(-99, 99))
def test_every_printed_number_reads_back(tmp_path_factory, value, exponent):
    path = tmp_path_factory.mktemp("numbers") / "camera.csv"
    path.write_text(f"value\n{value:f}\n{value:f}e{exponent}\n", encoding="utf-8")
    read = read_table(path, (Column("value", "number", "value"),)).value.tolist()
    assert read == [float(value), float(f"{value:f}e{exponent}")]


def test_every_dataset_loads_with_the_rows_that_datasets_lists():
    for entry in datasets.datasets().itertuples():
        assert len(swaplib.load(entry.name)) == entry.rows > 0


def test_an_unknown_name_suggests_close_ones():
    with pytest.raises(ValueError, match=r"'mail/camera_cold_star'; did you mean 'mail/camera_cold_start'\?"):
        swaplib.load("mail/camera_cold_star")


def test_a_name_without_its_folder_suggests_the_whole_one():
    with pytest.raises(ValueError, match=r"did you mean 'mail/camera_preview'"):
        swaplib.load("camera_preview")


@pytest.mark.parametrize("name", ["../x", "mail/../mail/claims", "/etc/passwd", "mail/claims.csv", "", None])
def test_names_are_no_paths(name):
    with pytest.raises(ValueError, match="there is no dataset"):
        swaplib.load(name)


def test_data_beside_the_package_is_found_first(monkeypatch, tmp_path):
    monkeypatch.setenv("SWAPLIB_DATA", str(tmp_path))
    assert (datasets.data_folder() / "mail" / "claims.csv").is_file()


@pytest.fixture
def lonely_package(monkeypatch, tmp_path):
    monkeypatch.delenv("SWAPLIB_DATA", raising=False)
    monkeypatch.setattr(datasets, "__file__", str(tmp_path / "site" / "swaplib" / "evidence" / "datasets.py"))


def test_without_data_beside_the_package_swaplib_data_says_where(lonely_package, monkeypatch, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(BESIDE, own, ignore=shutil.ignore_patterns("measured", "published"))
    monkeypatch.setenv("SWAPLIB_DATA", str(own))
    assert datasets.data_folder() == own
    assert len(datasets.load("mail/camera_preview")) == 12


def test_without_any_data_the_error_names_swaplib_data(lonely_package):
    with pytest.raises(
        FileNotFoundError, match="SWAPLIB_DATA is not set; expected SWAPLIB_DATA to be the path"
    ):
        datasets.load("mail/camera_preview")


def test_a_swaplib_data_without_tables_is_named_in_the_error(lonely_package, monkeypatch, tmp_path):
    monkeypatch.setenv("SWAPLIB_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"SWAPLIB_DATA is '.*', which has no schema\.toml"):
        datasets.load("mail/camera_preview")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[columns]\n", r"schema\.toml: 'files' is missing"),
        ("[columns\n", r"schema\.toml: "),
        (
            '[columns]\na = {type = "date", meaning = "a"}\n[files]\n',
            "column 'a' has type 'date'; expected one of text",
        ),
        (
            '[columns]\n[files."../x"]\nwhat=""\nsource=""\ncolumns=[]\n',
            r"file '\.\./x'; expected folder/name",
        ),
        (
            '[columns]\n[files."mail/x"]\nwhat=""\nsource=""\ncolumns=["a"]\n',
            "'mail/x' has the column 'a', which",
        ),
        ('[columns]\n[files."mail/x"]\nwhat=""\n', r"schema\.toml: 'columns' is missing"),
    ],
)
def test_a_wrong_schema_is_refused(tmp_path, text, message):
    path = tmp_path / "schema.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_schema(path)
