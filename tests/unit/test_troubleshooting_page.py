"""docs/troubleshooting.md, where no API server is needed to tell whether it is right."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from stepstream_operator.api.types import TrainingJobSpec
from stepstream_trainer.config.fields import spec_fields

PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"


def fixed_fields(cls: type, path: str = "") -> Iterator[str]:
    for field in spec_fields(cls):
        if field.rules.immutable:
            yield path + field.wire_name
        elif dataclasses.is_dataclass(field.type) and isinstance(field.type, type):
            yield from fixed_fields(field.type, f"{path}{field.wire_name}.")


def test_the_page_names_every_field_that_cannot_be_changed_and_no_other() -> None:
    [paragraph] = re.findall(r"\*\*An immutable field changed\*\*:(.*?)\n\n", PAGE.read_text(), flags=re.DOTALL)
    assert set(re.findall(r"`([\w.]+)`", paragraph)) == set(fixed_fields(TrainingJobSpec))
