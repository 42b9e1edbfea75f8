"""The collection describes itself from its files and refuses parameters as the notebooks do."""

import subprocess
import sys

import papermill
import pytest
from small_collection import DICE, write_collection, write_notebook

from swaplib.execution import child_environment
from swaplib.notebooks import Parameter, UsageError, assign, collection, collection_folder, explorers, select


@pytest.fixture
def notebooks(tmp_path):
    return collection(write_collection(tmp_path / "notebooks"))


def test_a_notebook_says_its_name_title_and_question(notebooks):
    dice = notebooks[1]
    assert (dice.name, dice.title) == ("01_dice", "Dice")
    assert dice.question == "How many sides has the die, and why?"


def test_a_notebook_says_its_parameters_with_type_default_and_help(notebooks):
    assert notebooks[1].parameters[0] == Parameter("sides", "int", "6", "sides of the die: 4, 6 or 20")
    assert [p.name for p in notebooks[1].parameters] == ["sides", "share", "label", "loud", "throws"]
    assert notebooks[1].parameters[4].default == "[1, 2]"


def test_papermill_sees_the_same_parameters(notebooks):
    for notebook in notebooks:
        seen = papermill.inspect_notebook(str(notebook.path)).values()
        assert [tuple(p.values()) for p in seen] == [
            (p.name, p.type, p.default, p.help) for p in notebook.parameters
        ]


def test_a_parameter_may_hold_a_comma_a_hash_or_an_equals_sign(tmp_path):
    cells = [DICE[0], ("parameters", "text: str = 'a=b # c'  # shown\nplain = [1,\n  2]")]
    write_notebook(tmp_path / "05_x.ipynb", cells)
    assert collection(tmp_path)[0].parameters == (
        Parameter("text", "str", "'a=b # c'", "shown"),
        Parameter("plain", "", "[1,\n  2]", ""),
    )


def test_a_parameters_cell_that_is_no_python_is_named(tmp_path):
    write_notebook(tmp_path / "05_x.ipynb", [DICE[0], ("parameters", "sides: int =")])
    with pytest.raises(UsageError, match=r"05_x.ipynb: its cell tagged 'parameters' is not Python"):
        collection(tmp_path)


def test_checkpoints_and_folders_below_are_not_listed(tmp_path):
    folder = write_collection(tmp_path / "notebooks")
    for below in (".ipynb_checkpoints", "explore"):
        (folder / below).mkdir()
        write_notebook(folder / below / "09_other.ipynb", DICE)
    assert [n.name for n in collection(folder)] == ["00_start", "01_dice", "02_coins"]
    assert [n.path for n in explorers(folder)] == [folder / "explore" / "09_other.ipynb"]


def test_a_folder_without_explorers_has_none(tmp_path):
    assert explorers(write_collection(tmp_path / "notebooks")) == []


def test_only_the_notebook_that_reads_findings_waits_for_the_others(notebooks):
    assert [n.reads_findings for n in notebooks] == [True, False, False]


def test_a_file_that_is_no_notebook_is_named(tmp_path):
    (tmp_path / "05_x.ipynb").write_text("{}")
    with pytest.raises(UsageError, match=r"05_x.ipynb is not a notebook of format 4"):
        collection(tmp_path)


def test_the_folder_is_the_one_that_the_environment_names(monkeypatch, tmp_path):
    monkeypatch.setenv("SWAPLIB_NOTEBOOKS", str(tmp_path))
    assert collection_folder() == tmp_path.resolve()
    monkeypatch.setenv("SWAPLIB_NOTEBOOKS", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"SWAPLIB_NOTEBOOKS is .*nowhere', which is not a folder"):
        collection_folder()


@pytest.mark.parametrize("name", ["01_dice", "01", "01_d", "01_dice.ipynb", "notebooks/01_dice.ipynb"])
def test_a_notebook_is_chosen_by_name_start_or_path(notebooks, name):
    assert [n.name for n in select([name], notebooks)] == ["01_dice"]


def test_no_name_chooses_all_and_every_notebook_comes_once(notebooks):
    assert select([], notebooks) == notebooks
    assert [n.name for n in select(["02", "01", "02_coins"], notebooks)] == ["01_dice", "02_coins"]


def test_an_unknown_or_ambiguous_name_is_refused_with_what_there_is(notebooks):
    with pytest.raises(UsageError, match=r"there is no notebook '01_dise'; did you mean 01_dice\?"):
        select(["01_dise"], notebooks)
    with pytest.raises(
        UsageError, match="there is no notebook 'xyz'; expected one of 00_start, 01_dice, 02_coins"
    ):
        select(["xyz"], notebooks)
    with pytest.raises(UsageError, match="notebook '0' could be 00_start or 01_dice or 02_coins"):
        select(["0"], notebooks)


def test_texts_are_read_by_the_type_that_the_notebook_declares(notebooks):
    texts = {"sides": "20", "share": "1", "label": "7", "loud": "true", "throws": "[3, 4]"}
    given = assign(notebooks[1:2], texts)["01_dice"]
    assert given == {"sides": 20, "share": 1.0, "label": "7", "loud": True, "throws": [3, 4]}
    assert isinstance(given["share"], float)


def test_a_parameter_goes_to_the_notebooks_that_declare_it(notebooks):
    given = assign(notebooks, {"sides": "4", "coins": "3"})
    assert given == {"00_start": {}, "01_dice": {"sides": 4}, "02_coins": {"coins": 3, "sides": 4}}


def test_a_text_wins_over_a_value_from_a_file(notebooks):
    assert assign(notebooks[2:], {"coins": "3"}, {"coins": 1, "sides": 5})["02_coins"] == {
        "coins": 3,
        "sides": 5,
    }


def test_a_misspelt_parameter_is_refused_with_what_was_meant(notebooks):
    with pytest.raises(UsageError, match=r"there is no parameter 'side' in 01_dice; did you mean sides\?"):
        assign(notebooks[1:2], {"side": "4"})
    with pytest.raises(
        UsageError, match="there is no parameter 'page_kib' in these notebooks; expected one of coins, "
    ):
        assign(notebooks, {}, {"page_kib": 4})


def test_every_notebook_that_refuses_is_heard(notebooks):
    with pytest.raises(UsageError) as caught:
        assign(notebooks, {"sides": "seven"})
    assert str(caught.value).splitlines() == [
        "01_dice: parameter 'sides' is 'seven'; expected one of 4, 6, 20",
        "02_coins: parameter 'sides' is 'seven'; expected a whole number from 2 to 6",
    ]


def test_a_type_is_checked_even_where_the_notebook_forgot_to(tmp_path):
    forgetful = [*DICE[:2], ("check", "import swaplib"), DICE[3]]
    folder = write_collection(tmp_path / "notebooks", **{"01_dice": forgetful})
    with pytest.raises(UsageError, match="01_dice: parameter 'share' is 'half'; expected a number"):
        assign(select(["01"], collection(folder)), {"share": "half"})


def test_plain_papermill_refuses_in_the_same_words(notebooks, tmp_path):
    with pytest.raises(UsageError) as caught:
        assign(notebooks[1:2], {"sides": "5"})
    words = str(caught.value).removeprefix("01_dice: ")
    command = [
        sys.executable,
        "-m",
        "papermill",
        str(notebooks[1].path),
        str(tmp_path / "out.ipynb"),
        "-p",
        "sides",
        "5",
    ]
    ended = subprocess.run(
        [*command, "--no-progress-bar"], capture_output=True, text=True, cwd=tmp_path, env=child_environment()
    )
    assert ended.returncode == 1
    assert f"ValueError: {words}" in ended.stderr
