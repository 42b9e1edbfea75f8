"""Controls that answer at once: two policies face one storm, and the timeline follows every slider."""

from __future__ import annotations

import base64
import io
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from html import escape
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from swaplib import catalogue
from swaplib.analysis.timeline import plot_timeline
from swaplib.analysis.words import finding
from swaplib.sim.simulate import simulate
from swaplib.sweeps import sweep

DRAWS = 5  # seeds
STORM, CHOICES = ("processes", "run_entries", "layout"), ("threshold", "max_active", "worker_nice")
CODE = """machine = swaplib.machine({machine!r})
storm = swaplib.storm({storm!r}, machine, **{own})
policies = swaplib.policy({policy_a!r}), swaplib.policy({policy_b!r}, **{changed})
runs = [swaplib.simulate(machine, swaplib.kernel({kernel!r}), storm, policy, {seed}) for policy in policies]
swaplib.plot_timeline(*runs)  # runs[1].to_perfetto("patch.json") writes a trace for ui.perfetto.dev"""


class Explorer(widgets.VBox):
    """Controls, the timeline of both runs, their numbers, the same in Python, and a button for a reset.

    Policy A is as it is named, policy B has three choices of your own. A storm and policy B bring their own
    values with them. Settings that do not go together are answered by a sentence in place of the timeline.
    `outcomes` are the two runs that are shown; beside them stand runs with the seeds that follow, and their
    median, so that no single storm decides.
    """

    def __init__(self) -> None:
        self.controls = _controls()
        self.outcomes: list[Any] = []
        self.picture, self.numbers, self.message, self.code = (widgets.HTML() for _ in range(4))
        self.reset = widgets.Button(description="Reset", icon="undo")
        column = [*self.controls.values(), self.reset]
        top = widgets.HBox([widgets.VBox(column[:9]), widgets.VBox(column[9:]), self.numbers])
        top.layout.flex_flow = "row wrap"
        super().__init__([top, self.message, self.picture, self.code])
        # JupyterLab calls from several threads, so one of ours does all that they ask, in its order.
        self._asked, self._worker, self._mover = deque[dict[str, Any]](), ThreadPoolExecutor(1), 0
        self._shown: dict[str, Any] = {}
        self._ask(_brought("camera"))
        self.wait()
        start = dict(self._shown)
        self.reset.on_click(lambda _: self._ask(start))
        for name, control in self.controls.items():
            control.continuous_update = False  # else values of a drag come after the click that follows it
            control.observe(partial(self._follow, name), "value")

    def wait(self) -> None:
        """Wait until all that was asked is done."""
        self._worker.submit(lambda: None).result()

    def _follow(self, name: str, change: dict[str, Any]) -> None:
        """Follow a control that a user moves; a storm and policy B bring their own values with them."""
        brings = {"storm": _brought, "policy_b": lambda policy: vars(catalogue.policy(policy))}
        if self._mover != threading.get_ident():
            self._ask(brings.get(name, lambda _: {})(change["new"]) | {name: change["new"]})

    def _ask(self, values: dict[str, Any]) -> None:
        self._asked.append(values)
        self._worker.submit(self._move)

    def _move(self) -> None:
        """Move controls to what was asked meanwhile, then show what all of them say unless that is shown."""
        values: dict[str, Any] = {}
        while self._asked:
            values |= self._asked.popleft()
        self._mover = threading.get_ident()
        for name in values.keys() & self.controls.keys():
            self.controls[name].value = values[name]
        self._mover = 0
        chosen = {name: control.value for name, control in self.controls.items()}
        if chosen != self._shown:
            self._say("Computing ... (the first time the simulator is compiled: a minute)", "status")
            self._show(chosen)
            self._shown = chosen

    def _show(self, chosen: dict[str, Any]) -> None:
        policy = catalogue.policy(chosen["policy_b"])
        changed = {name: chosen[name] for name in CHOICES if chosen[name] != getattr(policy, name)}
        for name in CHOICES:
            self.controls[name].disabled = not policy.hold  # nothing is held back: none of them matters
        own = {name: chosen[name] for name in STORM}
        if chosen["gap_ms"] != _brought(chosen["storm"])["gap_ms"]:
            own["gap_ns"] = (0, round(chosen["gap_ms"] * catalogue.MS))
        self.controls["load"].disabled = chosen["storm"] != "camera"
        if chosen["storm"] == "camera":
            own["background_permille"] = 10 * chosen["load"]
        self.outcomes = []
        try:
            machine, kernel = catalogue.machine(chosen["machine"]), catalogue.kernel(chosen["kernel"])
            storm = catalogue.storm(chosen["storm"], machine, **own)
            policies = catalogue.policy(chosen["policy_a"]), policy.but(**changed)
            outcomes = [simulate(machine, kernel, storm, one, chosen["seed"]) for one in policies]
            arms = [{"policy": one, "arm": arm} for arm, one in zip("AB", policies, strict=True)]
            how = {"replications": DRAWS, "seed": chosen["seed"], "executor": "threads", "progress": False}
            draws = sweep(machine=machine, kernel=kernel, storm=storm, settings=arms, **how)
        except Exception as error:  # which a thread would end with in silence
            self.picture.value = self.numbers.value = self.code.value = ""
            self._say(f"{error}.", "alert")
            return
        svg = io.BytesIO()
        canvas = Figure(figsize=(8.6, 8.4), layout="none")  # type: ignore[arg-type]  # else drawn twice
        figure = plot_timeline(*outcomes, figure=canvas)
        figure.savefig(svg, format="svg", bbox_inches=figure.bbox_inches, metadata={"Date": None})
        source = "data:image/svg+xml;base64," + base64.b64encode(svg.getvalue()).decode()
        self.picture.value = f'<img src="{source}" alt="{escape(finding(outcomes))}">'
        before, after = (outcome.summary().astype(float) for outcome in outcomes)
        table = pd.DataFrame({"A": before, "B": after, "B − A": after - before})
        goal = "foreground_ms" if storm.foreground else "exit_ms_last"
        several = draws.assign(seed=chosen["seed"] + draws.replication)
        several = several.pivot_table(goal, "seed", "arm", dropna=False)
        several.loc["median"] = several.median()
        several.columns.name = f"{goal} by seed"
        look: dict[str, Any] = {"float_format": "{:,.1f}".format, "na_rep": "–", "border": 0}
        self.numbers.value = several.to_html(**look) + table.to_html(**look)
        code = escape(CODE.format(own=own, changed=changed, **chosen))
        self.code.value = f"<details><summary>The same in Python</summary><pre>{code}</pre></details>"
        self.outcomes, self.message.value = outcomes, ""

    def _say(self, words: str, role: str) -> None:
        self.message.value = f'<p role="{role}" style="font-weight: bold">{escape(words)}</p>'


def _brought(name: str) -> dict[str, Any]:
    """Return the values that a storm brings with it, the longest gap in milliseconds."""
    storm = catalogue.storm(name)
    return {**vars(storm), "gap_ms": np.max(storm.gap_ns) / catalogue.MS, "load": 60}


def _controls() -> dict[str, Any]:
    """Return the controls where they start; without emulated machines, whose clocks count instructions."""
    machines = catalogue.machines().query("not what.str.contains('emulated')")
    policies = [*catalogue.policies().name]
    return {
        "machine": widgets.Dropdown(options=[*machines.name], value="phone-8gb", description="machine"),
        "kernel": widgets.Dropdown(options=[*catalogue.kernels().name], value="6.11", description="kernel"),
        "storm": widgets.Dropdown(options=[*catalogue.storms().name], value="camera", description="storm"),
        "processes": widgets.IntSlider(12, 1, 100, description="processes"),
        "run_entries": widgets.SelectionSlider(options=[2**i for i in range(10)], description="run length"),
        "layout": widgets.Dropdown(options=["random", "even-odd", "sequential"], description="slot order"),
        "gap_ms": widgets.FloatSlider(8, min=0, max=50, step=0.5, description="gaps to (ms)"),
        "load": widgets.IntSlider(60, 0, 100, description="load (%)"),
        "seed": widgets.IntSlider(0, 0, 99, description="seed"),
        "policy_a": widgets.Dropdown(options=policies, value="sync", description="policy A"),
        "policy_b": widgets.Dropdown(options=policies, value="async-v3", description="policy B"),
        "threshold": widgets.IntSlider(2, 0, 32, description="B: threshold"),
        "max_active": widgets.IntSlider(1, 0, 256, description="B: workers"),
        "worker_nice": widgets.IntSlider(-20, -20, 19, description="B: nice"),
    }
