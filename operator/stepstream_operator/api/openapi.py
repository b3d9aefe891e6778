"""OpenAPI v3 structural schemas of configuration classes, with CEL for what OpenAPI cannot say."""

import dataclasses
import enum
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from stepstream_operator.api.variants import variants_schema
from stepstream_trainer.config.fields import FieldRules, JsonValue, Quantity, SpecField, cross_rules, spec_fields
from stepstream_trainer.config.parse import QUANTITY_PATTERN, schema_default

Schema = dict[str, Any]

IMMUTABLE = "is immutable; make a new TrainingJob instead"


def object_schema(cls: type, *, defaults: bool = True) -> Schema:
    """The schema of a configuration class. Without `defaults` (status) absent fields stay absent."""
    schema: Schema = {"type": "object", "properties": {}}
    rules = [*_immutability(cls), *_cross_validations(cls)]
    for field in spec_fields(cls):
        schema["properties"][field.wire_name] = field_schema(field, defaults=defaults)
        if field.rules.variants:
            variants, variant_rules = variants_schema(cls, field, object_schema)
            schema["properties"][field.wire_name] |= variants
            rules += variant_rules
    required = [field.wire_name for field in spec_fields(cls) if field.required and not field.rules.variants]
    if required:
        schema["required"] = required
    if rules:
        schema["x-kubernetes-validations"] = rules
    return schema


def field_schema(field: SpecField, *, defaults: bool = True) -> Schema:
    schema = {"description": description(field), **type_schema(field.type, field.rules, defaults=defaults)}
    default = schema_default(field)
    if defaults and default is not None:
        schema["default"] = default  # whole, because the API server judges it before filling in what is below
    return schema


def type_schema(kind: Any, rules: FieldRules, *, defaults: bool) -> Schema:
    """The schema of a type under a field's rules."""
    origin = typing.get_origin(kind)
    if origin is typing.Literal:
        return _literal_schema(typing.get_args(kind))
    if kind == Quantity:
        return {"x-kubernetes-int-or-string": True, "minimum": 0, "pattern": QUANTITY_PATTERN, "maxLength": 64}
    if rules.variants:
        return {"type": "object"}
    if origin is Mapping:
        return _mapping_schema(typing.get_args(kind)[1], rules, defaults)
    if origin is tuple:
        return _list_schema(typing.get_args(kind)[0], rules, defaults)
    if dataclasses.is_dataclass(kind):
        return object_schema(typing.cast(type, kind), defaults=defaults)
    if issubclass(kind, enum.StrEnum):
        return {"type": "string", "enum": [member.value for member in kind] + list(rules.aliases)}
    return scalar_schema(kind, rules)


def scalar_schema(kind: type, rules: FieldRules) -> Schema:
    if kind is bool:
        return {"type": "boolean"}
    if kind is str:
        texts = {"maxLength": rules.max_length, "pattern": rules.pattern, "format": rules.format}
        return {"type": "string", **{name: value for name, value in texts.items() if value}}
    schema: Schema = {"type": "integer", "format": "int64"} if kind is int else {"type": "number"}
    if rules.minimum is not None:
        schema["minimum"] = _number(rules.minimum)
    if rules.exclusive_minimum:
        schema["exclusiveMinimum"] = True
    if rules.maximum is not None:
        schema["maximum"] = _number(rules.maximum)
    return schema


def description(field: SpecField) -> str:
    """The field's meaning, and the reason of its default."""
    rules = field.rules
    sentences = [rules.doc]
    if rules.derived_default:
        sentences.append(f"Default: {rules.derived_default}.")
    if rules.because:
        sentences.append(f"Why this default: {rules.because}.")
    if rules.immutable:
        sentences.append("Immutable.")
    return " ".join(sentences)


def _cross_validations(cls: type) -> list[Schema]:
    return [validation(rule.cel, rule.message, rule.field) for rule in cross_rules(cls) if rule.cel]


def validation(rule: str, message: str, field: str) -> Schema:
    path = {"fieldPath": f".{field}"} if field else {}
    return {"rule": rule, "message": message, "reason": "FieldValueInvalid", **path}


def _immutability(cls: type) -> Iterable[Schema]:
    for field in spec_fields(cls):
        if field.rules.immutable:
            yield {**validation(_unchanged(field), IMMUTABLE, field.wire_name), "reason": "FieldValueForbidden"}


def _unchanged(field: SpecField) -> str:
    """Judged on the object around the field, where adding and removing it are seen, too."""
    name = field.wire_name
    same = f"self.{name} == oldSelf.{name}"
    if not field.optional:
        return same
    return f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || {same})"


def _literal_schema(choices: tuple[Any, ...]) -> Schema:
    if all(isinstance(choice, str) for choice in choices):
        return {"type": "string", "enum": list(choices)}
    return {"x-kubernetes-int-or-string": True, "enum": list(choices)}


def _mapping_schema(inner: Any, rules: FieldRules, defaults: bool) -> Schema:
    if inner is JsonValue:
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "maxProperties": rules.max_items}
    values = type_schema(inner, rules, defaults=defaults)
    return {"type": "object", "maxProperties": rules.max_items, "additionalProperties": values}


def _list_schema(inner: Any, rules: FieldRules, defaults: bool) -> Schema:
    schema = {"type": "array", "maxItems": rules.max_items, "items": type_schema(inner, rules, defaults=defaults)}
    if rules.list_key:
        schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [rules.list_key]}
    else:
        schema["x-kubernetes-list-type"] = "atomic"
    return schema


def _number(value: float) -> int | float:
    return int(value) if value == int(value) else value
