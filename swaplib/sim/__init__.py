"""What happens: the event loop and what it returns."""
