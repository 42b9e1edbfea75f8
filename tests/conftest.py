"""What tests share: checked indices, one BLAS thread, no display, repeatable examples, what is required."""

import os

os.environ |= {"NUMBA_BOUNDSCHECK": "1", "OPENBLAS_NUM_THREADS": "1"}  # notebooks under test have them, too

from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import pytest
from hypothesis import settings

mpl.use("Agg")  # here alone: notebooks under test keep their inline figures

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")

# Golden runs have the engine compiled; nothing else here needs it.
FIRST = ["test_compare", "test_engine_golden", "test_readers", "test_runs", "test_significance", "test_style"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one worker compile the engine while others have what does without."""
    items.sort(key=lambda item: item.path.stem not in FIRST)


@pytest.fixture(scope="session")
def require() -> Callable[[str, Any, str], None]:
    """Skip a test whose capability is missing, or fail it where SWAPLIB_REQUIRE names the capability.

    ``require("browser", shutil.which("chromium"), "chromium is not installed")``; SWAPLIB_REQUIRE is a list
    such as ``browser,zram,compiler``.
    """

    def check(capability: str, condition: Any, reason: str) -> None:
        if condition:
            return
        needed = {name.strip() for name in os.environ.get("SWAPLIB_REQUIRE", "").split(",")}
        if capability in needed:
            pytest.fail(f"{capability}: {reason}, but SWAPLIB_REQUIRE asks for it", pytrace=False)
        pytest.skip(f"{capability}: {reason}")

    return check
