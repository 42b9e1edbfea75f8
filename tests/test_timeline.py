"""The picture of a run shows what the run was: its numbers add up, its title is computed, its bytes repeat."""

from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pytest

import swaplib
from swaplib.analysis.cpu_time import ACTIVITIES, timeline_table
from swaplib.analysis.headline import finding
from swaplib.sim.state import CATEGORIES

CASES = {
    "camera": ("phone-8gb", "6.11", "camera", {"processes": 4, "swap_entries": 20_000}),
    "server": ("server-2x48", "6.18", "server", {"processes": 8, "swap_entries": 5_000}),
    "one-cpu": ("lab-1cpu", "6.12", "lab", {"processes": 3, "mb": 8}),
}


@cache
def run(case, policy="sync", **options):
    machine, kernel, storm, choices = CASES[case]
    m = swaplib.machine(machine)
    rule = swaplib.policy(policy)
    return swaplib.simulate(m, swaplib.kernel(kernel), swaplib.storm(storm, m, **choices), rule, **options)


def title(figure):
    return figure.texts[0].get_text().replace("\N{NO-BREAK SPACE}", " ").replace("\n", " ")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("policy", ["sync", "async-v3", "reaper"])
def test_activities_add_up_to_the_cpu_time_of_the_run(case, policy):
    outcome = run(case, policy)
    shown = timeline_table(outcome, bins=37).groupby("activity").cpu_ms.sum()
    spent = outcome.df_cpu().sum()
    for activity, categories in ACTIVITIES.items():
        assert shown[activity] == pytest.approx(spent[list(categories)].sum(), abs=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_every_bin_is_filled_by_its_cpus(case):
    outcome = run(case, "async-v3")
    by_bin = timeline_table(outcome, bins=50).groupby("start_ms").cpu_share.sum()
    assert np.allclose(by_bin, 1)


def test_every_category_of_cpu_time_is_shown_once():
    assert sorted(c for group in ACTIVITIES.values() for c in group) == sorted(CATEGORIES)


def test_a_run_that_was_not_traced_is_refused_by_name():
    with pytest.raises(ValueError, match="policy 'sync' was not traced; simulate it with trace=True"):
        swaplib.plot_timeline(run("one-cpu", trace=False))


def test_the_title_says_which_run_was_sooner():
    before, after = run("camera", "sync"), run("camera", "async-v3")
    assert after.summary().foreground_ms < 0.99 * before.summary().foreground_ms
    assert "sooner under async-v3 than under sync" in finding([before, after])
    assert "later under sync than under async-v3" in finding([after, before])


def test_the_figure_carries_the_computed_finding():
    outcomes = [run("camera", "sync"), run("camera", "async-v3")]
    figure = swaplib.plot_timeline(*outcomes)
    assert title(figure) == finding(outcomes)
    plt.close(figure)


def test_the_same_runs_give_the_same_bytes(tmp_path):
    swaplib.set_style()
    files = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for file in files:
        figure = swaplib.plot_timeline(run("camera"), run("camera", "async-v3"))
        figure.savefig(file, metadata={"Date": None})
        plt.close(figure)
    assert files[0].read_bytes() == files[1].read_bytes()
