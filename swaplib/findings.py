"""The former name of `swaplib.answers`."""

from swaplib.answers import finding, findings

__all__ = ["finding", "findings"]
