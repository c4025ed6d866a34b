"""The command ``bsd``."""

from bsd.runs.cli import perception  # noqa: F401  (adds its commands)
from bsd.runs.cli.app import main

__all__ = ["main"]
