"""The picture of a run shows what the run was: its numbers add up, its title is true, labels stay apart."""

import itertools
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

import swaplib
from swaplib.analysis.style import POLICY_LINES, policy_line
from swaplib.analysis.timeline import ACTIVITIES, cpu_time
from swaplib.analysis.words import count, finding, span
from swaplib.sim.state import CATEGORIES

COLOURS = {activity: colour for activity, (colour, _) in ACTIVITIES.items()}

CASES = {
    "camera": ("phone-8gb", "6.11", "camera", {"processes": 4, "swap_entries": 20_000}),
    "whole-camera": ("phone-8gb", "6.11", "camera", {}),
    "late-camera": ("phone-8gb", "6.18", "camera", {"processes": 4, "foreground_at_ns": 30_000_000}),
    "cut-off": ("phone-8gb", "6.11", "camera", {"limit_ns": 50_000_000}),
    "server": ("server-2x48", "6.18", "server", {"processes": 8, "swap_entries": 5_000}),
    "full-server": ("server-2x48", "6.11", "server", {"processes": 100, "swap_entries": 20_000}),
    "one-cpu": ("lab-1cpu", "6.12", "lab", {"processes": 3, "mb": 8}),
    "nobody": ("phone-8gb", "6.11", "munmap", {"processes": 0}),
}


@cache
def run(case, policy="sync", **options):
    machine, kernel, storm, choices = CASES[case]
    m = swaplib.machine(machine)
    rule = swaplib.policy(policy)
    return swaplib.simulate(m, swaplib.kernel(kernel), swaplib.storm(storm, m, **choices), rule, **options)


@pytest.fixture
def draw():
    """Draw runs in the collection's style; the figures are closed after the test."""
    with plt.rc_context():
        swaplib.set_style()
        yield swaplib.plot_timeline
    plt.close("all")


def texts(figure):
    """The texts that a figure shows: not the ticks beyond the ends of an axis."""
    found = [*figure.texts]
    for ax in figure.axes:
        found += [*ax.texts, ax._left_title]
        for legend in filter(None, (panel.get_legend() for panel in (ax, *ax.child_axes))):
            found += legend.get_texts()
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            found += [axis.label] + [t.label1 for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def edges(outcome, bins):
    return outcome.end_ns * np.arange(bins + 1) // bins


@pytest.mark.parametrize("policy", ["sync", "async-v3", "adaptive", "reaper"])
@pytest.mark.parametrize("case", ["camera", "cut-off", "server"])
def test_activities_fill_every_bin_and_add_up_to_the_cpu_time_of_the_run(case, policy):
    outcome = run(case, policy)
    ends, spent = edges(outcome, 37), outcome.df_cpu().sum()
    time = cpu_time(outcome, ends)
    assert np.allclose(time.sum(axis=0), np.diff(ends))
    for shown, (_, categories) in zip(time.sum(axis=(1, 2)), ACTIVITIES.values(), strict=True):
        assert shown / 1e6 == pytest.approx(spent[categories].sum(), abs=1e-6)


@given(bins=st.integers(1, 300))
def test_a_bin_holds_what_overlaps_it_to_the_nanosecond(bins):
    outcome = run("one-cpu", "async-v3")
    ends = edges(outcome, bins)
    expected = np.zeros((len(ACTIVITIES), bins), dtype=np.int64)
    for _, since, until, category, _ in outcome.trace.tolist():
        (activity,) = (i for i, (_, of) in enumerate(ACTIVITIES.values()) if CATEGORIES[category] in of)
        overlap = np.minimum(until, ends[1:]) - np.maximum(since, ends[:-1])
        expected[activity] += np.maximum(0, overlap)
    assert cpu_time(outcome, ends).sum(axis=1).round().astype(int).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        (lambda: [], "no outcome to draw"),
        (lambda: [run("one-cpu", trace=False)], "'sync' was not traced; .* trace=True"),
    ],
)
def test_what_cannot_be_shown_is_refused_by_name(outcomes, words):
    with pytest.raises(ValueError, match=words):
        swaplib.plot_timeline(*outcomes())


# The picture.


@pytest.mark.parametrize("activity", ["waiting for locks", "exits free", "app starts", "background"])
def test_the_pixels_of_the_lanes_are_the_numbers_of_the_table(draw, activity):
    outcome = run("whole-camera")
    pixels = draw(outcome).axes[0].images[0].get_array()
    shown = np.isclose(pixels[..., :3], to_rgb(COLOURS[activity])).all(axis=-1).sum()
    share = shown / (pixels.shape[0] * pixels.shape[1] * 20 / 22)  # 2 of 22 pixels are the gap below a lane
    time = cpu_time(outcome, edges(outcome, 1)).sum(axis=(1, 2))
    assert share == pytest.approx(time[[*ACTIVITIES].index(activity)] / time.sum(), abs=0.01)


@pytest.mark.parametrize(
    ("case", "policies"),
    [
        ("camera", ["sync"]),
        ("whole-camera", ["sync", "async-v3", "adaptive"]),
        ("whole-camera", ["slot-cache-async", "adaptive"]),
        ("late-camera", ["sync", "async-list"]),
        ("cut-off", ["sync", "async-v3"]),
        ("full-server", ["sync", "async-per-node"]),
        ("one-cpu", ["sync"]),
        ("nobody", ["sync", "async-v3"]),
    ],
)
def test_labels_stay_apart_and_within_the_figure(draw, case, policies):
    figure = draw(*(run(case, policy) for policy in policies))
    figure.canvas.draw()
    page = figure.bbox.padded(1)
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    for text, box in boxes:
        assert page.contains(box.x0, box.y0), text
        assert page.contains(box.x1, box.y1), text
    for (one, a), (two, b) in itertools.combinations(boxes, 2):
        assert not a.padded(-1).overlaps(b.padded(-1)), f"{one!r} meets {two!r}"


def test_the_same_runs_give_the_same_bytes(draw, tmp_path):
    for name in "ab":
        figure = draw(run("camera"), run("camera", "async-v3"))
        figure.savefig(tmp_path / f"{name}.svg", metadata={"Date": None})
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


# The finding.


def test_the_title_says_which_run_was_sooner():
    before, after = run("camera", "sync"), run("camera", "async-v3")
    assert after.summary().foreground_ms < 0.99 * before.summary().foreground_ms
    assert "sooner under async-v3 than under sync" in finding([before, after])
    assert "later under sync than under async-v3" in finding([after, before])
    assert "as late under" in finding([before, before])  # within a percent


def test_a_figure_can_be_drawn_into_again_and_carries_the_computed_finding(draw):
    figure, outcomes = draw(run("camera")), [run("camera", "sync"), run("camera", "async-v3")]
    assert draw(*outcomes, figure=figure) is figure
    assert figure.texts[0].get_text().replace("\n", " ") == finding(outcomes)


def test_a_foreground_is_timed_from_its_start_and_without_one_the_last_process_counts():
    outcome = run("late-camera")
    start_ms, end_ms = outcome.storm.foreground_at_ns / 1e6, outcome.phase_ends_ns[-1] / 1e6
    took, waited = span((end_ms - start_ms) * 1e6), span(outcome.summary().spin_ms * 1e6)
    assert f"sync {took} ({waited})" in finding([outcome])
    gone = span(run("server").df_processes().exited_ms.max() * 1e6)
    said = f"All processes gone (CPU time spent waiting for locks): sync {gone} ("
    assert finding([run("server")]).startswith(said)


def test_a_run_that_was_cut_off_is_not_said_to_be_done():
    outcomes = [run("cut-off"), run("cut-off", "async-v3")]
    assert outcomes[0].timed_out
    assert "sync not within 50.0 ms" in finding(outcomes[:1])
    assert finding(outcomes).count("not within 50.0 ms") == 2


@given(st.integers(1, 10**13))
def test_a_time_is_said_within_half_of_its_third_figure(ns):
    number, unit = span(ns).split(" ")
    assert "e" not in number
    assert float(number) * {"s": 1e9, "ms": 1e6, "µs": 1e3, "ns": 1}[unit] == pytest.approx(ns, rel=5.001e-3)


def test_things_are_counted_in_words_where_that_is_shorter():
    numbers = {0: "0", 999: "999", 65_536: "65.5 thousand", 910_100: "910 thousand", 1e7: "10.0 million"}
    assert {number: count(number) for number in numbers} == numbers


# Colours.


def test_every_policy_has_a_line_of_its_own():
    assert sorted(POLICY_LINES) == sorted(swaplib.policies().name)
    assert len(set(POLICY_LINES.values())) == len(POLICY_LINES)
    assert policy_line(swaplib.policy("sync", threshold=4).name) == POLICY_LINES["sync"]
