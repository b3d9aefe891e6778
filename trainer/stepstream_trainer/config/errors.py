"""What a person is told about a configuration that cannot be used: where, what, and what instead."""

import dataclasses
import difflib
import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

NOT_GIVEN: Final = object()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FieldError:
    """`path` as the user writes it, `value` as given (or NOT_GIVEN), `problem`, and `expected`: what would be right.

    `location` is where it was read (`job.yaml:7`), where that is known.
    """

    path: str
    problem: str
    value: Any = NOT_GIVEN
    expected: str = ""
    location: str = ""

    def __str__(self) -> str:
        got = "" if self.value is NOT_GIVEN else f", got {describe(self.value)}"
        instead = f"; {self.expected}" if self.expected else ""
        where = [part for part in (self.location, self.path) if part]
        return ": ".join([*where, f"{self.problem}{got}{instead}"])


class ConfigurationErrors(ValueError):
    """Everything that is wrong with one configuration, in the order of its fields; one line each as text."""

    def __init__(self, errors: Iterable[FieldError]) -> None:
        self.errors: Sequence[FieldError] = tuple(errors)
        super().__init__("\n".join(str(error) for error in self.errors))


def describe(value: Any) -> str:
    """The value as a user would recognise it, at most about 60 characters."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """`did you mean replicas?`, or the choices where nothing is near and they are few, or nothing."""
    choices = list(known)
    nearest = _nearest(str(name), choices)
    if nearest:
        return f"did you mean {nearest}?"
    return f"known here: {', '.join(choices)}" if 0 < len(choices) <= 12 else ""


def _nearest(name: str, choices: Sequence[str]) -> str | None:
    by_folded = {choice.casefold(): choice for choice in choices}
    found = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None
