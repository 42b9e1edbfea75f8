"""Controls that answer at once: two policies face one storm, and the picture follows every slider.

JupyterLab and the tests use it. The notebook shows which controls there are, where they start and what they range over;
what a cell cannot hold in plain view is here: callbacks, and what to say of settings that do not go together.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from swaplib import catalogue
from swaplib.analysis.headline import digits
from swaplib.explore_picture import picture
from swaplib.model.machine import Machine
from swaplib.model.policy import Hold, Policy, Workers
from swaplib.model.storm import Storm
from swaplib.sim.outcome import Outcome
from swaplib.sim.simulate import simulate

__all__ = ["Explorer", "Setting", "own_values", "used_choices"]

NUMBERS = {
    "foreground_ms": "app ready / ms",
    "exit_ms_median": "kill to exit, median / ms",
    "exit_ms_last": "kill to exit, longest / ms",
    "present_freed_ms": "present pages back / ms",
    "swap_freed_ms": "swap slots back / ms",
    "spin_ms": "waiting for locks / CPU ms",
    "cpu_ms_total": "exits and kworkers / CPU ms",
    "backlog_entries_peak": "entries waiting, at most",
    "works": "works queued",
    "stranded": "entries left in caches",
}


@dataclass(frozen=True)
class Setting:
    """What the controls say: one storm, policy A as it is named, policy B with three choices of one's own."""

    machine: str = "phone-8gb"
    kernel: str = "6.11"
    storm: str = "camera"
    processes: int = 12
    run_entries: int = 1
    layout: str = "random"
    seed: int = 0
    policy_a: str = "sync"
    policy_b: str = "async-v3"
    threshold: int = 2
    max_active: int = 1
    worker_nice: int = -20

    def runs(self) -> tuple[Outcome, Outcome]:
        """Simulate both policies.

        Raises
        ------
        ValueError
            If the settings do not go together, saying what would.
        """
        machine, kernel = catalogue.machine(self.machine), catalogue.kernel(self.kernel)
        storm = self._storm(machine)
        self._refuse(machine, storm)
        both = catalogue.policy(self.policy_a), self._policy_b()
        before, after = (simulate(machine, kernel, storm, policy, self.seed) for policy in both)
        return before, after

    def code(self) -> str:
        """Return the same two runs in Python."""
        choices = "".join(f", {name}={value!r}" for name, value in self._changes().items())
        return (
            f"machine = swaplib.machine({self.machine!r})\n"
            f"storm = swaplib.storm({self.storm!r}, machine, processes={self.processes}, "
            f"run_entries={self.run_entries}, layout={self.layout!r})\n"
            f"policies = swaplib.policy({self.policy_a!r}), swaplib.policy({self.policy_b!r}{choices})\n"
            f"runs = [swaplib.simulate(machine, swaplib.kernel({self.kernel!r}), storm, policy, seed={self.seed}) "
            "for policy in policies]\n"
            "swaplib.plot_timeline(*runs)"
        )

    def _storm(self, machine: Machine) -> Storm:
        choices = {"processes": self.processes, "run_entries": self.run_entries, "layout": self.layout}
        return catalogue.storm(self.storm, machine, **choices)

    def _policy_b(self) -> Policy:
        return catalogue.policy(self.policy_b, **self._changes())

    def _changes(self) -> dict[str, int]:
        """Return the choices of policy B that are not its own, among those that it uses."""
        own = catalogue.policy(self.policy_b)
        return {
            name: getattr(self, name)
            for name in used_choices(own)
            if getattr(self, name) != getattr(own, name)
        }

    def _refuse(self, machine: Machine, storm: Storm) -> None:
        table = catalogue.policies().set_index("name").kernels
        for name in (self.policy_a, self.policy_b):
            served = table[name]
            if served != "all" and self.kernel not in served.split(", "):
                raise ValueError(
                    f"Kernel {self.kernel} cannot serve policy {name}. Choose kernel {_either(served)}."
                )
        if problem := _does_not_fit(storm, machine, self.seed):
            too_many = range(1, self.processes + 1)
            most = bisect_left(
                too_many, 1, key=lambda n: len(_does_not_fit(storm.but(processes=n), machine, self.seed))
            )
            advice = f"At most {most} of its processes fit." if most else "Choose another machine or storm."
            raise ValueError(f"{problem[0].upper()}{problem[1:]}. {advice}")


class Explorer:
    """Controls, a picture of both runs, their key numbers, and buttons for traces and for a reset.

    Parameters
    ----------
    controls
        A widget for each field of `Setting`, by its name; where they stand now is where the reset leads.
    folder
        Where traces are written.
    """

    def __init__(self, controls: Mapping[str, Any], folder: str | Path = "traces") -> None:
        names = [field.name for field in fields(Setting)]
        if missing := [name for name in names if name not in controls]:
            raise ValueError(
                f"there is no control for {', '.join(missing)}; expected one for each of {', '.join(names)}"
            )
        self.controls = {name: controls[name] for name in names}
        self.folder = Path(folder)
        self.outcomes: tuple[Outcome, ...] = ()
        self._start = {name: control.value for name, control in self.controls.items()}
        self._is_held = False
        self.picture, self.numbers, self.message, self.code = (widgets.HTML() for _ in range(4))
        self.traces = widgets.Button(
            description="Write traces for Perfetto", icon="download", layout={"width": "auto"}
        )
        self.reset = widgets.Button(description="Reset", icon="undo", layout={"width": "auto"})
        self.traces.on_click(lambda _: self._write_traces())
        self.reset.on_click(lambda _: self._return())
        for name, control in self.controls.items():
            control.observe(self._moved, "value")
            control.description = control.description or name.replace("_", " ")
            control.style.description_width = "96px"
            control.layout.width = "250px"
        self._update()

    @property
    def setting(self) -> Setting:
        """What the controls say now."""
        return Setting(**{name: control.value for name, control in self.controls.items()})

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """Show the controls above the picture."""
        columns = list(self.controls.values())
        buttons = widgets.HBox([self.traces, self.reset])
        half = [widgets.VBox(columns[:7]), widgets.VBox([*columns[7:], buttons])]
        top = widgets.HBox([*half, self.numbers], layout={"flex_flow": "row wrap", "grid_gap": "0 1em"})
        return widgets.VBox([top, self.message, self.picture, self.code])._repr_mimebundle_(**options)

    def _moved(self, change: Mapping[str, Any]) -> None:
        """Follow a control; a storm and a policy bring their own values with them."""
        if self._is_held:
            return
        with self._held():
            if change["owner"] is self.controls["storm"]:
                self._set(own_values(storm=change["new"]))
            if change["owner"] is self.controls["policy_b"]:
                self._set(own_values(policy=change["new"]))
        self._update()

    def _return(self) -> None:
        with self._held():
            self._set(self._start)
        self._update()

    def _set(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            self.controls[name].value = value

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Let several controls move before anything follows them."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False

    def _update(self) -> None:
        used = used_choices(catalogue.policy(self.setting.policy_b))
        for name in ("threshold", "max_active", "worker_nice"):
            self.controls[name].disabled = name not in used
        self.outcomes = ()
        self.message.value = ""
        try:
            self.outcomes = self.setting.runs()
        except ValueError as error:
            self.picture.value = self.numbers.value = self.code.value = ""
            self._say(str(error), is_wrong=True)
        else:
            self.picture.value = picture(self.outcomes)
            self.numbers.value = _table(self.outcomes)
            self.code.value = _details("The same in Python", self.setting.code())
        self.traces.disabled = not self.outcomes

    def _write_traces(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            paths = [outcome.to_perfetto(self.folder / _file_name(outcome)) for outcome in self.outcomes]
        except OSError as error:
            self._say(f"No trace was written: {error}", is_wrong=True)
        else:
            names = " and ".join(dict.fromkeys(path.as_posix() for path in paths))
            self._say(f"Written: {names}. Open them at ui.perfetto.dev; the page reads them in the browser.")

    def _say(self, words: str, *, is_wrong: bool = False) -> None:
        colour, role = ("179, 38, 30", "alert") if is_wrong else ("10, 132, 198", "status")
        self.message.value = (
            f'<div role="{role}" style="border-left: 4px solid rgb({colour}); background: rgba({colour}, 0.12); '
            f'border-radius: 4px; padding: 0.4em 1em; line-height: 1.5">{escape(words)}</div>'
        )


def own_values(*, storm: str = "", policy: str = "") -> dict[str, Any]:
    """Return what a storm or a policy has by itself, by the controls' names."""
    values: dict[str, Any] = {}
    if storm:
        own = catalogue.storm(storm)
        values |= {"processes": own.processes, "run_entries": own.run_entries, "layout": own.layout}
    if policy:
        row = catalogue.policy(policy)
        values |= {name: getattr(row, name) for name in ("threshold", "max_active", "worker_nice")}
    return values


def used_choices(policy: Policy) -> list[str]:
    """Return which of threshold, max_active and worker_nice matter for a policy."""
    matters = {
        "threshold": policy.hold in (Hold.GATHER, Hold.LIST),
        "max_active": policy.defers and policy.workers in (Workers.WORKQUEUE, Workers.PER_NODE),
        "worker_nice": policy.defers,
    }
    return [name for name, does in matters.items() if does]


def _does_not_fit(storm: Storm, machine: Machine, seed: int) -> str:
    try:
        storm.draw(machine, seed)
    except ValueError as error:
        return str(error)
    return ""


def _either(names: str) -> str:
    *first, last = names.split(", ")
    return f"{', '.join(first)} or {last}" if first else last


def _file_name(outcome: Outcome) -> str:
    words = f"{outcome.storm.name} {outcome.machine.name} {outcome.kernel.name} {outcome.policy.name}"
    return re.sub(r"[^A-Za-z0-9.]+", "-", words) + ".json"


def _table(outcomes: tuple[Outcome, ...]) -> str:
    before, after = (outcome.summary() for outcome in outcomes)
    cell = 'style="text-align: right; padding: 0 0 0 1.2em"'
    rows = [
        f'<tr><th scope="col"></th>{"".join(f"<th scope=col {cell}>{x}</th>" for x in ("A", "B", "B − A"))}</tr>'
    ]
    for name, words in NUMBERS.items():
        values = [float(before[name]), float(after[name]), float(after[name]) - float(before[name])]
        shown = "".join(f"<td {cell}>{_number(value)}</td>" for value in values)
        rows.append(
            f'<tr><th scope="row" style="text-align: left; font-weight: 400">{words}</th>{shown}</tr>'
        )
    return (
        '<table style="border-collapse: collapse; font-size: 12px; line-height: 1.5; '
        'font-variant-numeric: tabular-nums">'
        f"{''.join(rows)}</table>"
    )


def _number(value: float) -> str:
    """Return three significant figures with thousands apart, a dash for what did not happen."""
    if value != value:
        return "–"
    size = abs(value)
    shown = f"{float(f'{size:.3g}'):,.0f}" if size >= 99.95 or size == int(size) else digits(size)
    return f"{'−' if value < 0 else ''}{shown}"


def _details(summary: str, text: str) -> str:
    style = "line-height: 1.4; white-space: pre; overflow-x: auto"
    head = f'<summary style="cursor: pointer">{summary}</summary>'
    return f'<details>{head}<pre style="{style}">{escape(text)}</pre></details>'
