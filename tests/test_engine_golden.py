"""The same input gives the same bits: as stored, run after run, compiled or not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from golden_runs import golden_runs

import swaplib

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def stored():
    return json.loads((ROOT / "tests" / "golden" / "runs.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def answers():
    return golden_runs()


@pytest.mark.parametrize("policy", swaplib.policies().name)
def test_a_small_run_of_every_policy_gives_its_stored_answer(policy, stored, answers):
    assert answers[policy] == stored[policy], "to accept it on purpose see tests/golden_runs.py"


def test_the_same_seed_gives_the_same_bits_twice(answers):
    assert golden_runs() == answers


def test_another_seed_gives_another_storm(answers):
    other = golden_runs(seed=1)
    assert all(other[policy]["digest"] != answers[policy]["digest"] for policy in answers)


def test_without_the_compiler_bits_are_the_same_no_index_is_below_0_and_nothing_is_warned_of(answers):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.golden_runs"],
        cwd=ROOT,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == answers
