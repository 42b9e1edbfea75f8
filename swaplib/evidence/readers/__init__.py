"""Reading the logs and snapshots of one's own devices: one file for each kind."""
