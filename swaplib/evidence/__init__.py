"""What was observed: the tables in data/, a user's logs, and measurements of this machine."""
