"""What it means: published beside computed, statistics, calibration, and the figures several notebooks share."""
