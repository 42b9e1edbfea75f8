"""A sweep's grid: machines, kernels, storms and policies, by name or as models, spread out into settings."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from swaplib import __version__, catalogue
from swaplib.model.kernel import Kernel
from swaplib.model.machine import Machine
from swaplib.model.policy import Policy
from swaplib.model.storm import Storm
from swaplib.sim.simulate import GRAIN
from swaplib.sim.sweep import KINDS, Labels, Setting, run_settings

_TYPES: dict[str, type] = {"machine": Machine, "kernel": Kernel, "storm": Storm, "policy": Policy}


def sweep(
    *,
    machine: str | Machine | Sequence[str | Machine] | None = None,
    kernel: str | Kernel | Sequence[str | Kernel] | None = None,
    storm: str | Storm | Sequence[str | Storm] | None = None,
    policy: str | Policy | Sequence[str | Policy] | None = None,
    settings: Sequence[Mapping[str, Any]] | None = None,
    replications: int = 20,
    seed: int = 0,
    experiment: int = 0,
    grain: int = GRAIN,
    executor: Executor | str | None = None,
    checkpoint: str | Path | None = None,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Simulate every combination of machines, kernels, storms and policies, each with several draws of its storm.

    Replication r draws with seed + r, whatever the setting: policies face the same storms (common random numbers), and
    ``swaplib.simulate(..., seed=seed + r, experiment=experiment)`` shows any row again. Rows and their order are the
    same on every executor.

    Parameters
    ----------
    machine, kernel, storm, policy
        A name of the catalogue, a model, or a list of these. A storm's name is looked up for each machine.
    settings
        Instead of one grid, a list of dicts: `machine`, `kernel`, `storm` and `policy` in one replace the arguments of
        that name; every other key is a label of that setting, a scalar, and becomes a column.
    replications
        Draws of each setting's storm.
    seed, experiment
        The first draw; sweeps with another `experiment` face other storms.
    grain
        See `swaplib.simulate`.
    executor
        None (one run after another), ``"threads"``, the address of a dask scheduler (``"tcp://host:8786"``), or any
        `concurrent.futures.Executor`: threads, processes, loky, or dask's ``Client.get_executor()``. A given executor
        is not shut down.
    checkpoint
        A file to which finished rows are added. The same sweep with the same file goes on where it was interrupted and
        gives the very same frame.
    progress
        Whether to show a line on stderr; None shows it on a terminal.

    Returns
    -------
    pandas.DataFrame
        One row a run, by setting, then replication: machine, kernel, storm, policy (names), one column for each
        number in which models of one name differ and for each label, replication, and the columns of
        `Outcome.summary`.

    Raises
    ------
    ValueError
        Before the first run: a missing, unknown or empty argument, a policy that the kernel cannot serve, a storm that
        does not fit a machine, two settings that no column tells apart, a label that is taken, or a checkpoint that
        belongs to another sweep.
    """
    arguments = {"machine": machine, "kernel": kernel, "storm": storm, "policy": policy}
    if settings is not None and not (isinstance(settings, (list, tuple)) and settings):
        raise ValueError(f"settings is {settings!r}; expected a list of at least one dict")
    spread = [one for number, row in enumerate(settings or [{}]) for one in _spread(arguments, row, number)]
    with _pool(executor) as pool:
        return run_settings(
            _labelled(spread),
            replications=replications,
            seed=seed,
            experiment=experiment,
            grain=grain,
            executor=pool,
            checkpoint=checkpoint,
            progress=progress,
            version=__version__,
        )


@contextmanager
def _pool(executor: Executor | str | None) -> Iterator[Executor | str | None]:
    """Give the executor, or one on the cluster whose scheduler's address it is."""
    if not (isinstance(executor, str) and "://" in executor):
        yield executor
        return
    try:
        from dask.distributed import Client
    except ImportError:
        raise ValueError(
            f"executor is {executor!r}, the address of a dask scheduler, but dask is not installed; expected "
            "'pip install -e .[cluster]' before, or 'threads'"
        ) from None
    with Client(executor) as client:
        yield client.get_executor()


def _spread(arguments: Mapping[str, Any], row: Mapping[str, Any], number: int) -> Iterator[Setting]:
    """Yield the settings of one grid, with the labels that its dict gives."""
    where = f"settings[{number}]: " if row else ""
    labels = {
        name: _scalar(f"{where}label '{name}'", value) for name, value in row.items() if name not in KINDS
    }
    listed = {kind: _listed(where, kind, row.get(kind, arguments[kind])) for kind in KINDS}
    for machine in (_model(where, "machine", one) for one in listed["machine"]):
        models = [[_model(where, kind, one, machine) for one in listed[kind]] for kind in KINDS[1:]]
        for kernel, storm, policy in itertools.product(*models):
            yield Setting(machine, kernel, storm, policy, labels)


def _listed(where: str, kind: str, value: Any) -> Sequence[Any]:
    if value is None:
        raise ValueError(
            f"{where}{kind} is missing; expected a name, a {_TYPES[kind].__name__}, or a list of these"
        )
    values = value if isinstance(value, (list, tuple)) else [value]
    if not values:
        raise ValueError(f"{where}{kind} is an empty list; expected at least one")
    return values


def _model(where: str, kind: str, value: Any, machine: Machine | None = None) -> Any:
    if isinstance(value, str):
        return catalogue.storm(value, machine) if kind == "storm" else getattr(catalogue, kind)(value)
    if not isinstance(value, _TYPES[kind]):
        raise ValueError(f"{where}{kind} is {value!r}; expected a name or a {_TYPES[kind].__name__}")
    return value


def _scalar(what: str, value: Any) -> str | int | float | bool | None:
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise ValueError(f"{what} is {value!r}; expected text or a number")


def _labelled(settings: list[Setting]) -> list[Setting]:
    """Return the settings with all columns that tell their rows apart; refuse two that none does."""
    own = list(settings[0].labels)
    for setting in settings:
        if missing := set(own) ^ set(setting.labels):
            raise ValueError(
                f"label '{min(missing)}' is missing from some settings; give it to all or to none"
            )
    varying = [(kind, name) for kind in KINDS for name in _varying([getattr(one, kind) for one in settings])]
    labelled: list[Setting] = []
    seen = set()
    for setting in settings:
        labels: dict[str, Any] = {kind: getattr(setting, kind).name for kind in KINDS}
        labels |= {name: _numbers(getattr(setting, kind)).get(name) for kind, name in varying}
        if taken := set(KINDS) & set(own):
            raise ValueError(f"label '{min(taken)}' is taken; call it something else")
        labels |= setting.labels
        if (key := tuple(labels.items())) in seen:
            told = ", ".join(f"{name} {value!r}" for name, value in labels.items())
            raise ValueError(
                f"two settings have the same columns ({told}); give each a label or its model a name"
            )
        seen.add(key)
        labelled.append(replace(setting, labels=labels))
    return labelled


def _varying(models: Sequence[Any]) -> list[str]:
    """Return the numbers in which models of the same name differ, in the order of their fields."""
    distinct = {id(model): model for model in models}.values()
    found: dict[str, None] = {}
    first: dict[str, Mapping[str, Any]] = {}
    for model in distinct:
        numbers = _numbers(model)
        base = first.setdefault(model.name, numbers)
        found |= {name: None for name, value in numbers.items() if value != base.get(name)}
    return list(found)


def _numbers(model: Any) -> Labels:
    """Return what a model consists of as far as it is scalar, a machine's numbers included."""
    values = {**vars(model), **vars(model).get("numbers", {})}
    texts = ("name", "origin", "what")
    return {
        name: value
        for name, value in values.items()
        if name not in texts and (value is None or isinstance(value, (str, int, float, bool)))
    }
