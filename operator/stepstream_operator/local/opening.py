"""Which run a command means: a fresh one, the one to go on with, or neither, said in one sentence."""

import dataclasses
from collections.abc import Iterator
from enum import Enum, auto
from typing import Any

from stepstream_operator.api import TrainingJob
from stepstream_operator.local.run_directory import RunDirectory, RunDirectoryError
from stepstream_trainer.config.errors import describe
from stepstream_trainer.config.fields import spec_fields
from stepstream_trainer.config.parse import to_mapping


class Start(Enum):
    """What the user asked for."""

    AUTO = auto()
    RESUME = auto()
    FRESH = auto()


def check_open(directory: RunDirectory, job: TrainingJob, start: Start) -> bool:
    """Whether a run goes on here; False for a fresh one. RunDirectoryError when neither can be. Changes nothing."""
    if directory.is_free():
        if start is Start.RESUME:
            raise RunDirectoryError(f"{directory.shown}: there is no run to resume; leave --resume out to begin one")
        return False
    if not directory.holds_a_run():
        raise RunDirectoryError(f"{directory.shown}: holds other files and no run; give --run-dir another path")
    if start is Start.FRESH:
        return False
    changes = list(immutable_changes(directory.job(), job))
    if changes:
        raise RunDirectoryError(
            f"{directory.shown}: holds another job: {'; '.join(changes)}. Give --run-dir another path, "
            "or --fresh to begin anew (the old run is moved aside, not deleted)"
        )
    return True


def immutable_changes(before: TrainingJob, after: TrainingJob) -> Iterator[str]:
    """`spec.seed was 1, is 2` for every field that may not change in the life of a job."""
    if before.metadata.name != after.metadata.name:
        yield _change("metadata.name", before.metadata.name, after.metadata.name)
    yield from _changes_of(before.spec, after.spec, "spec", immutable=False)


def _changes_of(before: Any, after: Any, path: str, *, immutable: bool) -> Iterator[str]:
    """`immutable` holds for all that is inside an immutable field."""
    kind = type(before)
    if kind is not type(after) or not dataclasses.is_dataclass(kind):
        if immutable and before != after:
            yield _change(path, to_mapping(before), to_mapping(after))
        return
    for field in spec_fields(kind):
        old, new = (getattr(item, field.name) for item in (before, after))
        yield from _changes_of(old, new, f"{path}.{field.wire_name}", immutable=immutable or field.rules.immutable)


def _change(path: str, before: object, after: object) -> str:
    return f"{path} was {_said(before)}, is {_said(after)}"


def _said(value: object) -> str:
    return "not given" if value is None else describe(value)
