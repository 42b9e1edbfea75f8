"""The explorer says what the simulator says, follows its controls, and answers impossible settings with a sentence."""

import json
import xml.etree.ElementTree as ET
from dataclasses import fields, replace
from pathlib import Path

import ipywidgets as widgets
import matplotlib as mpl
import pandas as pd
import pytest
from small_collection import write_collection, write_notebook

import swaplib
from swaplib import cli
from swaplib.analysis.headline import finding
from swaplib.explore import Explorer, Setting, own_values, used_choices
from swaplib.explore_picture import picture

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "explore" / "explorer.ipynb"
POLICIES = list(swaplib.policies().name)
SMALL = Setting(processes=4)


@pytest.fixture(scope="module")
def cells():
    """The notebook's code, cell by cell."""
    stored = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in stored if cell["cell_type"] == "code"]


@pytest.fixture
def explorer(cells, tmp_path):
    """The notebook's own controls, on a storm of few processes, with traces in a folder of their own."""
    namespace = {"widgets": widgets, "swaplib": swaplib, "machines": swaplib.machines()}
    exec(next(cell for cell in cells if cell.startswith("controls")), namespace)
    made = Explorer(namespace["controls"], tmp_path / "traces")
    made.controls["processes"].value = 4
    return made


def test_the_notebook_has_a_control_for_every_field_and_starts_at_the_defaults(cells):
    namespace = {}
    with mpl.rc_context(), pd.option_context("display.max_colwidth", 50):  # its first cell sets both
        for cell in cells[:3]:
            exec(cell, namespace)
    assert namespace["explorer"].setting == Setting()
    assert list(namespace["controls"]) == [field.name for field in fields(Setting)]


def test_a_control_that_is_missing_is_named():
    with pytest.raises(
        ValueError, match=r"there is no control for kernel, storm, .*; expected one for each of machine, "
    ):
        Explorer({"machine": widgets.Dropdown(options=["phone-8gb"])})


def test_the_code_that_it_shows_gives_the_runs_that_it_shows():
    setting = replace(
        SMALL, policy_b="async-per-node", threshold=3, run_entries=16, layout="even-odd", seed=7
    )
    namespace = {"swaplib": swaplib}
    exec(setting.code().replace("swaplib.plot_timeline(*runs)", ""), namespace)
    for mine, shown in zip(setting.runs(), namespace["runs"], strict=True):
        assert mine.summary().equals(shown.summary())
        assert mine.policy == shown.policy


def test_policy_a_is_as_it_is_named_and_policy_b_has_the_choices():
    before, after = replace(SMALL, policy_a="async-v3", threshold=9, max_active=2, worker_nice=5).runs()
    assert before.policy == swaplib.policy("async-v3")
    assert after.policy == swaplib.policy("async-v3", threshold=9, max_active=2, worker_nice=5)


def test_a_choice_that_is_a_policys_own_does_not_rename_it():
    assert (
        replace(SMALL, policy_b="async-v3", **own_values(policy="async-v3")).runs()[1].policy.name
        == "async-v3"
    )


@pytest.mark.parametrize("name", POLICIES)
def test_a_choice_that_is_switched_off_makes_no_difference(name):
    machine, kernel = swaplib.machine("phone-8gb"), swaplib.kernel("6.11")
    storm = swaplib.storm("camera", machine, processes=6, swap_entries=20_000)
    policy = swaplib.policy(name)
    other = {"threshold": 5, "max_active": 3, "worker_nice": 7}
    off = {choice: value for choice, value in other.items() if choice not in used_choices(policy)}
    runs = [
        swaplib.simulate(machine, kernel, storm, p, trace=False).summary()
        for p in (policy, policy.but(**off))
    ]
    assert runs[0].equals(runs[1])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"kernel": "6.18", "policy_b": "slot-cache-async"},
            "Kernel 6.18 cannot serve policy slot-cache-async. Choose",
        ),
        ({"kernel": "7.0", "policy_a": "slot-cache-async"}, "Choose kernel 6.1, 6.11 or 6.12."),
        (
            {"storm": "server", "processes": 100},
            "Storm 'server' has .* swap entries; machine 'phone-8gb' has",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused_in_a_sentence(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        replace(SMALL, **change).runs()


@pytest.mark.parametrize("machine", ["rpi-4b", "phone-8gb"])
def test_the_number_of_processes_that_is_said_to_fit_does_and_one_more_does_not(machine):
    setting = Setting(machine=machine, processes=100)
    with pytest.raises(ValueError, match="fit") as caught:
        setting.runs()
    most = int(str(caught.value).split("At most ")[1].split()[0])
    assert 0 < most < 100
    assert len(replace(setting, processes=most).runs()[0].df_processes()) == most
    with pytest.raises(ValueError, match=f"At most {most} of its processes fit"):
        replace(setting, processes=most + 1).runs()


def test_every_control_is_followed(explorer):
    moves = {
        "seed": 3,
        "processes": 5,
        "run_entries": 8,
        "layout": "even-odd",
        "policy_a": "reaper",
        "kernel": "6.18",
    }
    moves |= {
        "threshold": 9,
        "policy_b": "adaptive",
        "worker_nice": 3,
        "machine": "phone-16gb",
        "storm": "munmap",
    }
    for name, value in moves.items():
        before = explorer.picture.value, explorer.numbers.value, explorer.code.value
        explorer.controls[name].value = value
        after = explorer.picture.value, explorer.numbers.value, explorer.code.value
        assert explorer.message.value == ""
        assert after != before, name


def test_a_storm_and_a_policy_bring_their_own_values(explorer):
    explorer.controls["storm"].value = "munmap"
    assert (explorer.setting.processes, explorer.setting.run_entries, explorer.setting.layout) == (
        1,
        512,
        "sequential",
    )
    explorer.controls["policy_b"].value = "adaptive"
    own = swaplib.policy("adaptive")
    assert (explorer.setting.threshold, explorer.setting.worker_nice) == (own.threshold, own.worker_nice)
    assert not explorer.controls["worker_nice"].disabled
    explorer.controls["policy_b"].value = "sync"
    assert explorer.controls["worker_nice"].disabled


def test_an_impossible_setting_takes_the_picture_away_and_the_next_possible_one_brings_it_back(explorer):
    shown = explorer.picture.value
    explorer.controls["machine"].value = "rpi-4b"
    assert "At most 3 of its processes fit" in explorer.message.value
    assert explorer.picture.value == explorer.numbers.value == explorer.code.value == ""
    assert explorer.traces.disabled
    explorer.controls["machine"].value = "phone-8gb"
    assert explorer.message.value == ""
    assert explorer.picture.value == shown
    assert not explorer.traces.disabled


def test_the_reset_leads_back_to_where_the_controls_started(explorer):
    for name, value in {"storm": "munmap", "policy_b": "sync", "kernel": "7.0", "seed": 5}.items():
        explorer.controls[name].value = value
    explorer.reset.click()
    assert explorer.setting == Setting()
    assert explorer.outcomes[1].policy.name == "async-v3"


def test_the_button_writes_a_trace_for_each_run(explorer):
    explorer.controls["threshold"].value = 3
    explorer.traces.click()
    names = sorted(path.name for path in explorer.folder.iterdir())
    assert names == ["camera-phone-8gb-6.11-async-v3-threshold-3.json", "camera-phone-8gb-6.11-sync.json"]
    assert all(name in explorer.message.value for name in names)
    assert json.loads((explorer.folder / names[0]).read_text())["traceEvents"]
    explorer.traces.click()  # its own traces are replaced
    assert 'role="status"' in explorer.message.value


def test_a_file_that_is_no_trace_is_kept_and_said_to_be_in_the_way(explorer):
    explorer.folder.mkdir()
    mine = explorer.folder / "camera-phone-8gb-6.11-sync.json"
    mine.write_text("mine")
    explorer.traces.click()
    assert mine.read_text() == "mine"
    assert "is not a trace that swaplib wrote" in explorer.message.value


CASES = {
    "camera": Setting(processes=4),
    "one cpu": Setting(machine="lab-2cpu", storm="lab", processes=3),
    "nothing to free": Setting(
        machine="lab-2cpu", storm="munmap", processes=1, run_entries=512, policy_b="adaptive"
    ),
    "nodes": Setting(machine="server-2x48", kernel="6.18", storm="server", processes=8, run_entries=4),
    "same twice": Setting(processes=2, policy_a="async-v3"),
    "long name": Setting(processes=4, threshold=30, max_active=40, worker_nice=-11),
}


@pytest.mark.parametrize("case", CASES)
def test_a_picture_is_well_formed_says_the_finding_and_stays_in_its_frame(case):
    runs = CASES[case].runs()
    root = ET.fromstring(picture(runs))
    assert root.get("aria-label") == finding(runs)
    _, _, width, height = (float(part) for part in root.get("viewBox").split())
    for element in root.iter():
        if element.tag.endswith(("text", "image", "rect")):
            assert 0 <= float(element.get("x")) < width, element.text
            assert 0 <= float(element.get("y")) < height, element.text
    assert "nan" not in ET.tostring(root, encoding="unicode")


def test_a_picture_keeps_its_height_while_a_slider_moves():
    heights = {ET.fromstring(picture(replace(SMALL, threshold=n).runs())).get("viewBox") for n in (0, 2, 30)}
    assert len(heights) == 1


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Make a collection with a notebook for exploring, whose one output is a widget."""
    folder = write_collection(tmp_path / "notebooks")
    (folder / "explore").mkdir()
    widget = ("", "import ipywidgets\nipywidgets.IntSlider()")
    write_notebook(folder / "explore" / "slide.ipynb", [("", "# Slide\n\nHow far?"), widget])
    monkeypatch.setenv("SWAPLIB_NOTEBOOKS", str(folder))
    return folder


def test_list_shows_an_explorer_and_run_says_where_to_open_it(tiny, capsys):
    assert cli.main(["list"]) == 0
    assert "slide  Slide\n    How far?" in capsys.readouterr().out
    assert cli.main(["run", "explore/slide.ipynb"]) == 2
    assert "slide answers while you move its controls" in capsys.readouterr().err
    assert not (tiny.parent / "results").exists()


def test_regenerate_executes_an_explorer_and_stores_no_widget(tiny, capsys):
    assert cli.main(["regenerate", "slide"]) == 0
    stored = json.loads((tiny / "explore" / "slide.ipynb").read_text())
    assert stored["cells"][1]["execution_count"] == 1
    assert stored["cells"][1]["outputs"] == []
    assert "widgets" not in stored["metadata"]
