"""Random runs under NUMBA_BOUNDSCHECK=1: ``python -m tests.fuzz_engine COUNT``.

An index outside of an array, or below 0, is then an IndexError.
"""

import sys
from pathlib import Path

from hypothesis import HealthCheck, given, settings

sys.path.insert(0, str(Path(__file__).parent))

from strategies import runs
from test_engine_properties import PROPERTIES

import swaplib


def main(count):
    """Check so many random runs, with up to some hundred CPUs."""

    repeatable = {"deadline": None, "derandomize": True, "database": None}

    @settings(max_examples=count, suppress_health_check=list(HealthCheck), **repeatable)
    @given(runs(600))
    def random_runs(run):
        outcome = swaplib.simulate(**run)
        for holds in PROPERTIES:
            holds(run, outcome)

    random_runs()


if __name__ == "__main__":
    main(int(sys.argv[1]))
