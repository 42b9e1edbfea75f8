"""The commands: list, run, regenerate, compare, probe, test, lab."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from swaplib import __version__, run
from swaplib.evidence import probe_core
from swaplib.run import Execution, Notebook, UsageError, collection, collection_folder, explorers, say

CHECKOUT = Path(__file__).resolve().parents[1]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0 if all is fine, 1 if something failed, 2 for wrong use, 130 if interrupted.

    argv: its name and its arguments, ``sys.argv[1:]`` without them. `test` gives pytest's status.
    """
    try:
        options = parse(sys.argv[1:] if argv is None else argv)
        return int(options.command(options))
    except SystemExit as end:  # argparse has said why
        return int(end.code or 0)
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    except (UsageError, OSError) as error:
        say(f"error: {error}")
        return 2 if isinstance(error, UsageError | FileNotFoundError) else 1


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read a command line, with the standard library alone; SystemExit if it is wrong, or asks for help."""
    words, passed_on = list(arguments) or ["--help"], []
    if words[0] in ("test", "lab") and not {"-h", "--help"} & set(words):
        words, passed_on = words[:1], [word for word in words[1:] if word != "--"]
    return argparse.Namespace(**vars(_parser().parse_args(words)), typed=words, passed_on=passed_on)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="swaplib", epilog="As in: swaplib run 03 -p page_kib=16")
    parser.add_argument("--version", action="version", version=f"swaplib {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(command: Callable[..., int], about: str, example: str) -> argparse.ArgumentParser:
        name = command.__name__.strip("_")
        epilog = f"As in: swaplib {name} {example}"
        added = commands.add_parser(name, help=about, description=about, epilog=epilog)
        added.set_defaults(command=command)
        return added

    add(_list, "show the notebooks: question, parameters with type, default and help", "")
    about = "execute notebooks into a folder of results, with a report"
    execute = add(_run, about, "03 07 -p page_kib=16 --out mine")
    regenerate = add(_regenerate, "execute notebooks in place and make README's tables anew", "03")
    for option in (execute.add_argument, regenerate.add_argument):
        option("names", nargs="*", metavar="NAME", help="01_patch_tables, or 01; all without")
        about = "notebooks at once (default: one a CPU)"
        option("--jobs", type=int, choices=range(1, 65), metavar="1..64", help=about)
    option, about = execute.add_argument, "a parameter, see list; repeatable"
    option("-p", action="append", default=[], type=_pair, dest="texts", metavar="NAME=VALUE", help=about)
    option("--out", type=Path, metavar="DIR", help="folder of results (default: results)")

    about = "say of measured runs, arm by arm, whether a difference is real"
    compare = add(_compare, about, "runs.csv --base before --better lower")
    option = compare.add_argument
    about = "CSV: arm,metric,value, or a column for each arm; a benchmark's JSON; of several, each an arm"
    option("files", metavar="FILE", nargs="+", help=about)
    option("--base", default="", metavar="ARM", help="the arm to compare with (default: before, base, old)")
    option("--arms", default="", metavar="A,B", help="which others are arms (default: told by name)")
    option("--better", choices=["lower", "higher"], help="which is better (default: as FILE says, or lower)")
    option("--paired", action="store_true", help="run i of each arm belongs together")
    for what in ("--kernel", "--machine", "--swap-device"):
        option(what, default="", metavar="TEXT", help="for the heading")
    option = compare.add_mutually_exclusive_group().add_argument
    for form, about in {"text": "at most 80 columns (default)", "markdown": "a table", "json": "all"}.items():
        option(f"--{form}", dest="form", action="store_const", const=form, default="text", help=about)

    about = "measure exits with swapped-out memory on this machine"
    probe = probe_core.add_options(add(_probe, about, "--out runs.csv"))
    probe.add_argument("--dry-run", action="store_true", help="show the plan and what is missing")
    about = "lint, types, tests and strict nbval in one pytest run; arguments go to pytest"
    add(_test, about, "tests/test_gather.py -x")
    add(_lab, "open the notebooks in JupyterLab, to which arguments go", "--no-browser --port=9999")
    return parser


def _list(options: argparse.Namespace) -> int:
    for notebook in [*collection(), *explorers()]:
        print(f"{notebook.name}  {notebook.title}")
        print(textwrap.fill(notebook.question, 100, initial_indent="    ", subsequent_indent="    "))
        for one in notebook.parameters:
            print(f"      {f'{one.name}: {one.type} = {one.default}':<40}  {one.help}".rstrip())
        print()
    return 0


def _run(options: argparse.Namespace) -> int:
    from swaplib.report import keep, kept, open_results, write_report

    notebooks = collection()
    chosen = run.select(options.names, notebooks)
    given = run.assign(chosen, dict(options.texts))
    out = options.out or collection_folder().parent / "results"
    others = {notebook.name for notebook in notebooks if not notebook.reads_findings}
    with open_results(out):
        there = {*kept(out, notebooks)} | {notebook.name for notebook in chosen}
        for notebook in chosen:
            if notebook.reads_findings and others <= there:  # else it reads the collection's own
                seen = os.path.relpath(out, notebook.path.parent)
                given[notebook.name].setdefault(run.FINDINGS_FROM, seen)
        status = _execute(chosen, given, options.jobs, lambda execution: keep(out, execution))
        print(f"report: {os.path.relpath(write_report(out, notebooks))}")
    return status


def _regenerate(options: argparse.Namespace) -> int:
    from swaplib.readme import refresh_readme

    def replace(execution: Execution) -> None:
        if execution.output and not execution.error:
            run.replace_text(execution.notebook.path, execution.output)

    chosen = run.select(options.names, [*collection(), *explorers()])
    status = _execute(chosen, {notebook.name: {} for notebook in chosen}, options.jobs, replace)
    say("making README anew")
    refresh_readme()
    return status


def _execute(chosen: Sequence[Notebook], given: dict[str, Any], jobs: int | None, take: Any) -> int:
    """Execute notebooks, each taken and told of in a line as it ends; return the status."""
    from swaplib.answers import findings_in

    ended: list[Execution] = []

    def finished(execution: Execution) -> None:
        take(execution)
        ended.append(execution)
        name, output = execution.notebook.name, execution.output or '{"cells": []}'
        said = "; ".join(found.verdict for found in findings_in(output, name))
        if execution.error:
            said = f"FAILED: {' '.join(execution.error.split())}"
        line = f"{len(ended)} of {len(chosen)}  {name}  {execution.duration_s:.1f} s  {said}"
        print(line if len(line) <= 160 else f"{line[:156]} ...", flush=True)

    print(f"executing {len(chosen)} notebooks", flush=True)
    run.execute(chosen, given, finished, jobs)
    failed = sorted(execution.notebook.name for execution in ended if execution.error)
    if failed:
        say(f"{len(failed)} of {len(chosen)} notebooks failed: {', '.join(failed)}")
    return int(bool(failed))


def _compare(options: argparse.Namespace) -> int:
    from swaplib.analysis.compare import compare
    from swaplib.evidence.runs import read_runs

    typed = [word if word.isprintable() else ascii(word) for word in ("swaplib", *options.typed)]
    about = {name: getattr(options, name) for name in ("kernel", "machine", "swap_device")}
    try:
        arms = [name.strip() for name in options.arms.split(",") if name.strip()]
        names = [Path(file).stem for file in options.files]
        names = names if len(set(names)) == len(names) else options.files
        files = dict(zip(names, options.files, strict=True)) if len(names) > 1 else options.files[0]
        runs = read_runs(files, options.better, options.base, arms)
        for note in runs.attrs["notes"]:
            print(f"swaplib: note: {note}", file=sys.stderr)
        found = compare(runs, paired=options.paired, command=shlex.join(typed), **about)
    except ValueError as error:
        raise UsageError(str(error)) from error
    print(getattr(found, options.form)().rstrip("\n"))
    return 0


def _probe(options: argparse.Namespace) -> int:
    try:
        if not options.dry_run:
            probe_core.run(options)
            print(f"measured: {os.path.relpath(options.out)}")
            return 0
        plan = probe_core.plan(options)
    except (probe_core.ProbeError, OSError) as error:
        raise UsageError(str(error)) from None
    for repetition, cell in plan:
        print(f"repetition {repetition}: {', '.join(f'{name} {value}' for name, value in cell.items())}")
    print("\n".join(f"missing: {what}" for what in probe_core.missing(plan)) or "nothing is missing")
    return 0


def _test(options: argparse.Namespace) -> int:
    if not (CHECKOUT / "tests").is_dir():
        raise UsageError("`test` needs a clone of the repository, with a folder 'tests' beside the package")
    is_placed = any((CHECKOUT / word.split("::")[0]).exists() for word in options.passed_on)
    places = [] if is_placed else ["tests", "notebooks"]
    command = [sys.executable, "-m", "pytest", "--nbval", "-n", "auto", "--dist", "loadfile"]
    return subprocess.call([*command, *options.passed_on, *places], cwd=CHECKOUT, env=run.child_environment())


def _lab(options: argparse.Namespace) -> int:
    first = collection()[0].path
    os.chdir(first.parent.parent)
    command = [sys.executable, "-m", "jupyterlab", os.path.relpath(first), *options.passed_on]
    os.execve(sys.executable, command, run.child_environment())


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE; expected as in -p page_kib=16")
    return name.strip(), value


if __name__ == "__main__":
    sys.exit(main())
