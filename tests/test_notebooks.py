"""The collection describes itself from its files and refuses parameters as the notebooks do."""

import pytest
from small_collection import DICE, write_collection, write_notebook

from swaplib import run
from swaplib.run import Parameter, UsageError, assign, collection, select


@pytest.fixture
def notebooks(tmp_path):
    return collection(write_collection(tmp_path / "notebooks"))


def test_a_notebook_says_its_name_title_question_and_parameters(notebooks, tmp_path):
    dice = notebooks[1]
    assert (dice.name, dice.title) == ("01_dice", "Dice")
    assert dice.question == "How many sides has the die, and why?"
    assert dice.parameters[0] == Parameter("sides", "int", "6", "sides of the die: 4, 6 or 20")
    assert [p.name for p in dice.parameters] == ["sides", "share", "label", "loud", "throws"]
    assert [n.reads_findings for n in notebooks] == [True, False, False]
    source = "text: str = 'a=b # c'  # shown\nx = [1, 2]"
    write_notebook(tmp_path / "05_x.ipynb", [DICE[0], ("parameters", source)])
    expected = (Parameter("text", "str", "'a=b # c'", "shown"), Parameter("x", "", "[1, 2]", ""))
    assert collection(tmp_path)[0].parameters == expected


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"cells": [3]}'])
def test_a_file_that_is_no_notebook_is_named(tmp_path, text):
    (tmp_path / "05_x.ipynb").write_text(text)
    with pytest.raises(UsageError, match=r"05_x.ipynb is no notebook of format 4"):
        collection(tmp_path)


def test_the_folder_is_the_one_that_the_environment_names(monkeypatch, tmp_path):
    monkeypatch.setenv("SWAPLIB_NOTEBOOKS", str(tmp_path))
    assert run.collection_folder() == tmp_path.resolve()
    monkeypatch.setenv("SWAPLIB_NOTEBOOKS", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"SWAPLIB_NOTEBOOKS\) is .*nowhere', which is not a folder"):
        run.collection_folder()


@pytest.mark.parametrize("name", ["01_dice", "01", "01_d", "01_dice.ipynb", "notebooks/01_dice.ipynb"])
def test_a_notebook_is_chosen_by_name_start_or_path_and_all_without_a_name(notebooks, name):
    assert [n.name for n in select([name], notebooks)] == ["01_dice"]
    assert [n.name for n in select(["02", name, "02_coins"], notebooks)] == ["01_dice", "02_coins"]
    assert select([], notebooks) == notebooks


def test_texts_are_read_by_the_type_that_a_notebook_declares_and_go_to_those_that_do(notebooks):
    texts = {"sides": "4", "share": "1", "label": "7", "loud": "true", "throws": "[3, 4]", "coins": "3"}
    given = assign(notebooks, texts)
    dice = {"sides": 4, "share": 1.0, "label": "7", "loud": True, "throws": [3, 4]}
    assert given == {"00_start": {}, "01_dice": dice, "02_coins": {"coins": 3, "sides": 4}}
    assert isinstance(given["01_dice"]["share"], float)


def test_a_path_is_meant_from_where_the_user_stands(tmp_path, monkeypatch):
    source = 'old: str = ""  # CSV file\nnew: str = ""  # new .toml file\nname: str = ""  # a name'
    write_notebook(tmp_path / "notebooks" / "05_x.ipynb", [DICE[0], ("parameters", source)])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").touch()
    given = assign(collection(tmp_path / "notebooks"), {"old": "mine.csv", "new": "a.toml", "name": "a.toml"})
    assert given["05_x"] == {"old": "../mine.csv", "new": "../a.toml", "name": "a.toml"}


def test_every_notebook_that_refuses_is_heard(notebooks):
    with pytest.raises(UsageError) as caught:
        assign(notebooks, {"sides": "seven"})
    assert str(caught.value).splitlines() == [
        "01_dice: parameter 'sides' is 'seven'; expected one of 4, 6, 20",
        "02_coins: parameter 'sides' is 'seven'; expected a whole number from 2 to 6",
    ]
