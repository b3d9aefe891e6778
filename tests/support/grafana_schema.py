"""Dashboards held against Grafana's own model of them, as Grafana Labs' foundation SDK generates it from the schema.

The SDK reads JSON leniently: it drops the fields that it does not know, and takes any value for any field. So what it
read is written again, which tells what was dropped, and each value is compared with the type that its field has.
"""

from __future__ import annotations

import enum
import json
import types
import typing
from collections.abc import Iterator
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

register_default_plugins()


def faults(dashboard: dict[str, Any]) -> list[str]:
    """Where in it is something that Grafana's schema does not have."""
    return list(_read_as(Dashboard, dashboard, ""))


def _read_as(kind: Any, ours: dict[str, Any], where: str) -> Iterator[str]:
    read = kind.from_json(ours)
    yield from _dropped(ours, json.loads(json.dumps(read, cls=JSONEncoder)), where)
    yield from _mistyped(read, kind, where)


def _dropped(ours: Any, written: Any, where: str) -> Iterator[str]:
    if isinstance(ours, dict) and isinstance(written, dict):
        for name, value in ours.items():
            if name in written:
                yield from _dropped(value, written[name], f"{where}/{name}")
            else:
                yield f"{where}/{name} is no field"
    elif isinstance(ours, list) and isinstance(written, list):
        for at, (one, other) in enumerate(zip(ours, written, strict=True)):
            yield from _dropped(one, other, f"{where}/{at}")
    elif ours != written:
        yield f"{where} is read as {written!r}"


def _mistyped(value: Any, hint: Any, where: str) -> Iterator[str]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hasattr(value, "to_json"):
        hints = typing.get_type_hints(type(value).__init__)
        for name, part in vars(value).items():
            yield from _mistyped(part, hints.get(name, Any), f"{where}/{name}")
    elif isinstance(value, dict) and hasattr(hint, "from_json"):  # the SDK leaves a few lists as they are
        yield from _read_as(hint, value, where)
    elif origin in (typing.Union, types.UnionType):
        found = [list(_mistyped(value, choice, where)) for choice in arguments]
        if all(found):
            yield from found[0]
    elif origin is typing.Literal:
        if value not in arguments:
            yield f"{where} is {value!r}, none of {arguments}"
    elif origin is list and isinstance(value, list):
        for at, part in enumerate(value):
            yield from _mistyped(part, arguments[0], f"{where}/{at}")
    elif origin is dict and isinstance(value, dict):
        for name, part in value.items():
            yield from _mistyped(part, arguments[1], f"{where}/{name}")
    elif isinstance(hint, type) and issubclass(hint, enum.Enum):
        if value not in [each.value for each in hint]:
            yield f"{where} is {value!r}, no {hint.__name__}"
    elif hint not in (Any, object) and not _is(value, origin or hint):
        yield f"{where} is {value!r}, no {getattr(hint, '__name__', hint)}"


def _is(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)
