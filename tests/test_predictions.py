"""data/predictions holds what the present model says of cells that it was not fitted to."""

import pandas as pd
import pytest

import swaplib
from swaplib.analysis.predictions import MOST_FOLIO_PAGES, predicted_locks, predicted_table


@pytest.mark.parametrize("name", ["exit_storms", "exit_reapers", "munmap"])
def test_the_committed_predictions_are_those_of_the_present_model(name):
    stored = swaplib.load(f"predictions/{name}")
    pd.testing.assert_series_equal(predicted_table(name).predicted_ms, stored.predicted_ms, rtol=1e-6)


def test_the_committed_curves_of_locks_are_those_of_the_present_model():
    pd.testing.assert_frame_equal(predicted_locks(), swaplib.load("predictions/locks"))


def test_every_cell_of_split_test_is_predicted_and_so_are_eight_processes_that_no_file_holds():
    stored = swaplib.load("predictions/exit_storms")
    for table in swaplib.STORM_TABLES:
        rows = swaplib.with_splits(table)
        cells = swaplib.measured_cells(rows[(rows.split == "test") & (rows.folio_pages <= MOST_FOLIO_PAGES)])
        assert len(cells) == (stored[stored.table == table].split == "test").sum()
    assert set(stored[stored.split == "kept back"].procs) == {8}
