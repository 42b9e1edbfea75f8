"""What it means: published beside computed, statistics, calibration, and shared figures."""
