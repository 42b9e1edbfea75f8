"""Many runs: models in all combinations, in threads or on a cluster, and no finished run is lost."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from swaplib import catalogue
from swaplib.model.checks import at_least
from swaplib.model.compiled import digest_of_sources
from swaplib.model.kernel import Kernel
from swaplib.model.machine import Machine
from swaplib.model.policy import Policy
from swaplib.model.storm import Storm
from swaplib.sim.prepare import check_together
from swaplib.sim.simulate import GRAIN, simulate

KINDS = {"machine": Machine, "kernel": Kernel, "storm": Storm, "policy": Policy}
Named = dict[str, Any]  # models by kind, or values by column
Run = tuple[Named, int, int, int]  # models, seed, experiment, grain
Where = Executor | str | None  # who runs


def sweep(
    *,
    machine: Any = None,
    kernel: Any = None,
    storm: Any = None,
    policy: Any = None,
    settings: Sequence[Mapping[str, Any]] = ({},),
    replications: int = 20,
    seed: int = 0,
    experiment: int = 0,
    grain: int = GRAIN,
    executor: Where = None,
    checkpoint: str | Path | None = None,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Simulate every combination of machines, kernels, storms and policies, each with several draws.

    Replication r draws with seed + r, whatever the setting: policies face the same storms (common random
    numbers), and ``swaplib.simulate(..., seed=seed + r, experiment=experiment)`` shows any row again.

    Parameters
    ----------
    machine, kernel, storm, policy
        A name of the catalogue, a model, or a list of these. A storm's name is looked up for each machine.
    settings
        Dicts: the four above replace the arguments of that name, every other key is a label (text or number).
    replications, seed, experiment, grain
        Draws of each storm, the first of them, which series of storms, and how fine `swaplib.simulate` is.
    executor
        Who does the runs, see `in_parallel`; None does one after another.
    checkpoint
        A file that keeps finished runs: a sweep that was interrupted, or shares runs with another, goes on
        from there. A run of another engine or of changed models is made anew.
    progress
        Whether to show a bar; None shows it on a terminal.

    Returns
    -------
    pandas.DataFrame
        One row a run, by setting, then replication, on any executor: machine, kernel, storm and policy by
        name, numbers in which models of one name differ, labels, replication, values of `Outcome.summary`.

    Raises
    ------
    ValueError
        Before the first run: an unknown name, models that do not fit together, two settings with the same
        columns, a label that is taken, a file that is no checkpoint.
    """
    at_least("replications", replications, 1)
    at_least("seed", seed, 0)
    at_least("experiment", experiment, 0)
    at_least("grain", grain, 1, GRAIN)
    arguments = {"machine": machine, "kernel": kernel, "storm": storm, "policy": policy}
    arms = [arm for number, row in enumerate(settings) for arm in _arms(number, {**arguments, **row})]
    if not arms:
        raise ValueError(f"settings is {settings!r}; expected a list of at least one dict")
    columns = _columns(arms)
    draws = range(seed, seed + replications)
    _refuse_what_cannot_run([models for models, _ in arms], draws, experiment)
    if taken := _columns_of_outcome(arms[0][0]) & set(columns[0]):
        raise ValueError(f"label '{min(taken)}' is a column of the outcome; call it something else")
    runs = [(models, draw, experiment, grain) for models, _ in arms for draw in draws]
    if checkpoint:
        summaries = _kept(Path(checkpoint), runs, executor, progress)
    else:
        summaries = in_parallel(_summary, runs, executor, progress)
    return pd.DataFrame(
        {**columns[number // replications], "replication": number % replications, **summary}
        for number, summary in enumerate(summaries)
    )


def in_parallel(
    function: Callable[[Any], Any],
    inputs: Iterable[Any],
    executor: Where = "threads",
    progress: bool | None = False,
) -> list[Any]:
    """Return what a function returns for each input, in the order of the inputs.

    Parameters
    ----------
    executor
        None (one after another), ``"threads"`` (simulations in them use all CPUs), the address of a dask
        scheduler (``"tcp://host:8786"``), or any `concurrent.futures.Executor`.
    progress
        Whether to show a bar; None shows it on a terminal.
    """
    results = dict(_as_they_end(function, inputs, executor, progress))
    return [results[number] for number in range(len(results))]


def _arms(number: int, given: Mapping[str, Any]) -> Iterator[tuple[Named, Named]]:
    """Yield the models and the labels of every combination that one dict of settings asks for."""
    where = f"settings[{number}]: "
    labels = {name: value for name, value in given.items() if name not in KINDS}
    for name, value in labels.items():
        if value is not None and not np.isscalar(value):
            raise ValueError(f"{where}label '{name}' is {value!r}; expected text or a number")
    for machine in _models(where, "machine", given["machine"]):
        kernels, storms, policies = (_models(where, kind, given[kind], machine) for kind in list(KINDS)[1:])
        for models in product([machine], kernels, storms, policies):
            yield dict(zip(KINDS, models, strict=True)), labels


def _models(where: str, kind: str, value: Any, machine: Any = None) -> list[Any]:
    """Return the models that one argument asks for, by name or as they are."""
    found = []
    for one in value if isinstance(value, (list, tuple)) and value else [value]:
        if isinstance(one, str):
            one = catalogue.storm(one, machine) if kind == "storm" else getattr(catalogue, kind)(one)
        if not isinstance(one, KINDS[kind]):
            expected = f"a name, a {kind.title()}, or a list of these"
            raise ValueError(f"{where}{kind} is {one!r}; expected {expected}")
        found.append(one)
    return found


def _columns(arms: Sequence[tuple[Named, Named]]) -> list[Named]:
    """Return for each arm what tells its rows from those of others; refuse two arms that nothing does."""
    varying = [(kind, name) for kind in KINDS for name in _varying([models[kind] for models, _ in arms])]
    found: dict[tuple[Any, ...], Named] = {}
    for models, labels in arms:
        if missing := set(labels) ^ set(arms[0][1]):
            raise ValueError(
                f"label '{min(missing)}' is missing from some settings; give it to all or to none"
            )
        columns = {kind: models[kind].name for kind in KINDS}
        columns |= {name: _numbers(models[kind])[name] for kind, name in varying}
        columns |= labels
        key = tuple(columns.values())
        if key in found:
            raise ValueError(f"two settings have the same columns ({columns}); give each a label of its own")
        found[key] = columns
    return list(found.values())


def _varying(models: Sequence[Any]) -> list[str]:
    """Return the numbers in which models of one name differ, in the order of their fields."""
    values: dict[tuple[str, str], set[Any]] = {}
    for model in {id(model): model for model in models}.values():
        for name, value in _numbers(model).items():
            values.setdefault((name, model.name), set()).add(value)
    return [name for (name, _), distinct in values.items() if len(distinct) > 1]


def _numbers(model: Any) -> Named:
    """Return what a model consists of, a machine's numbers included; None for what is no single value."""
    values = {**vars(model), **vars(model).get("numbers", {})}
    texts = ("name", "origin", "what")
    return {
        name: value if np.isscalar(value) else None for name, value in values.items() if name not in texts
    }


def _refuse_what_cannot_run(arms: Sequence[Named], draws: Iterable[int], experiment: int) -> None:
    """Check that models fit together, and draw every storm."""
    storms = {}
    for models in arms:
        check_together(models["machine"], models["kernel"], models["policy"])
        storms[id(models["machine"]), id(models["storm"])] = models["machine"], models["storm"]
    for (machine, storm), seed in product(storms.values(), draws):
        storm.draw(machine, seed, experiment)


def _columns_of_outcome(models: Named) -> set[str]:
    """Return what columns a run gives; an empty run also compiles the engine before threads want it."""
    empty = {**models, "storm": Storm("empty", processes=0), "policy": Policy("none")}
    return {"replication", *_summary((empty, 0, 0, GRAIN))}


def _summary(run: Run) -> Named:
    """Simulate one run and return its summary; an error says which run it was."""
    models, seed, experiment, grain = run
    try:
        outcome = simulate(**models, seed=seed, experiment=experiment, grain=grain, trace=False)
    except Exception as error:
        names = ", ".join(f"{kind} '{model.name}'" for kind, model in models.items())
        error.add_note(f"in the sweep's run with {names}, seed {seed}")
        raise
    return {str(name): value for name, value in outcome.summary().items()}


def _kept(path: Path, runs: Sequence[Run], executor: Where, progress: bool | None) -> list[Named]:
    """Return the summaries of the runs: those that a checkpoint holds, and others, which are added to it.

    A run is known by all that decides its result: the engine, the models, the draw. A damaged line is as if
    it were not there. A line break comes before each line, so that it is whole even after one that was torn.
    """
    keys = [hashlib.sha256(repr((digest_of_sources(), run)).encode()).hexdigest() for run in runs]
    with path.open("a+b", buffering=0) as file:
        file.seek(0)
        first, *lines = file.read().split(b"\n")
        if first:
            raise ValueError(
                f"checkpoint {path} holds something else than finished runs; it was left as it is"
            )
        summaries = {}
        for line in lines:
            with suppress(ValueError, TypeError, KeyError):
                entry = json.loads(line)
                summaries[entry["run"]] = dict(entry["summary"])
        missing = {key: run for key, run in zip(keys, runs, strict=True) if key not in summaries}
        names = list(missing)
        for number, summary in _as_they_end(_summary, missing.values(), executor, progress):
            summaries[names[number]] = summary
            entry = {"run": names[number], "summary": summary}
            file.write(b"\n" + json.dumps(entry, default=lambda value: value.item()).encode())
    return [summaries[key] for key in keys]


def _as_they_end(
    function: Callable[[Any], Any],
    inputs: Iterable[Any],
    executor: Where,
    progress: bool | None,
) -> Iterator[tuple[int, Any]]:
    """Yield the number of each input and what the function returns for it, in the order in which they end."""
    hidden = None if progress is None else not progress  # None: tqdm looks whether there is a terminal
    with _pool(executor) as pool:
        futures = {pool.submit(function, one): number for number, one in enumerate(inputs)}
        try:
            for future in tqdm(as_completed(futures), total=len(futures), disable=hidden):
                yield futures[future], future.result()
        finally:
            for future in futures:
                future.cancel()


@contextmanager
def _pool(executor: Where) -> Iterator[Executor]:
    """Give the executor, or one of threads, or one on the cluster whose scheduler's address it is."""
    if executor is None or executor == "threads":
        with ThreadPoolExecutor(os.cpu_count() if executor else 1) as pool:
            yield pool
    elif "://" in str(executor) and find_spec("distributed"):
        from dask.distributed import Client

        with Client(executor) as client:
            yield client.get_executor()
    elif hasattr(executor, "submit"):
        yield executor  # type: ignore[misc]
    else:
        expected = "None, 'threads', a concurrent.futures.Executor, or the address of a dask scheduler"
        raise ValueError(f"executor is {executor!r}; expected {expected} (pip install -e .[cluster])")
