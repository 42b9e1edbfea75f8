"""The explorer says what the simulator says, follows its controls, and answers what cannot be in words."""

import html
import json
import re
import statistics
import threading
from pathlib import Path

import pytest

import swaplib
from swaplib import explore
from swaplib.analysis.words import finding

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "explore" / "explorer.ipynb"
# In an order in which each changes what is shown.
MOVES = {"seed": 3, "processes": 5, "run_entries": 8, "layout": "even-odd", "policy_a": "reaper"}
MOVES |= {"kernel": "6.18", "gap_ms": 30, "load": 20, "threshold": 9, "max_active": 2}
MOVES |= {"policy_b": "adaptive", "worker_nice": 3, "machine": "phone-16gb", "storm": "munmap"}


@pytest.fixture
def explorer(monkeypatch):
    """Controls on a storm of few processes and draws, with a picture that is its sentence alone, quickly."""
    monkeypatch.setattr(explore, "DRAWS", 1)
    monkeypatch.setattr(explore, "plot_timeline", lambda *outcomes, figure: figure)
    made = swaplib.Explorer()
    move(made, processes=4)
    return made


def move(explorer, **values):
    for name, value in values.items():
        explorer.controls[name].value = value
    explorer.wait()


def reset(explorer):
    explorer.reset.click()
    explorer.wait()


def values(explorer, names):
    return {name: explorer.controls[name].value for name in names}


def shown(explorer):
    return explorer.picture.value, explorer.numbers.value, explorer.code.value


def test_the_notebook_imports_swaplib_alone_and_shows_an_explorer():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    (cell,) = (cell for cell in cells if cell["cell_type"] == "code")
    source = "".join(cell["source"])
    assert re.findall("^import .*|^from .*", source, re.MULTILINE) == ["import swaplib"]
    assert "swaplib.Explorer()" in source
    assert cell["outputs"] == []  # a widget is nothing without its kernel


def test_the_code_that_it_shows_gives_the_runs_that_it_shows(explorer):
    move(explorer, policy_b="async-per-node", threshold=3, run_entries=16, seed=7, gap_ms=2, load=30)
    namespace = {"swaplib": swaplib}
    code = html.unescape(re.search("<pre>(.*)</pre>", explorer.code.value, re.DOTALL)[1])
    exec(code.partition("swaplib.plot_timeline")[0], namespace)
    for mine, outcome in zip(namespace["runs"], explorer.outcomes, strict=True):
        assert mine.summary().equals(outcome.summary())
        assert mine.policy == outcome.policy
    assert mine.policy == swaplib.policy("async-per-node", threshold=3)


def test_every_control_is_followed_and_the_reset_leads_back(explorer):
    assert MOVES.keys() == explorer.controls.keys()
    reset(explorer)
    start, picture = values(explorer, MOVES), explorer.picture.value
    for name, value in MOVES.items():
        before = shown(explorer)
        move(explorer, **{name: value})
        assert explorer.message.value == ""
        assert shown(explorer) != before, name
        assert html.escape(finding(explorer.outcomes)) in explorer.picture.value
    reset(explorer)
    assert values(explorer, MOVES) == start
    assert explorer.picture.value == picture


def test_a_storm_brings_its_own_values(explorer):
    for name in ("lab", "munmap", "camera"):
        move(explorer, storm=name)
        for field, value in values(explorer, ["processes", "run_entries", "layout"]).items():
            assert value == getattr(swaplib.storm(name), field)


def test_a_policy_brings_its_own_choices_which_make_no_difference_where_they_are_switched_off(explorer):
    for name in ("sync", "gather-sync", "slot-cache-async", "async-per-8", "adaptive", "reaper"):
        move(explorer, threshold=3, worker_nice=7, policy_b=name)
        outcome = explorer.outcomes[1]
        assert outcome.policy == swaplib.policy(name)
        assert explorer.controls["worker_nice"].disabled == (not outcome.policy.hold)
        if explorer.controls["worker_nice"].disabled:
            move(explorer, threshold=5, max_active=3, worker_nice=9)
            assert explorer.outcomes[1].summary().equals(outcome.summary())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"policy_b": "slot-cache-async", "kernel": "6.18"}, "'slot-cache-async' needs the slot cache"),
        ({"machine": "rpi-4b", "processes": 12}, "machine 'rpi-4b' has"),
    ],
)
def test_settings_that_do_not_go_together_are_answered_in_words_until_they_do(explorer, changes, sentence):
    picture, before = explorer.picture.value, values(explorer, changes)
    move(explorer, **changes)
    assert sentence in html.unescape(explorer.message.value)
    assert shown(explorer) == ("", "", "")
    move(explorer, **before)
    assert explorer.message.value == ""
    assert explorer.picture.value == picture


def test_several_draws_and_their_median_stand_beside_the_run_that_is_shown(explorer, monkeypatch):
    monkeypatch.setattr(explore, "DRAWS", 3)
    move(explorer, seed=7)
    first = [outcome.summary().foreground_ms for outcome in explorer.outcomes]
    cell = r"\s*<td>([\d.,]+)</td>"
    rows = re.findall(rf"<th>(\d+|median)</th>{cell}{cell}", explorer.numbers.value)
    by_seed = {seed: [float(ms.replace(",", "")) for ms in both] for seed, *both in rows}
    assert [*by_seed] == [*map(str, range(7, 7 + explore.DRAWS)), "median"]
    assert by_seed["7"] == pytest.approx(first, abs=0.06)
    middle = by_seed.pop("median")
    assert middle == [statistics.median(ms) for ms in zip(*by_seed.values(), strict=True)]


def test_it_says_that_it_computes_and_meanwhile_computes_for_the_last_setting_alone(explorer, monkeypatch):
    begun, go, seeds = threading.Event(), threading.Event(), []

    def slow(*models):
        seeds.append(models[-1])
        begun.set()
        assert go.wait(60)
        return simulate(*models)

    simulate = explore.simulate
    monkeypatch.setattr(explore, "simulate", slow)
    explorer.controls["seed"].value = 1
    assert begun.wait(60)
    assert "Computing" in explorer.message.value
    for last in range(2, 9):
        explorer.controls["seed"].value = last
    go.set()
    explorer.wait()
    assert explorer.controls["seed"].value == last
    assert set(seeds) == {1, last}
    assert len(seeds) == 4
    assert {outcome.seed for outcome in explorer.outcomes} == {last}
    assert explorer.message.value == ""
    assert html.escape(finding(explorer.outcomes)) in explorer.picture.value
