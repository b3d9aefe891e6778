"""From plain JSON values to frozen configuration and back. Accepts what the API server accepts, and nothing else.

A null stands for the default where the schema has one, and is wrong elsewhere. A number such as 1e6 is an integer where
it has no fraction.
All errors are gathered; an object is built, and its cross rules judged, only when every field of it is right.
"""

import dataclasses
import enum
import math
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from stepstream_trainer.config.errors import NOT_GIVEN, ConfigurationErrors, FieldError, describe, did_you_mean
from stepstream_trainer.config.fields import FieldRules, JsonValue, Quantity, SpecField, cross_rules, spec_fields

T = TypeVar("T")

QUANTITY_PATTERN: Final = r"^(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"
"""Quantities as Kubernetes writes them, without a sign: no resource is negative."""

MAX_NESTING: Final = 64
"""Levels of a free-form field: far more than a pod has, far fewer than recursion bears."""

_INVALID: Final = object()


def parse(cls: type[T], given: object, path: str = "spec") -> T:
    """Build `cls` from plain values. Raises `ConfigurationErrors` naming everything that is wrong with them."""
    reader = _Reader()
    value = reader.read_object(cls, given, path)
    if reader.errors:
        raise ConfigurationErrors(reader.errors)
    return typing.cast(T, value)


def to_mapping(value: Any) -> Any:
    """The inverse of `parse`: plain values under camelCase names, defaults included, absent fields left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((field.wire_name, getattr(value, field.name)) for field in spec_fields(type(value)))
        return {name: to_mapping(item) for name, item in pairs if item is not None}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: to_mapping(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_mapping(item) for item in value]
    return value


def schema_default(field: SpecField) -> Any:
    """The default that the API server fills in; None where there is none.

    A default that depends on other things is the reader's, not the schema's. Empty objects and lists are no defaults
    either: they would only clutter what users read of their jobs.
    """
    if field.default is None or field.rules.derived_default or field.rules.variants:
        return None
    return _without_empty(to_mapping(field.default()))


def _without_empty(value: Any) -> Any:
    """None for what is empty, or holds only what is."""
    if isinstance(value, Mapping):
        filled = {name: _without_empty(item) for name, item in value.items()}
        return {name: item for name, item in filled.items() if item is not None} or None
    return None if value in ([], "") else value


class _Reader:
    """Reads values by the type of their field and keeps what went wrong."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []

    def read_object(self, cls: type, given: object, path: str, *, has_schema_defaults: bool = True) -> Any:
        if not isinstance(given, Mapping):
            return self._refuse(path, given, "must be an object")
        fields = spec_fields(cls)
        self._refuse_unknown(given, fields, path)
        values: dict[str, Any] = {}
        for field in fields:
            value = given.get(field.wire_name, NOT_GIVEN)
            if value is None and field.default is not None:
                value = self._read_null(field, path, has_schema_defaults)
            values[field.name] = value if value is _INVALID else self._read_field(field, value, values, path)
        if _INVALID in values.values():
            return _INVALID
        return self._judged(cls(**values), path)

    def _refuse_unknown(self, given: Mapping[Any, Any], fields: tuple[SpecField, ...], path: str) -> None:
        known = [field.wire_name for field in fields]
        for name in given:
            if name not in known:
                self._refuse(_join(path, name), NOT_GIVEN, "unknown field", did_you_mean(name, known))

    def _read_null(self, field: SpecField, path: str, has_schema_defaults: bool) -> Any:
        """As if it were not given where the API server puts a default in its place; refused elsewhere."""
        if has_schema_defaults and schema_default(field) is not None:
            return NOT_GIVEN
        return self._refuse(_join(path, field.wire_name), NOT_GIVEN, "must not be null", "leave it out")

    def _read_field(self, field: SpecField, value: object, siblings: Mapping[str, Any], path: str) -> Any:
        field_path = _join(path, field.wire_name)
        if field.rules.variants:
            return self._read_variant(field, value, siblings, field_path)
        if value is not NOT_GIVEN:
            return self.read(field.type, field.rules, value, field_path)
        if field.default is not None:
            return field.default()
        example = f"for example {field.rules.example}" if field.rules.example else ""
        return self._refuse(field_path, NOT_GIVEN, "required", example)

    def _read_variant(self, field: SpecField, value: object, siblings: Mapping[str, Any], path: str) -> Any:
        key = siblings[field.rules.variant_key]
        if key is _INVALID:
            return _INVALID
        # One schema stands for all variants, and their defaults differ: it has none.
        given = {} if value is NOT_GIVEN else value
        return self.read_object(field.rules.variants[key], given, path, has_schema_defaults=False)

    def read(self, kind: Any, rules: FieldRules, given: object, path: str) -> Any:
        """One value of type `kind`; `_INVALID`, with the error kept, where it is not one."""
        origin = typing.get_origin(kind)
        if origin is typing.Literal:
            return self._read_literal(typing.get_args(kind), given, path)
        if kind == Quantity:
            return self._read_quantity(given, path)
        if origin is Mapping:
            return self._read_mapping(kind, rules, given, path)
        if origin is tuple:
            return self._read_list(kind, rules, given, path)
        if dataclasses.is_dataclass(kind):
            return self.read_object(typing.cast(type, kind), given, path)
        if issubclass(kind, enum.StrEnum):
            return self._read_enum(kind, rules, given, path)
        return self._read_scalar(kind, rules, given, path)

    def _read_scalar(self, kind: type, rules: FieldRules, given: object, path: str) -> Any:
        if kind is bool:
            right = isinstance(given, bool)
            return given if right else self._refuse(path, given, "must be true or false", _unquoted(given))
        if kind is str:
            return self._read_string(rules, given, path)
        number = _as_number(kind, given)
        if number is None:
            noun = "an integer" if kind is int else "a number"
            return self._refuse(path, given, f"must be {noun}", _unquoted(given))
        problem = _out_of_bounds(rules, number)
        return self._refuse(path, given, problem) if problem else number

    def _read_string(self, rules: FieldRules, given: object, path: str) -> Any:
        means = rules.means or "a string"
        if not isinstance(given, str):
            return self._refuse(path, given, f"must be {means}", _quoted(rules, given))
        if len(given) > rules.max_length:
            return self._refuse(path, given, f"must be at most {rules.max_length} characters")
        if rules.pattern and not re.fullmatch(rules.pattern, given):
            return self._refuse(path, given, f"must be {means}")
        return given

    def _read_enum(self, kind: type[enum.StrEnum], rules: FieldRules, given: object, path: str) -> Any:
        names = [member.value for member in kind] + list(rules.aliases)
        if isinstance(given, str) and given in names:
            return kind(rules.aliases.get(given, given))
        hint = did_you_mean(given, names) if isinstance(given, str) else ""
        problem = f"must be one of {', '.join(names)}"
        return self._refuse(path, given, problem, hint if hint.startswith("did you mean") else "")

    def _read_literal(self, choices: tuple[Any, ...], given: object, path: str) -> Any:
        for choice in choices:
            if type(choice) is type(given) and choice == given:
                return choice
        return self._refuse(path, given, f"must be one of {', '.join(str(choice) for choice in choices)}")

    def _read_quantity(self, given: object, path: str) -> Any:
        whole = _as_number(int, given)
        if whole is not None and whole >= 0:
            return whole
        if isinstance(given, str) and re.fullmatch(QUANTITY_PATTERN, given):
            return given
        hint = f'write "{given}"' if isinstance(given, float) else ""
        return self._refuse(path, given, 'must be a quantity such as 2, "500m" or "4Gi"', hint)

    def _read_mapping(self, kind: Any, rules: FieldRules, given: object, path: str) -> Any:
        if not isinstance(given, Mapping):
            return self._refuse(path, given, "must be an object")
        if len(given) > rules.max_items:
            return self._refuse(path, NOT_GIVEN, f"must have at most {rules.max_items} entries, got {len(given)}")
        inner = typing.get_args(kind)[1]
        if inner is JsonValue:
            return self._read_free_form(given, path)
        read = {key: self.read(inner, rules, item, _join(path, key)) for key, item in given.items()}
        return _INVALID if _INVALID in read.values() else read

    def _read_free_form(self, given: Mapping[Any, Any], path: str) -> Any:
        problems = list(_not_json(given, path))
        self.errors.extend(problems)
        return _INVALID if problems else dict(given)

    def _read_list(self, kind: Any, rules: FieldRules, given: object, path: str) -> Any:
        if not isinstance(given, (list, tuple)):
            return self._refuse(path, given, "must be a list")
        if len(given) > rules.max_items:
            return self._refuse(path, NOT_GIVEN, f"must have at most {rules.max_items} entries, got {len(given)}")
        inner = typing.get_args(kind)[0]
        items = tuple(self.read(inner, rules, item, f"{path}[{index}]") for index, item in enumerate(given))
        return _INVALID if _INVALID in items else items

    def _judged(self, value: Any, path: str) -> Any:
        for rule in cross_rules(type(value)):
            if not rule.holds(value):
                got = NOT_GIVEN if rule.value is None else rule.value(value)
                self._refuse(_join(path, rule.field), got, rule.message)
        return value

    def _refuse(self, path: str, value: object, problem: str, expected: str = "") -> Any:
        self.errors.append(FieldError(path=path, value=value, problem=problem, expected=expected))
        return _INVALID


def _join(path: str, name: object) -> str:
    return ".".join(str(part) for part in (path, name) if part)


def _as_number(kind: type, given: object) -> int | float | None:
    """The number as `kind`, or None. A bool is no number; an integral float is an integer, as in JSON Schema."""
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        return None
    if isinstance(given, int) and kind is int:
        return given  # of any size
    try:
        number = float(given)
    except OverflowError:
        return None
    if not math.isfinite(number):
        return None
    if kind is float:
        return number
    return int(number) if number == int(number) else None


def _out_of_bounds(rules: FieldRules, number: float) -> str:
    if rules.minimum is not None and (number < rules.minimum or (rules.exclusive_minimum and number == rules.minimum)):
        return f"must be {'above' if rules.exclusive_minimum else 'at least'} {rules.minimum:g}"
    if rules.maximum is not None and number > rules.maximum:
        return f"must be at most {_plain(rules.maximum)}"
    return ""


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else f"{number:g}"


def _unquoted(given: object) -> str:
    """A hint for a number or boolean written in quotes."""
    if not isinstance(given, str):
        return ""
    looks_right = re.fullmatch(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?|true|false", given)
    return f"write {given} without quotes" if looks_right else ""


def _quoted(rules: FieldRules, given: object) -> str:
    """A hint for a string that YAML read as a number or boolean, where it would be right in quotes."""
    if isinstance(given, (Mapping, list, types.NoneType)):
        return ""
    text = describe(given)
    return f'write "{text}"' if not rules.pattern or re.fullmatch(rules.pattern, text) else ""


def _not_json(value: Any, path: str, depth: int = 1) -> typing.Iterator[FieldError]:
    if depth > MAX_NESTING:
        yield FieldError(path=path, problem=f"must be nested at most {MAX_NESTING} levels deep")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                yield FieldError(path=path, value=key, problem="names must be strings")
            yield from _not_json(item, _join(path, key), depth + 1)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _not_json(item, f"{path}[{index}]", depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        yield FieldError(path=path, value=str(value), problem="must be a finite number")
    elif not isinstance(value, (str, int, float, types.NoneType)):
        yield FieldError(path=path, value=value, problem="must be text, a number, true, false, a list or an object")
