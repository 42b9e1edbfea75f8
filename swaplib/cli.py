"""The commands: list, run, regenerate, compare, probe, test, lab."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from swaplib.notebooks import (
    FINDINGS_FROM,
    UsageError,
    assign,
    collection,
    collection_folder,
    explorers,
    select,
)

__all__ = ["main"]

FINE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        The command and its arguments; ``sys.argv[1:]`` without it.

    Returns
    -------
    int
        The exit status: 0 fine, 1 a notebook or test failed, 2 wrong use, 130 interrupted; `test` gives pytest's.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    command, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    try:
        if command == "test" and not {"-h", "--help"} & set(rest):
            return _test([argument for argument in rest if argument != "--"])
        passed_on: list[str] = []
        if command == "lab" and "--" in rest:
            passed_on = rest[rest.index("--") + 1 :]
            arguments = ["lab", *rest[: rest.index("--")]]
        options = _parser().parse_args(arguments)
        if options.command == "lab":
            return _lab(passed_on)
        commands = {
            "list": _list,
            "run": _run,
            "regenerate": _regenerate,
            "compare": _compare,
            "probe": _probe,
        }
        return commands[options.command](options)
    except SystemExit as end:  # argparse has said why
        return end.code if isinstance(end.code, int) else MISUSED
    except (UsageError, FileNotFoundError) as error:
        print(f"swaplib: error: {error}", file=sys.stderr)
        return MISUSED
    except KeyboardInterrupt:
        print("swaplib: interrupted", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="swaplib", description="Notebooks on how swap entries should be freed."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    named = "as 01_patch_tables, or the start of it: 01; all without a name"

    commands.add_parser("list", help="show the notebooks, their questions and parameters")

    run = commands.add_parser("run", help="execute notebooks into a folder of results with a report")
    run.add_argument("names", nargs="*", metavar="NAME", help=named)
    run.add_argument(
        "-p",
        action="append",
        default=[],
        dest="parameters",
        metavar="NAME=VALUE",
        help="set a parameter; repeatable",
    )
    run.add_argument(
        "-f", type=Path, dest="file", metavar="FILE", help="parameters in YAML, `name: value` a line"
    )
    run.add_argument("--out", type=Path, metavar="DIR", help="folder of results (default: results)")
    run.add_argument("--jobs", type=_positive, metavar="N", help="notebooks at once (default: one a CPU)")
    run.add_argument("--force", action="store_true", help="write into a folder that holds other files")

    regenerate = commands.add_parser("regenerate", help="execute notebooks in place and clean their metadata")
    regenerate.add_argument("names", nargs="*", metavar="NAME", help=named)
    regenerate.add_argument(
        "--jobs", type=_positive, metavar="N", help="notebooks at once (default: one a CPU)"
    )

    compare = commands.add_parser(
        "compare", help="say of measured runs, arm by arm, whether a difference is real"
    )
    compare.add_argument(
        "file", metavar="FILE", help="CSV or parquet: arm,metric,value, or a column for each arm"
    )
    compare.add_argument(
        "--base", default="before", metavar="ARM", help="the arm to compare with (default: before)"
    )
    compare.add_argument(
        "--better", choices=["lower", "higher"], help="which is better (default: as FILE says, or lower)"
    )
    compare.add_argument("--paired", action="store_true", help="run i of each arm belongs together")
    for about in ("kernel", "machine", "swap-device"):
        compare.add_argument(
            f"--{about}", default="", metavar="TEXT", help="for the heading (default: as FILE says)"
        )
    forms = compare.add_mutually_exclusive_group()
    for form, about in (
        ("text", "for a mail, at most 80 columns (default)"),
        ("markdown", "a table"),
        ("json", "all"),
    ):
        forms.add_argument(
            f"--{form}", dest="form", action="store_const", const=form, default="text", help=about
        )

    from swaplib.evidence.probe_core import add_options

    probe = add_options(
        commands.add_parser("probe", help="measure exits with swapped-out memory on this machine")
    )
    probe.add_argument(
        "--setup-zram", metavar="SIZE", help="as root: take a zram device of SIZE (2G) for the run"
    )
    probe.add_argument("--force", action="store_true", help="do so beside other swap")
    probe.add_argument(
        "--cleanup", action="store_true", help="remove the zram device that a killed run left behind"
    )
    probe.add_argument(
        "--dry-run", action="store_true", help="show the plan and what is missing, and measure nothing"
    )

    commands.add_parser("test", help="tests and strict nbval in one pytest run; arguments go to pytest")
    commands.add_parser("lab", help="open the notebooks in JupyterLab; what follows -- goes to jupyter lab")
    return parser


def _list(options: argparse.Namespace) -> int:
    for notebook in [*collection(), *explorers()]:
        print(f"{notebook.name}  {notebook.title}")
        if notebook.question:
            print(textwrap.fill(notebook.question, 100, initial_indent="    ", subsequent_indent="    "))
        lines = [
            (f"{p.name}: {p.type} = {p.default}" if p.type else f"{p.name} = {p.default}", p.help)
            for p in notebook.parameters
        ]
        width = max((len(definition) for definition, _ in lines), default=0)
        for definition, about in lines:
            print(f"      {definition:<{width}}  {about}".rstrip())
        print()
    return FINE


def _run(options: argparse.Namespace) -> int:
    notebooks = collection()
    for name in sorted(
        {Path(name).stem for name in options.names} & {notebook.name for notebook in explorers()}
    ):
        raise UsageError(
            f"{name} answers while you move its controls, and no report shows it; open it with `lab`"
        )
    chosen = select(options.names, notebooks)
    if not chosen:
        raise UsageError(f"{collection_folder()} holds no notebooks")
    given = assign(chosen, _texts(options.parameters), _file_values(options.file))

    from swaplib.execution import Execution, execute
    from swaplib.results import Results

    out = options.out or collection_folder().parent / "results"
    results = Results(out, notebooks, force=options.force)
    others = {notebook.name for notebook in notebooks if not notebook.reads_findings}
    is_whole = others <= {*results.entries, *(notebook.name for notebook in chosen)}
    for notebook in chosen:
        if notebook.reads_findings and is_whole:  # else it reads the collection's own
            given[notebook.name].setdefault(FINDINGS_FROM, results.findings_from(notebook))
    failed = []

    def finished(execution: Execution) -> None:
        results.keep(execution)
        if execution.error:
            failed.append(execution.notebook.name)
        _report_line(execution)

    execute(chosen, given, finished, options.jobs)

    from swaplib.report import write_report

    index = write_report(results, notebooks, explorers())
    _say(f"report: {_shown(index)}")
    if failed:
        print(
            f"swaplib: {len(failed)} of {len(chosen)} notebooks failed: {', '.join(sorted(failed))}",
            file=sys.stderr,
        )
        return FAILED
    return FINE


def _regenerate(options: argparse.Namespace) -> int:
    chosen = select(options.names, [*collection(), *explorers()])
    failed = []
    seconds = {}

    from swaplib.execution import Execution, execute, replace_text

    def finished(execution: Execution) -> None:
        if execution.error or execution.output is None:
            failed.append(execution.notebook.name)
        else:
            replace_text(execution.notebook.path, execution.output)
            seconds[execution.notebook.name] = execution.duration_s
        _report_line(execution)

    execute(chosen, {notebook.name: {} for notebook in chosen}, finished, options.jobs)
    from swaplib.readme import refresh_readme

    for path in refresh_readme(seconds):
        _say(f"made anew: {_shown(path)}")
    if failed:
        print(f"swaplib: left as they were: {', '.join(sorted(failed))}", file=sys.stderr)
        return FAILED
    return FINE


def _probe(options: argparse.Namespace) -> int:
    from swaplib.evidence import probe_core, zram
    from swaplib.evidence.probe import arguments_of, measure

    try:
        if options.cleanup:
            _say("removed what was left behind" if zram.clean_up() else "nothing was left behind")
            return FINE
        if zram.left_behind():
            raise UsageError(zram.left_behind())
        if options.dry_run:
            plan = probe_core.plan(options)
            for rep, cell in plan:
                print(f"repetition {rep}: {', '.join(f'{name} {value}' for name, value in cell.items())}")
            missing = [
                what
                for what in probe_core.missing(plan)
                if not (options.setup_zram and what == probe_core.NO_SWAP)
            ]
            print("\n".join(f"missing: {what}" for what in missing) or "nothing is missing")
            return FINE
        measure(arguments_of(options), options.setup_zram, options.force, quiet=False)
    except (probe_core.ProbeError, ValueError) as error:
        raise UsageError(str(error)) from None
    _say(f"measured: {_shown(Path(options.out))}")
    return FINE


def _compare(options: argparse.Namespace) -> int:
    from swaplib.analysis.compare import compare
    from swaplib.evidence.runs import read_runs

    try:
        runs = read_runs(options.file, options.better, options.base)
        for note in runs.attrs["notes"]:
            print(f"swaplib: note: {note}", file=sys.stderr)
        about = {name: getattr(options, name) for name in ("kernel", "machine", "swap_device")}
        found = compare(runs, options.base, paired=options.paired, command=_again(options), **about)
    except ValueError as error:
        raise UsageError(str(error)) from error
    _say({"text": found.text, "markdown": found.markdown, "json": found.json}[options.form]().rstrip("\n"))
    return FINE


def _again(options: argparse.Namespace) -> str:
    """Return the command that compares again, on one line whatever the names hold."""
    words = ["swaplib", "compare", options.file, "--base", options.base]
    words += ["--better", options.better] if options.better else []
    words += ["--paired"] if options.paired else []
    return " ".join(shlex.quote(word if word.isprintable() else ascii(word)) for word in words)


def _test(arguments: list[str]) -> int:
    from swaplib.execution import child_environment

    checkout = _checkout()
    options = [] if "--nbval-lax" in arguments else ["--nbval"]
    values = {
        arguments[i + 1] for i, option in enumerate(arguments[:-1]) if option in ("-k", "-m", "-n", "-p")
    }
    places = [a for a in arguments if a not in values and (checkout / a.split("::")[0]).exists()]
    command = [sys.executable, "-m", "pytest", *options, "-n", "auto", "--dist", "loadfile", *arguments]
    if not places:
        command += ["tests", "notebooks"]
    return subprocess.call(command, cwd=checkout, env=child_environment())


def _lab(passed_on: list[str]) -> int:
    from swaplib.execution import child_environment

    folder = collection_folder()
    command = [sys.executable, "-m", "jupyterlab", folder.name, *passed_on]
    os.chdir(folder.parent)
    sys.stdout.flush()
    os.execve(sys.executable, command, child_environment())


def _checkout() -> Path:
    """Return the clone that holds package, tests and notebooks."""
    checkout = Path(__file__).resolve().parent.parent
    if not (checkout / "tests").is_dir():
        raise UsageError(
            "`test` needs a clone of the repository: there is no folder 'tests' beside the package"
        )
    return checkout


def _texts(parameters: Sequence[str]) -> dict[str, str]:
    """Split NAME=VALUE arguments; the last of a name wins."""
    texts = {}
    for parameter in parameters:
        name, equals, text = parameter.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"-p {parameter!r} is not NAME=VALUE; expected something like -p page_kib=16")
        texts[name.strip()] = text
    return texts


def _file_values(path: Path | None) -> dict[str, Any]:
    """Read parameters from a YAML file."""
    if path is None:
        return {}
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"-f {path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"-f {path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise UsageError(f"-f {path} holds a {type(values).__name__}; expected `name: value`, one a line")
    return values


def _report_line(execution: Any) -> None:
    """Print one line on a finished notebook: its time, and its answer or its error."""
    head = f"{execution.notebook.name}  {execution.duration_s:.1f} s"
    if execution.error:
        _say(f"{head}  FAILED in {' '.join(execution.error.split())}")
        return
    from swaplib.answers import findings_in

    answers = " ".join(found.sentence for found in findings_in(execution.output, execution.notebook.name))
    _say(f"{head}  {answers}".rstrip())


def _say(line: str) -> None:
    print(line, flush=True)


def _shown(path: Path) -> str:
    """Show a path as the user would type it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes; expected 1 or more")
    return number
