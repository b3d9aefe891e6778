"""What the arguments of the trainer's commands have in common."""

from argparse import ArgumentTypeError


def at_least_one(text: str) -> int:
    """For argparse's `type`."""
    if not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)
