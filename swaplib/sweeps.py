"""Many runs: models in all combinations, in threads or on a cluster, and no finished run is lost."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
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
from swaplib.sim.simulate import simulate

KINDS = {"machine": Machine, "kernel": Kernel, "storm": Storm, "policy": Policy}
Named = dict[str, Any]  # models by kind, or values by column
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
    executor: Where = None,
    checkpoint: str | Path | None = None,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Simulate every combination of machines, kernels, storms and policies, each with several draws.

    Replication r draws with seed + r, whatever the setting: policies face the same storms (common random
    numbers), and ``swaplib.simulate(..., seed=seed + r)`` shows any row again. What cannot run is a
    ValueError before the first run.

    Parameters
    ----------
    machine, kernel, storm, policy
        A name of the catalogue, a model, or a list of these. A storm's name is looked up for each machine.
    settings
        Dicts: the four above replace the arguments of that name, every other key is a label (text or number).
    replications, seed, executor, progress
        Draws of each storm, and the first of them; `executor` and `progress` as in `in_parallel`.
    checkpoint
        A file (SQLite) that keeps finished runs, so that an interrupted sweep goes on from there.

    Returns
    -------
    pandas.DataFrame
        One row a run, by setting, then replication, on any executor: machine, kernel, storm and policy by
        name, numbers in which models of one name differ, labels, replication, values of `Outcome.summary`.
    """
    draws = range(at_least("seed", seed, 0), seed + at_least("replications", replications, 1))
    models = {"machine": machine, "kernel": kernel, "storm": storm, "policy": policy}
    arms = [arm for number, row in enumerate(settings) for arm in _arms(number, {**models, **row})]
    if not arms:
        raise ValueError(f"settings is {settings!r}; expected a list of at least one dict")
    columns = _columns(arms)
    runs = [(arm, draw) for arm, _ in arms for draw in draws]
    for arm, draw in runs:
        check_together(arm["machine"], arm["kernel"], arm["policy"])
        arm["storm"].draw(arm["machine"], draw)
    # An empty run compiles the engine before threads want it, and has all columns.
    empty = {**arms[0][0], "storm": Storm("empty", processes=0), "policy": Policy("none")}
    if taken := {"replication", *_summary((empty, 0))} & set(columns[0]):
        raise ValueError(f"label '{min(taken)}' is a column of the outcome; call it something else")
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

    executor: None (one after another), ``"threads"`` (simulations in them use all CPUs), the address of a
    dask scheduler (``"tcp://host:8786"``), or any `concurrent.futures.Executor`.
    progress: whether to show a bar; None shows it on a terminal.
    """
    return list(_one_by_one(function, list(inputs), executor, progress))


def launch_times(cases: Mapping[int, Named], draws: Sequence[int] = (0,)) -> pd.DataFrame:
    """Return mean times of launches in milliseconds: one row a case, by its number.

    A case has a machine, kernel, storm and policy; draw d of case n has the seed 10,000 n + d. Columns 0, 1,
    ... are how long each phase of the foreground took; exits is when the last process was gone.
    """
    runs = [{**case, "seed": 10_000 * n + d} for n, case in cases.items() for d in draws]
    rows = pd.DataFrame(in_parallel(_launch, runs))
    return rows.groupby(np.repeat(list(cases), len(draws))).mean()


def solved_work(cases: Mapping[int, Named], aim_ms: pd.DataFrame, rounds: int = 3) -> dict[int, Named]:
    """Return cases whose foreground has so much CPU work that its phases take `aim_ms` (columns 0, 1, ...).

    Work begins at half of the aim; in each round it is scaled by the 1.5th power of what the time is off, and
    stays between a twentieth and three times the aim, so the aim may be missed: look at `launch_times`.
    """
    solved, work = {n: dict(case) for n, case in cases.items()}, aim_ms / 2
    for _ in range(rounds):
        for n, case in solved.items():
            phases = zip(case["storm"].foreground, work.loc[n], strict=True)
            front = tuple(replace(phase, cpu_ns=round(1e6 * ms)) for phase, ms in phases)
            case["storm"] = case["storm"].but(foreground=front)
        off = aim_ms / launch_times(solved)[aim_ms.columns]
        work = (work * off**1.5).clip(aim_ms / 20, 3 * aim_ms)
    return solved


def _launch(run: Named) -> dict[Any, Any]:
    outcome = simulate(**run, trace=False)
    times = np.diff(outcome.phase_ends_ns, prepend=0) / 1e6
    return {**dict(enumerate(times)), "exits": outcome.df_processes().exited_ms.max()}


def _arms(number: int, given: Mapping[str, Any]) -> Iterator[tuple[Named, Named]]:
    """Yield the models and the labels of every combination that one dict of settings asks for."""
    where = f"settings[{number}]: "
    labels = {name: value for name, value in given.items() if name not in KINDS}
    for name, value in labels.items():
        if value is not None and not np.isscalar(value):
            raise ValueError(f"{where}label '{name}' is {value!r}; expected text or a number")
    for machine in _models(where, "machine", given):
        others = [_models(where, kind, given, machine) for kind in ("kernel", "storm", "policy")]
        for models in product([machine], *others):
            yield dict(zip(KINDS, models, strict=True)), labels


def _models(where: str, kind: str, given: Mapping[str, Any], *machine: Machine) -> list[Any]:
    """Return the models that one argument asks for, by name or as they are."""
    value, found = given[kind], []
    for one in value if isinstance(value, (list, tuple)) and value else [value]:
        if isinstance(one, str):
            one = catalogue.storm(one, *machine) if kind == "storm" else getattr(catalogue, kind)(one)
        if not isinstance(one, KINDS[kind]):
            expected = f"a name, a {kind.title()}, or a list of these"
            raise ValueError(f"{where}{kind} is {one!r}; expected {expected}")
        found.append(one)
    return found


def _columns(arms: Sequence[tuple[Named, Named]]) -> list[Named]:
    """Return for each arm what tells its rows from those of others; refuse two arms that nothing does."""
    if missing := {name for _, labels in arms for name in set(labels) ^ set(arms[0][1])}:
        raise ValueError(f"label '{min(missing)}' is missing from some settings; give it to all or to none")
    names = [{kind: models[kind].name for kind in KINDS} for models, _ in arms]
    numbers: list[Named] = [{} for _ in arms]
    for kind in KINDS:
        table = pd.DataFrame([_numbers(models[kind]) for models, _ in arms], dtype=object)
        varying = table.groupby([row[kind] for row in names]).nunique(dropna=False).gt(1).any()
        for name in table.columns[varying]:
            for own, value in zip(numbers, table[name], strict=True):
                own[name] = value
    columns = [{**name, **own, **labels} for name, own, (_, labels) in zip(names, numbers, arms, strict=True)]
    if len({tuple(row.values()) for row in columns}) < len(columns):
        raise ValueError("two settings have the same columns; give each a label of its own")
    return columns


def _numbers(model: Any) -> Named:
    """Return what a model consists of, a machine's numbers included; None for what is no single value."""
    values = {**vars(model), **vars(model).get("numbers", {})}
    texts = ("name", "origin", "what")
    return {name: v if np.isscalar(v) else None for name, v in values.items() if name not in texts}


def _summary(run: tuple[Named, int]) -> Named:
    """Simulate one run and return its summary; an error says which run it was."""
    models, seed = run
    try:
        return simulate(**models, seed=seed, trace=False).totals()
    except Exception as error:
        names = ", ".join(f"{kind} '{model.name}'" for kind, model in models.items())
        error.add_note(f"in the sweep's run with {names}, seed {seed}")
        raise


def _kept(path: Path, runs: Sequence[Any], executor: Where, progress: bool | None) -> list[Named]:
    """Return the summaries of the runs: those that a checkpoint holds, and others, which are added to it.

    A run is known by all that decides its result: the engine, the models, the draw.
    """
    keys = [hashlib.sha256(repr((digest_of_sources(), run)).encode()).hexdigest() for run in runs]
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as file:
            file.execute("create table if not exists runs (run primary key, summary)")
            summaries = {key: json.loads(text) for key, text in file.execute("select run, summary from runs")}
            missing = {key: run for key, run in zip(keys, runs, strict=True) if key not in summaries}
            found = _one_by_one(_summary, list(missing.values()), executor, progress)
            for key, summary in zip(missing, found, strict=True):
                summaries[key] = summary
                text = json.dumps(summary, default=lambda value: value.item())
                file.execute("insert or replace into runs values (?, ?)", (key, text))
    except sqlite3.DatabaseError as error:
        raise ValueError(f"{path} is no checkpoint of finished runs, or cannot be written: {error}") from None
    return [summaries[key] for key in keys]


def _one_by_one(
    function: Callable[[Any], Any], inputs: Sequence[Any], executor: Where, progress: bool | None
) -> Iterator[Any]:
    """Yield what the function returns for each input, in their order, as soon as it is there."""
    hidden = None if progress is None else not progress  # None: tqdm looks whether there is a terminal
    with _pool(executor) as pool:
        yield from tqdm(pool.map(function, inputs), total=len(inputs), disable=hidden)


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


def exits_at_once(
    arms: Mapping[str, Policy],
    kernels: Sequence[str],
    machines: Mapping[Any, Machine],
    exits: Iterable[int],
    size_classes: Sequence[int],
    **shape: Any,
) -> pd.DataFrame:
    """Return milliseconds until all swap is free again when processes exit at once: a column an arm.

    Index kernel, classes (of zsmalloc, in use), machine (its label) and exits: every combination. Arms are
    policies by label. `shape` are further choices of the storm ``server``, such as swap_entries.
    """
    rows = []
    for (label, machine), processes, classes in product(machines.items(), exits, size_classes):
        choices = {"processes": processes, "size_classes": classes, "present_pages": 0, **shape}
        labels = {"box": label, "exits": processes, "classes": classes}
        where = {**labels, "machine": machine, "storm": catalogue.storm("server", **choices)}
        rows += [{**where, "arm": arm, "policy": policy} for arm, policy in arms.items()]
    frame = sweep(settings=rows, kernel=list(kernels), replications=1, executor="threads", progress=False)
    table = frame.pivot_table("swap_freed_ms", ["kernel", "classes", "box", "exits"], "arm")[[*arms]]
    return table.rename_axis(index={"box": "machine"})
