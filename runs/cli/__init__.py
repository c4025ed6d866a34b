"""The command ``bsd``."""

from bsd.runs.cli.app import main

__all__ = ["main"]
