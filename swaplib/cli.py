"""The commands: list, run, regenerate, compare, probe, test, lab."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from swaplib import __version__, run
from swaplib.evidence import probe_core
from swaplib.run import Execution, Notebook, UsageError, collection, collection_folder, explorers

FINE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130
CHECKOUT = Path(__file__).resolve().parents[1]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0 if all is fine, 1 if a notebook failed, 2 for wrong use, 130 if interrupted.

    argv: its name and its arguments, ``sys.argv[1:]`` without them. `test` gives pytest's status.
    """
    try:
        options = parse(sys.argv[1:] if argv is None else argv)
        return int(options.command(options))
    except SystemExit as end:  # argparse has said why
        return int(end.code or FINE)
    except (UsageError, FileNotFoundError) as error:
        print(f"swaplib: error: {error}", file=sys.stderr)
        return MISUSED
    except KeyboardInterrupt:
        print("swaplib: interrupted", file=sys.stderr)
        return INTERRUPTED


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read a command line, with the standard library alone; SystemExit if it is wrong, or asks for help."""
    words = list(arguments) or ["--help"]
    passed_on: list[str] = []
    if words[0] == "test" and not {"-h", "--help"} & set(words):
        words, passed_on = ["test"], [word for word in words[1:] if word != "--"]
    elif words[0] == "lab" and "--" in words:
        words, passed_on = words[: words.index("--")], words[words.index("--") + 1 :]
    return argparse.Namespace(**vars(_parser().parse_args(words)), typed=words, passed_on=passed_on)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="swaplib", epilog="As in: swaplib run 03 -p page_kib=16")
    parser.add_argument("--version", action="version", version=f"swaplib {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(command: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        added = commands.add_parser(command.__name__.strip("_"), help=about, description=about)
        added.set_defaults(command=command)
        return added

    add(_list, "show the notebooks: question, parameters with type, default and help")
    execute = add(_run, "execute notebooks into a folder of results, with a report")
    regenerate = add(_regenerate, "execute notebooks in place and clean their metadata")
    for command in (execute, regenerate):
        command.add_argument("names", nargs="*", metavar="NAME", help="01_patch_tables, or 01; all without")
        command.add_argument("--jobs", type=int, metavar="N", help="notebooks at once (default: one a CPU)")
    option = execute.add_argument
    option(
        "-p", action="append", default=[], type=_pair, dest="texts", metavar="NAME=VALUE", help="repeatable"
    )
    option("-f", type=Path, dest="file", metavar="FILE", help="parameters in YAML, `name: value` a line")
    option("--out", type=Path, metavar="DIR", help="folder of results (default: results)")
    option("--force", action="store_true", help="write into a folder that holds other files")

    compare = add(_compare, "say of measured runs, arm by arm, whether a difference is real")
    option = compare.add_argument
    option("file", metavar="FILE", help="CSV or parquet: arm,metric,value, or a column for each arm")
    option("--base", default="before", metavar="ARM", help="the arm to compare with (default: before)")
    option("--better", choices=["lower", "higher"], help="which is better (default: as FILE says, or lower)")
    option("--paired", action="store_true", help="run i of each arm belongs together")
    for what in ("--kernel", "--machine", "--swap-device"):
        option(what, default="", metavar="TEXT", help="for the heading (default: as FILE says)")
    option = compare.add_mutually_exclusive_group().add_argument
    for form, about in {"text": "at most 80 columns (default)", "markdown": "a table", "json": "all"}.items():
        option(f"--{form}", dest="form", action="store_const", const=form, default="text", help=about)

    probe = probe_core.add_options(add(_probe, "measure exits with swapped-out memory on this machine"))
    probe.add_argument("--dry-run", action="store_true", help="show the plan and what is missing")
    add(_test, "lint, types, tests and strict nbval in one pytest run; arguments go to pytest")
    add(_lab, "open the notebooks in JupyterLab; what follows -- goes to jupyter lab")
    return parser


def _list(options: argparse.Namespace) -> int:
    for notebook in [*collection(), *explorers()]:
        print(f"{notebook.name}  {notebook.title}")
        print(textwrap.indent(textwrap.fill(notebook.question, 96), "    "))
        lines = [(f"{p.name}{p.type and ': '}{p.type} = {p.default}", p.help) for p in notebook.parameters]
        width = max((len(definition) for definition, _ in lines), default=0)
        for definition, about in lines:
            print(f"      {definition:<{width}}  {about}".rstrip())
        print()
    return FINE


def _run(options: argparse.Namespace) -> int:
    from swaplib.report import keep, open_results, write_report

    notebooks = collection()
    chosen = _chosen(options, notebooks)
    given = run.assign(chosen, dict(options.texts), _file_values(options.file))
    out = options.out or collection_folder().parent / "results"
    there = open_results(out, notebooks, force=options.force) | {notebook.name for notebook in chosen}
    others = {notebook.name for notebook in notebooks if not notebook.reads_findings}
    for notebook in chosen:
        if notebook.reads_findings and others <= there:  # else it reads the collection's own
            seen = os.path.relpath(out, notebook.path.parent)
            given[notebook.name].setdefault(run.FINDINGS_FROM, seen)
    status = _execute(chosen, given, options.jobs, lambda execution: keep(out, execution))
    print("writing the report", flush=True)
    print(f"report: {os.path.relpath(write_report(out, notebooks, explorers()))}")
    return status


def _regenerate(options: argparse.Namespace) -> int:
    from swaplib.readme import refresh_readme

    def replace(execution: Execution) -> None:
        if execution.output and not execution.error:
            run.replace_text(execution.notebook.path, execution.output)

    chosen = _chosen(options, [*collection(), *explorers()])
    status = _execute(chosen, {notebook.name: {} for notebook in chosen}, options.jobs, replace)
    for path in refresh_readme():
        print(f"made anew: {os.path.relpath(path)}")
    return status


def _chosen(options: argparse.Namespace, notebooks: Sequence[Notebook]) -> list[Notebook]:
    if options.jobs is not None and options.jobs < 1:
        raise UsageError(f"--jobs is {options.jobs}; expected 1 or more")
    return run.select(options.names, notebooks)


def _execute(
    chosen: Sequence[Notebook],
    given: Mapping[str, dict[str, Any]],
    jobs: int | None,
    take: Callable[[Execution], None],
) -> int:
    """Execute notebooks, with a line on each as it ends; return the status."""
    from swaplib.answers import findings_in

    failed: list[str] = []
    count = iter(range(1, len(chosen) + 1))

    def finished(execution: Execution) -> None:
        take(execution)
        name, output = execution.notebook.name, execution.output or '{"cells": []}'
        said = "; ".join(found.verdict for found in findings_in(output, name))
        if execution.error:
            failed.append(name)
            said = f"FAILED: {' '.join(execution.error.split())}"
        line = f"{next(count)} of {len(chosen)}  {name}  {execution.duration_s:.1f} s  {said}"
        print(line if len(line) <= 160 else f"{line[:156]} ...", flush=True)

    print(f"executing {len(chosen)} notebooks", flush=True)
    run.execute(chosen, given, finished, jobs)
    if failed:
        names = ", ".join(sorted(failed))
        print(f"swaplib: {len(failed)} of {len(chosen)} notebooks failed: {names}", file=sys.stderr)
    return FAILED if failed else FINE


def _compare(options: argparse.Namespace) -> int:
    from swaplib.analysis.compare import compare
    from swaplib.evidence.runs import read_runs

    typed = [word if word.isprintable() else ascii(word) for word in ("swaplib", *options.typed)]
    about = {name: getattr(options, name) for name in ("kernel", "machine", "swap_device")}
    try:
        runs = read_runs(options.file, options.better, options.base)
        for note in runs.attrs["notes"]:
            print(f"swaplib: note: {note}", file=sys.stderr)
        found = compare(runs, options.base, paired=options.paired, command=shlex.join(typed), **about)
    except ValueError as error:
        raise UsageError(str(error)) from error
    print(getattr(found, options.form)().rstrip("\n"))
    return FINE


def _probe(options: argparse.Namespace) -> int:
    from swaplib.evidence.probe import arguments_of, measure

    try:
        if not options.dry_run:
            measure(arguments_of(options), quiet=False)
            print(f"measured: {os.path.relpath(options.out)}")
            return FINE
        plan = probe_core.plan(options)
    except (probe_core.ProbeError, ValueError) as error:
        raise UsageError(str(error)) from None
    for repetition, cell in plan:
        print(f"repetition {repetition}: {', '.join(f'{name} {value}' for name, value in cell.items())}")
    print("\n".join(f"missing: {what}" for what in probe_core.missing(plan)) or "nothing is missing")
    return FINE


def _test(options: argparse.Namespace) -> int:
    if not (CHECKOUT / "tests").is_dir():
        raise UsageError("`test` needs a clone of the repository, with a folder 'tests' beside the package")
    words = [
        word for before, word in pairwise(["", *options.passed_on]) if before not in ("-k", "-m", "-n", "-p")
    ]
    is_placed = any((CHECKOUT / word.split("::")[0]).exists() for word in words)
    nbval = [] if "--nbval-lax" in words else ["--nbval"]
    command = [sys.executable, "-m", "pytest", *nbval, "-n", "auto", "--dist", "loadfile", *options.passed_on]
    places = [] if is_placed else ["tests", "notebooks"]
    return subprocess.call([*command, *places], cwd=CHECKOUT, env=run.child_environment())


def _lab(options: argparse.Namespace) -> int:
    folder = collection_folder()
    os.chdir(folder.parent)
    command = [sys.executable, "-m", "jupyterlab", folder.name, *options.passed_on]
    os.execve(sys.executable, command, run.child_environment())


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE; expected as in -p page_kib=16")
    return name.strip(), value


def _file_values(path: Path | None) -> dict[str, Any]:
    """Read parameters from a YAML file."""
    import yaml

    try:
        values = (yaml.safe_load(path.read_text(encoding="utf-8")) if path else None) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"-f {path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise UsageError(f"-f {path} holds a {type(values).__name__}; expected `name: value`, one a line")
    return values


if __name__ == "__main__":
    sys.exit(main())
