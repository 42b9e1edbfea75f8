"""data/predictions holds what the present model says, and nothing of what was measured."""

import pandas as pd
import pytest

from swaplib.evidence.datasets import data_folder, load
from swaplib.predictions import committed


@pytest.fixture(scope="module")
def now():
    return committed()


@pytest.mark.parametrize("name", ["exit_storms", "munmap"])
def test_the_committed_predictions_are_those_of_the_present_model(name, now):
    stored = pd.read_csv(data_folder() / "predictions" / f"{name}.csv")
    fresh = now[name].astype({column: stored[column].dtype for column in stored})
    pd.testing.assert_frame_equal(fresh, stored, rtol=1e-6)


def test_eight_processes_that_no_file_holds_are_predicted_too():
    predictions = load("predictions/exit_storms")
    assert set(predictions[predictions.split == "kept back"].procs) == {8}
    assert set(predictions.split) == {"test", "kept back"}
