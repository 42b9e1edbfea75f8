"""The ways to install agree: pyproject.toml, requirements.lock, environment.yml, CITATION.cff and what is installed."""

import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import swaplib
from swaplib import __main__ as command
from swaplib import bootstrap

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NEEDED = [Requirement(line) for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]]
LOCKED = [Requirement(line) for line in bootstrap.locked(ROOT)]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())
CONDA_NAME = {  # what conda-forge calls differently, or offers without a part that is not needed
    "matplotlib": "matplotlib-base",
    "playwright": "playwright-python",
    "seaborn": "seaborn-base",
}
MACHINES = [
    {
        "sys_platform": platform,
        "os_name": system,
        "python_version": version,
        "python_full_version": f"{version}.9",
    }
    for platform, system in [("linux", "posix"), ("darwin", "posix"), ("win32", "nt")]
    for version in ["3.11", "3.12", "3.13", "3.14"]
]


def locked_on(machine: dict[str, str]) -> dict[str, str]:
    """The version of each package that the lock chooses on a machine."""
    chosen = [line for line in LOCKED if line.marker is None or line.marker.evaluate(machine)]
    names = [canonicalize_name(line.name) for line in chosen]
    assert len(names) == len(set(names)), f"a package has two versions on {machine}"
    return {name: str(line.specifier).removeprefix("==") for name, line in zip(names, chosen, strict=True)}


@pytest.mark.parametrize("wanted", NEEDED, ids=str)
def test_what_is_installed_satisfies_pyproject(wanted):
    assert wanted.specifier.contains(metadata.version(wanted.name), prereleases=True)


def test_the_lock_pins_one_version_a_line_and_names_no_address():
    for line in bootstrap.locked(ROOT):
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*==[0-9][0-9a-z.+]*( ; .+)?", line), line
        assert "//" not in line


@pytest.mark.parametrize(
    "machine", MACHINES, ids=lambda machine: f"{machine['sys_platform']}-{machine['python_version']}"
)
def test_the_lock_satisfies_pyproject_on_every_machine(machine):
    chosen = locked_on(machine)
    for wanted in NEEDED:
        assert wanted.specifier.contains(chosen[canonicalize_name(wanted.name)]), wanted


def test_the_lock_holds_the_base_and_the_tests_but_no_other_extra():
    names = {canonicalize_name(line.name) for line in LOCKED}
    others = {extra for extra in PROJECT["optional-dependencies"] if extra != "test"}
    only_others = {
        canonicalize_name(Requirement(line).name)
        for o in others
        for line in PROJECT["optional-dependencies"][o]
    }
    assert not names & only_others


@pytest.mark.skipif(bool(bootstrap.shortcomings(ROOT, exact=True)), reason="not the locked versions")
def test_every_requirement_of_a_locked_package_is_locked():
    here = {"python_version": f"3.{sys.version_info.minor}"}
    chosen = locked_on({**here, "python_full_version": ".".join(map(str, sys.version_info[:3]))})
    reached = [(name, "") for name in sorted(chosen)]
    for name, extra in reached:
        for line in metadata.requires(name) or []:
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({**here, "extra": extra}):
                found = chosen.get(canonicalize_name(wanted.name))
                assert found is not None, f"{name} needs {wanted}, which is not locked"
                assert wanted.specifier.contains(found, prereleases=True), f"{name} needs {wanted}"
                reached += [(wanted.name, e) for e in wanted.extras if (wanted.name, e) not in reached]


def test_conda_gets_the_names_and_ranges_of_pyproject():
    conda = {re.split("[<>=]", line)[0]: line for line in CONDA["dependencies"] if isinstance(line, str)}
    expected = {"pip": "pip", "python": "python" + PROJECT["requires-python"]}
    for wanted in NEEDED:
        name = CONDA_NAME.get(wanted.name, wanted.name.lower())
        expected[name] = name + str(wanted.specifier)
    assert conda == expected


def test_conda_takes_nothing_from_pip_but_this_checkout():
    assert [line for line in CONDA["dependencies"] if isinstance(line, dict)] == [{"pip": ["-e ."]}]
    assert CONDA["channels"] == ["conda-forge", "nodefaults"]


@pytest.mark.parametrize(
    ("version", "accepted"),
    [("3.10", False), ("3.11", True), ("3.12", True), ("3.13", True), ("3.14", True), ("3.15", False)],
)
def test_pyproject_accepts_the_pythons_that_the_command_accepts(version, accepted):
    assert SpecifierSet(PROJECT["requires-python"]).contains(version) is accepted
    assert (command.refuse(tuple(map(int, version.split(".")))) == "") is accepted


def test_the_citation_names_this_version_licence_and_description():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == PROJECT["version"] == swaplib.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == [{"name": "The swaplib authors"}]
    assert {"message", "title", "type"} <= set(citation)
