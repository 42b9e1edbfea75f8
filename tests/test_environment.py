"""The ways to install agree: pyproject.toml, the lock, environment.yml, CITATION.cff, what is installed."""

import re
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

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
NEEDED = [Requirement(line) for line in PROJECT["dependencies"] + EXTRAS["test"]]
ALL = NEEDED + [Requirement(line) for line in EXTRAS["cluster"]]
LINES = (ROOT / "requirements.lock").read_text().splitlines()
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())
CONDA_NAME = {  # what conda-forge calls differently, or offers without a part that is not needed
    "matplotlib": "matplotlib-base",
    "playwright": "playwright-python",
    "seaborn": "seaborn-base",
}
SYSTEMS = [("linux", "posix"), ("darwin", "posix"), ("win32", "nt")]


def locked_on(platform, system, version):
    """The version of each package that the lock chooses on a machine."""
    about = {"sys_platform": platform, "os_name": system, "python_version": version}
    about["python_full_version"] = f"{version}.9"
    lines = [line for line in map(Requirement, LINES) if line.marker is None or line.marker.evaluate(about)]
    names = [canonicalize_name(line.name) for line in lines]
    assert len(names) == len(set(names)), f"a package has two versions on {about}"
    return {name: str(line.specifier).removeprefix("==") for name, line in zip(names, lines, strict=True)}


@pytest.mark.parametrize("wanted", NEEDED, ids=str)
def test_what_is_installed_satisfies_pyproject(wanted):
    assert wanted.specifier.contains(metadata.version(wanted.name), prereleases=True)


def test_the_lock_pins_one_version_a_line_and_names_no_address():
    for line in LINES:
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*==[0-9][0-9a-z.+]*( ; .+)?", line), line
        assert "//" not in line


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
@pytest.mark.parametrize(("platform", "system"), SYSTEMS)
def test_the_lock_satisfies_pyproject_and_its_extras_on_every_machine(platform, system, version):
    chosen = locked_on(platform, system, version)
    for wanted in ALL:
        assert wanted.specifier.contains(chosen[canonicalize_name(wanted.name)]), wanted


def test_the_lock_keeps_a_jsonschema_that_builds_no_grammar_when_nbformat_is_imported():
    """Since 4.25 it takes rfc3987-syntax, which costs every command and test process 2.5 s."""
    chosen = locked_on("linux", "posix", "3.11")
    assert chosen["jsonschema"] in SpecifierSet("<4.25")
    assert "rfc3987-syntax" not in chosen


def test_conda_gets_the_names_and_ranges_of_pyproject():
    conda = {re.split("[<>=]", line)[0]: line for line in CONDA["dependencies"] if isinstance(line, str)}
    expected = {"pip": "pip", "python": "python" + PROJECT["requires-python"]}
    for wanted in NEEDED:
        name = CONDA_NAME.get(wanted.name, wanted.name.lower())
        expected[name] = name + str(wanted.specifier)
    assert conda == expected
    assert [line for line in CONDA["dependencies"] if isinstance(line, dict)] == [{"pip": ["-e ."]}]
    assert CONDA["channels"] == ["conda-forge", "nodefaults"]


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.14", "3.15"])
def test_pyproject_accepts_the_pythons_that_the_command_accepts(version):
    accepted = version in ("3.11", "3.14")
    assert SpecifierSet(PROJECT["requires-python"]).contains(version) is accepted
    assert (command.refuse(tuple(map(int, version.split(".")))) == "") is accepted


def test_the_citation_names_this_version_licence_and_description():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == PROJECT["version"] == swaplib.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == [{"name": "The swaplib authors"}]
    assert {"message", "title", "type"} <= set(citation)
