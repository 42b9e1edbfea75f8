"""The picture of a run shows what the run was: its numbers add up, its title is computed, its labels stay apart."""

import itertools
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

import swaplib
from swaplib.analysis.cpu_time import ACTIVITIES, timeline_table
from swaplib.analysis.headline import count, finding, span
from swaplib.analysis.style import ACTIVITY_COLOURS, POLICY_LINES, policy_line
from swaplib.sim.state import CATEGORIES, IDLE

CASES = {
    "camera": ("phone-8gb", "6.11", "camera", {"processes": 4, "swap_entries": 20_000}),
    "whole-camera": ("phone-8gb", "6.11", "camera", {}),
    "late-camera": ("phone-8gb", "6.18", "camera", {"processes": 4, "foreground_at_ns": 30_000_000}),
    "cut-off": ("phone-8gb", "6.11", "camera", {"limit_ns": 50_000_000}),
    "server": ("server-2x48", "6.18", "server", {"processes": 8, "swap_entries": 5_000}),
    "full-server": ("server-2x48", "6.11", "server", {"processes": 100, "swap_entries": 20_000}),
    "one-cpu": ("lab-1cpu", "6.12", "lab", {"processes": 3, "mb": 8}),
    "two-cpus": ("lab-2cpu", "6.11", "lab", {"processes": 4}),
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
        found += ax.texts
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            found += [axis.label] + [t.label1 for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def title(figure):
    return figure.texts[0].get_text().replace("\N{NO-BREAK SPACE}", " ").replace("\n", " ")


# The trace that the picture is drawn from.


@pytest.mark.parametrize("case", ["camera", "cut-off", "server", "one-cpu"])
@pytest.mark.parametrize("policy", ["sync", "async-v3", "adaptive", "reaper", "present-first"])
def test_the_stretches_of_a_cpu_follow_each_other_from_the_first_kill_to_the_end(case, policy):
    outcome = run(case, policy)
    for cpu in range(outcome.machine.cpus):
        rows = outcome.trace[outcome.trace[:, 0] == cpu]
        assert rows[0, 1] == 0
        assert rows[1:, 1].tolist() == rows[:-1, 2].tolist()
        assert rows[-1, 2] == outcome.world.system[0].now


@pytest.mark.parametrize("case", ["camera", "cut-off", "server", "one-cpu"])
@pytest.mark.parametrize("policy", ["sync", "async-v3", "adaptive", "reaper", "present-first"])
def test_the_stretches_add_up_to_the_cpu_time_of_every_category_and_task(case, policy):
    outcome = run(case, policy)
    cpu, start, end, category, task = outcome.trace.T
    by_category, by_task = (
        np.zeros_like(outcome.world.time),
        np.zeros(len(outcome.world.task), dtype=np.int64),
    )
    np.add.at(by_category, (cpu, category), end - start)
    np.add.at(by_task, task[task >= 0], (end - start)[task >= 0])
    assert by_category.tolist() == outcome.world.time.tolist()
    assert by_task.tolist() == outcome.world.task.cpu_ns.tolist()
    assert ((task < 0) == (category == IDLE)).all()


# The table behind the picture.


@pytest.mark.parametrize("case", ["camera", "server", "one-cpu"])
@pytest.mark.parametrize("policy", ["sync", "async-v3", "reaper"])
def test_activities_add_up_to_the_cpu_time_of_the_run(case, policy):
    outcome = run(case, policy)
    shown = timeline_table(outcome, bins=37).groupby("activity").cpu_ms.sum()
    spent = outcome.df_cpu().sum()
    for activity, categories in ACTIVITIES.items():
        assert shown[activity] == pytest.approx(spent[list(categories)].sum(), abs=1e-6)


@given(bins=st.integers(1, 300))
def test_a_bin_holds_what_overlaps_it_to_the_nanosecond(bins):
    outcome = run("one-cpu", "async-v3")
    table = timeline_table(outcome, bins)
    end = int(outcome.world.system[0].now)
    edges = [end * i // bins for i in range(bins + 1)]
    expected = np.zeros((len(ACTIVITIES), bins), dtype=np.int64)
    for _, since, until, category, _ in outcome.trace.tolist():
        (activity,) = (i for i, group in enumerate(ACTIVITIES.values()) if CATEGORIES[category] in group)
        for i in range(since * bins // end, bins):
            if edges[i] >= until:
                break
            expected[activity, i] += max(0, min(until, edges[i + 1]) - max(since, edges[i]))
    assert (table.cpu_ms * 1e6).round().astype(int).tolist() == expected.ravel().tolist()


@pytest.mark.parametrize("case", ["camera", "server", "one-cpu"])
@pytest.mark.parametrize("by_cpu", [False, True])
def test_every_bin_is_filled_by_its_cpus(case, by_cpu):
    table = timeline_table(run(case, "async-v3"), bins=50, by_cpu=by_cpu)
    assert np.allclose(table.groupby(["start_ms", "cpu"] if by_cpu else "start_ms").cpu_share.sum(), 1)


def test_every_category_of_cpu_time_is_shown_once():
    assert sorted(c for group in ACTIVITIES.values() for c in group) == sorted(CATEGORIES)


def test_no_bins_are_refused():
    with pytest.raises(ValueError, match="bins is 0; expected at least 1"):
        timeline_table(run("one-cpu"), bins=0)


# The picture.


def test_a_run_that_was_not_traced_is_refused_by_name():
    with pytest.raises(ValueError, match="policy 'sync' was not traced; simulate it with trace=True"):
        swaplib.plot_timeline(run("one-cpu", trace=False))


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="no outcome to draw"):
        swaplib.plot_timeline()


@pytest.mark.parametrize("activity", ["waiting for locks", "exits free", "app starts", "background"])
def test_the_pixels_of_the_lanes_are_the_numbers_of_the_table(draw, activity):
    outcome = run("whole-camera")
    pixels = draw(outcome).axes[0].images[0].get_array()
    colour = [round(255 * part) for part in to_rgb(ACTIVITY_COLOURS[activity])]
    shown = (pixels == colour).all(axis=-1).sum()
    gaps = 20 + 2  # of a lane: pixels of height, and of the gap below
    share = shown / (pixels.shape[0] * pixels.shape[1] * 20 / gaps)
    table = timeline_table(outcome, bins=1).set_index("activity")
    assert share == pytest.approx(table.cpu_share[activity], abs=0.01)


def test_lanes_are_cpus_on_a_phone_and_nodes_on_a_big_server(draw):
    phone, server = draw(run("camera")).axes[0], draw(run("server")).axes[0]
    assert [label.get_text() for label in phone.get_yticklabels()] == list("01234567")
    assert [label.get_text() for label in server.get_yticklabels()] == ["node 0\n48 CPUs", "node 1\n48 CPUs"]


@pytest.mark.parametrize(
    ("case", "policies"),
    [
        ("camera", ["sync"]),
        ("whole-camera", ["sync", "async-v3"]),
        ("whole-camera", ["sync", "async-v3", "adaptive"]),
        ("whole-camera", ["slot-cache-async", "adaptive"]),
        ("whole-camera", ["reaper"]),
        ("late-camera", ["sync", "async-list"]),
        ("cut-off", ["sync", "async-v3"]),
        ("full-server", ["sync", "async-per-node"]),
        ("two-cpus", ["sync", "async-v3"]),
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
        assert page.x0 <= box.x0, text
        assert box.x1 <= page.x1, text
        assert page.y0 <= box.y0, text
        assert box.y1 <= page.y1, text
    for (one, a), (two, b) in itertools.combinations(boxes, 2):
        assert not a.padded(-1).overlaps(b.padded(-1)), f"{one!r} meets {two!r}"


def test_a_figure_can_be_drawn_into_again(draw):
    figure = draw(run("camera"))
    panels = len(figure.axes)
    assert draw(run("camera", "async-v3"), figure=figure) is figure
    assert len(figure.axes) == panels + 1  # and a backlog
    assert title(figure).startswith("async-v3: ")


def test_the_same_runs_give_the_same_bytes(draw, tmp_path):
    files = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for file in files:
        draw(run("camera"), run("camera", "async-v3")).savefig(file, metadata={"Date": None})
    assert files[0].read_bytes() == files[1].read_bytes()


# The finding.


def test_the_title_says_which_run_was_sooner():
    before, after = run("camera", "sync"), run("camera", "async-v3")
    assert after.summary().foreground_ms < 0.99 * before.summary().foreground_ms
    assert "sooner under async-v3 than under sync" in finding([before, after])
    assert "later under sync than under async-v3" in finding([after, before])


def test_the_figure_carries_the_computed_finding(draw):
    outcomes = [run("camera", "sync"), run("camera", "async-v3")]
    assert title(draw(*outcomes)) == finding(outcomes)


def test_the_finding_of_one_run_has_the_numbers_of_its_summary():
    outcome = run("whole-camera")
    summary = outcome.summary()
    assert f"app ready after {span(summary.foreground_ms * 1e6)};" in finding([outcome])
    assert f"({span(summary.spin_ms * 1e6)})" in finding([outcome])


def test_a_foreground_that_starts_later_is_timed_from_its_start():
    outcome = run("late-camera")
    assert outcome.summary().foreground_ms == pytest.approx(outcome.df_phases().end_ms.iloc[-1] - 30)
    assert f"app ready after {span(outcome.summary().foreground_ms * 1e6)};" in finding([outcome])


def test_without_a_foreground_the_finding_is_when_the_last_process_was_gone():
    outcome = run("server")
    assert f"all processes gone after {span(outcome.df_processes().exited_ms.max() * 1e6)};" in finding(
        [outcome]
    )


def test_a_run_that_was_cut_off_is_not_said_to_be_done():
    outcome = run("cut-off")
    assert outcome.timed_out
    assert "app ready not within 50.0 ms" in finding([outcome])
    assert "sync not within 50.0 ms, async-v3 not within 50.0 ms" in finding(
        [outcome, run("cut-off", "async-v3")]
    )


def test_runs_within_a_percent_are_not_said_to_differ():
    outcome = run("camera")
    assert "app ready as late" in finding([outcome, outcome]).lower()


@given(st.integers(1, 10**13))
def test_a_time_is_said_within_half_of_its_third_figure(ns):
    number, unit = span(ns).split(" ")
    assert "e" not in number
    assert float(number) * {"s": 1e9, "ms": 1e6, "µs": 1e3, "ns": 1}[unit] == pytest.approx(ns, rel=5.001e-3)


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0"), (999, "999"), (65_536, "65.5 thousand"), (910_100, "910 thousand"), (1e7, "10.0 million")],
)
def test_things_are_counted_in_words_where_that_is_shorter(number, said):
    assert count(number) == said


# Colours.

# Linear sRGB as people without one kind of cone see it: Machado, Oliveira and Fernandes 2009, severity 1.
SIGHT = {
    "all cones": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def lab(colour, sight="all cones"):
    """CIE L*a*b* (D65) of a colour, as somebody sees it."""
    part = np.array(to_rgb(colour))
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(SIGHT[sight]) @ linear, 0, 1)
    to_xyz = [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
    x, y, z = np.cbrt(np.maximum(np.array(to_xyz) @ linear / [0.95047, 1, 1.08883], 0.008856))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_what_fills_the_picture_stays_apart_in_grey():
    often = ["app starts", "waiting for locks", "kworker frees", "exits free", "background", "idle"]
    lightness = [lab(ACTIVITY_COLOURS[name])[0] for name in often]
    assert min(np.diff(lightness)) >= 10


@pytest.mark.parametrize("sight", SIGHT)
def test_any_two_activities_stay_apart_for_the_colour_blind(sight):
    for one, two in itertools.combinations(ACTIVITY_COLOURS, 2):
        apart = np.linalg.norm(lab(ACTIVITY_COLOURS[one], sight) - lab(ACTIVITY_COLOURS[two], sight))
        assert apart > 10, (one, two)


def test_every_activity_has_a_colour_and_every_policy_a_line_of_its_own():
    assert list(ACTIVITY_COLOURS) == list(ACTIVITIES)
    assert sorted(POLICY_LINES) == sorted(swaplib.policies().name)
    assert len(set(POLICY_LINES.values())) == len(POLICY_LINES)


def test_a_changed_policy_keeps_the_line_of_its_name():
    assert policy_line(swaplib.policy("async-v3", threshold=4).name) == POLICY_LINES["async-v3"]
