"""What the arguments of the trainer's commands have in common."""

from argparse import ArgumentTypeError
from pathlib import Path


def at_least_one(text: str) -> int:
    """For argparse's `type`."""
    if not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def gif_file(text: str) -> Path:
    """For argparse's `type`: a name that says what is written."""
    if Path(text).suffix.lower() != ".gif":
        raise ArgumentTypeError(f"must end in .gif, the one format that is written, got {text!r}")
    return Path(text)
