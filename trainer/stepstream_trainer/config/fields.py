"""One definition of a field: what parsing, the CRD's OpenAPI schema and the reference page all read.

A configuration class is a frozen dataclass whose fields are made by `spec_field`. Its types say what the field is,
the metadata says what is allowed and why the default is what it is. Names are snake_case here and camelCase in YAML
and JSON.
"""

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

JsonValue = Any
"""What JSON can hold. Fields of this kind (environment arguments, pod templates) are carried, not interpreted."""

Quantity = int | str
"""A Kubernetes resource quantity: an integer, or a string such as "500m" or "4Gi"."""

MAX_INT32 = 2**31 - 1
MAX_STEPS = 10**12
DECIMAL_PATTERN = r"^-?[0-9]+(\.[0-9]+)?$"
PROBABILITY_PATTERN = r"^(0(\.[0-9]+)?|1(\.0+)?)$"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FieldRules:
    """What is said of a field beside its type and default.

    `pattern` is an anchored regular expression that RE2 and Python read alike; `means` is the same in words, completing
    "must be ...". `aliases` maps names accepted in YAML to the value they stand for. `variants` maps the value of the
    sibling `variant_key` to the class that this field then has. `list_key` names the field by which a list's items are
    told apart. `derived_default` says in words what an absent value means. `format` is OpenAPI's.
    """

    doc: str
    because: str = ""
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    max_length: int = 253
    max_items: int = 64
    pattern: str = ""
    means: str = ""
    example: str = ""
    immutable: bool = False
    aliases: Mapping[str, str] = dataclasses.field(default_factory=dict)
    list_key: str = ""
    derived_default: str = ""
    format: str = ""
    variant_key: str = ""
    variants: Mapping[str, type] = dataclasses.field(default_factory=dict)


def spec_field(
    *,
    doc: str,
    default: Any = dataclasses.MISSING,
    default_factory: Any = dataclasses.MISSING,
    **rules: Any,
) -> Any:
    """Declare a configuration field. Without a default it is required; `rules` are those of `FieldRules`."""
    metadata = {"rules": FieldRules(doc=doc, **rules)}
    if default_factory is not dataclasses.MISSING:
        return dataclasses.field(default_factory=default_factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CrossRule:
    """A rule between fields of one object, in the two languages that must agree on it.

    `holds` judges the parsed object; `cel` judges the same object in the API server (`self` is the object). `field` is
    the camelCase name to blame, relative to the object; `message` completes "<path>: ", and `value` is what was got.
    """

    field: str
    message: str
    holds: Callable[[Any], bool]
    cel: str
    value: Callable[[Any], Any] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SpecField:
    """A field as readers of the definition want it: resolved type, wire name, rules, default."""

    name: str
    wire_name: str
    type: Any
    optional: bool
    rules: FieldRules
    default: Callable[[], Any] | None

    @property
    def required(self) -> bool:
        return self.default is None


def spec_fields(cls: type) -> tuple[SpecField, ...]:
    """The fields of a configuration class, in the order they are written; a base class's come first."""
    return _cached_fields(cls)


@functools.cache
def _cached_fields(cls: type) -> tuple[SpecField, ...]:
    hints = typing.get_type_hints(cls)
    return tuple(_spec_field(item, hints[item.name]) for item in dataclasses.fields(cls))


def cross_rules(cls: type) -> tuple[CrossRule, ...]:
    return getattr(cls, "CROSS_RULES", ())


def wire_name(name: str) -> str:
    """`steps_per_second` -> `stepsPerSecond`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _spec_field(item: "dataclasses.Field[Any]", hint: Any) -> SpecField:
    inner, optional = _without_none(hint)
    return SpecField(
        name=item.name,
        wire_name=wire_name(item.name),
        type=inner,
        optional=optional,
        rules=item.metadata["rules"],
        default=_default_of(item),
    )


def _without_none(hint: Any) -> tuple[Any, bool]:
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint, False
    members = [member for member in typing.get_args(hint) if member is not types.NoneType]
    inner = functools.reduce(lambda left, right: left | right, members)
    return inner, len(members) < len(typing.get_args(hint))


def _default_of(item: "dataclasses.Field[Any]") -> Callable[[], Any] | None:
    if item.default_factory is not dataclasses.MISSING:
        return item.default_factory
    if item.default is not dataclasses.MISSING:
        return lambda: item.default
    return None
