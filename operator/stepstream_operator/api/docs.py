"""docs/trainingjob.md, generated from the types."""

import dataclasses
import enum
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from stepstream_operator.api.openapi import type_schema
from stepstream_operator.api.status_types import JobStatus
from stepstream_operator.api.types import API_VERSION, KIND, TrainingJobSpec
from stepstream_operator.api.variants import shown
from stepstream_trainer.config.fields import JsonValue, Quantity, SpecField, spec_fields

_HEAD = f"""# TrainingJob

Generated from the definitions in `trainer/stepstream_trainer/config` and `operator/stepstream_operator/api` by
`make docs`; do not edit.

    apiVersion: {API_VERSION}
    kind: {KIND}
    metadata: {{name: pong}}
    spec:
      environment: {{id: ALE/Pong-v5}}
      algorithm: {{name: PPO}}
      stopWhen: {{meanReturn: "18"}}

A *step* is one action in one environment; Atari *frames* are steps times frame skip. A name that is not on this page is
refused. The marks beside a field: **required**; **fixed**: it cannot be changed once the job exists. Changes of
`image`, `learners.resources`, `learners.template`, `checkpoint` and `evaluation` reach learners when they next start;
those of `totalSteps`, `stopWhen.meanReturn`, `suspend`, `simulators`, deadlines and policies at once.
"""


def reference() -> str:
    """The whole page."""
    sections = [*_sections(TrainingJobSpec, "spec"), *_sections(JobStatus, "status")]
    return "\n".join([_HEAD, *sections])


def _sections(cls: type, path: str) -> Iterator[str]:
    """The object's own table first, then those of the objects in it."""
    yield _section(path, cls)
    for field in spec_fields(cls):
        field_path = f"{path}.{field.wire_name}"
        if field.rules.variants:
            for key, variant in field.rules.variants.items():
                yield _section(f"{field_path} of {key}", variant)
        elif (inner := _object_of(field.type)) is not None:
            yield from _sections(inner, f"{field_path}[]" if typing.get_origin(field.type) is tuple else field_path)


def _object_of(kind: Any) -> type | None:
    if typing.get_origin(kind) is tuple:
        kind = typing.get_args(kind)[0]
    return kind if dataclasses.is_dataclass(kind) and isinstance(kind, type) else None


def _section(path: str, cls: type) -> str:
    rows = "\n".join(_row(field) for field in spec_fields(cls))
    lead = (cls.__doc__ or "").strip()
    return f"## {path}\n\n{lead}\n\n| field | type | default | meaning |\n| --- | --- | --- | --- |\n{rows}\n"


def _row(field: SpecField) -> str:
    marks = [mark for mark, holds in (("required", _is_required(field)), ("fixed", field.rules.immutable)) if holds]
    name = f"`{field.wire_name}`" + "".join(f" **{mark}**" for mark in marks)
    meaning = field.rules.doc + (f" *({field.rules.because})*" if field.rules.because else "")
    return f"| {name} | {_type(field)} | {_default(field)} | {_cell(meaning)} |"


def _is_required(field: SpecField) -> bool:
    return field.required and not field.rules.variants


def _default(field: SpecField) -> str:
    if field.rules.derived_default:
        return _cell(field.rules.derived_default)
    if field.rules.variants:
        return f"by {field.rules.variant_key}"
    value = None if field.default is None else field.default()
    if value is None or value in ((), {}, "") or dataclasses.is_dataclass(value):
        return ""
    return f"`{shown(value)}`"


def _type(field: SpecField) -> str:
    return _cell(_kind_in_words(field.type, field))


def _kind_in_words(kind: Any, field: SpecField) -> str:
    origin = typing.get_origin(kind)
    if origin is typing.Literal:
        return ", ".join(f"`{choice}`" for choice in typing.get_args(kind))
    if kind == Quantity:
        return "quantity"
    if field.rules.variants or (origin is Mapping and typing.get_args(kind)[1] is JsonValue):
        return "object"
    if origin is Mapping:
        return f"object of {_kind_in_words(typing.get_args(kind)[1], field)}"
    if origin is tuple:
        return f"list of {_kind_in_words(typing.get_args(kind)[0], field)}"
    if dataclasses.is_dataclass(kind):
        return "object"
    if issubclass(kind, enum.StrEnum):
        return ", ".join(f"`{name}`" for name in type_schema(kind, field.rules, defaults=False)["enum"])
    return _scalar_in_words(kind, field)


def _scalar_in_words(kind: type, field: SpecField) -> str:
    rules = field.rules
    noun = {bool: "boolean", int: "integer", float: "number", str: "string"}[kind]
    if kind not in (int, float) or rules.minimum is None or rules.maximum is None:
        return noun
    opening = "above" if rules.exclusive_minimum else "from"
    return f"{noun} {opening} {rules.minimum:,.15g} to {rules.maximum:,.15g}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
