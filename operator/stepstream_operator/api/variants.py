"""A field whose class depends on a sibling, such as algorithm.parameters: one schema for all, and rules to part them.

OpenAPI's structural schemas know no alternatives, so the variants' fields are put together in one object. A rule for
each field refuses it beside a sibling that does not know it. A variant's own rules hold beside its sibling alone, since
they fill in its defaults, and those of others differ.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from stepstream_trainer.config import to_mapping
from stepstream_trainer.config.fields import SpecField, spec_fields

Schema = dict[str, Any]
SchemaOf = Callable[[type], Schema]


def variants_schema(cls: type, field: SpecField, schema_of: SchemaOf) -> tuple[Schema, list[Schema]]:
    """The schema of `field`, and the rules to hold on the object of class `cls` around it."""
    schema: Schema = {"type": "object", "properties": {}}
    names = _accepted_names(cls, field)
    owners: dict[str, list[str]] = {}
    rules: list[Schema] = []
    for key, variant in field.rules.variants.items():
        part = schema_of(variant)
        for name, property_schema in part["properties"].items():
            schema["properties"][name] = _widened(schema["properties"].get(name), property_schema)
            owners.setdefault(name, []).extend(names[key])
        rules += [_beside(field, names[key], rule) for rule in part.get("x-kubernetes-validations", [])]
    for name, property_schema in schema["properties"].items():
        property_schema.pop("default", None)
        property_schema["description"] = _description(field, name)
    return schema, [*rules, *_ownership(field, owners, list(itertools.chain(*names.values())))]


def shown(value: Any) -> str:
    """A value as YAML has it."""
    return str(value).lower() if isinstance(value, bool) else str(to_mapping(value))


def _description(field: SpecField, name: str) -> str:
    """`The meaning. Default: 5 (A2C), 128 (PPO).` Where meanings differ, each is told with its variants."""
    meanings = _variants_by(field, name, lambda item: item.rules.doc)
    defaults = _variants_by(field, name, lambda item: shown(item.default()) if item.default else "")
    told = [f"{', '.join(keys)}: {meaning}" if len(meanings) > 1 else meaning for meaning, keys in meanings.items()]
    values = [f"{value} ({', '.join(keys)})" if len(defaults) > 1 else value for value, keys in defaults.items()]
    return f"{' '.join(told)} Default: {', '.join(values)}."


def _variants_by(field: SpecField, name: str, attribute: Callable[[SpecField], str]) -> dict[str, list[str]]:
    """Attribute of the field of that name -> the variants whose field has it."""
    found: dict[str, list[str]] = {}
    for key, variant in field.rules.variants.items():
        for item in spec_fields(variant):
            if item.wire_name == name:
                found.setdefault(attribute(item), []).append(str(key))
    return found


def _accepted_names(cls: type, field: SpecField) -> dict[str, list[str]]:
    """For every variant its name, and the aliases that the sibling accepts for it."""
    sibling = next(item for item in spec_fields(cls) if item.name == field.rules.variant_key)
    aliases = sibling.rules.aliases.items()
    return {key: [str(key), *(alias for alias, name in aliases if name == key)] for key in field.rules.variants}


def _widened(known: Schema | None, schema: Schema) -> Schema:
    """Bounds that admit every variant's values; parsing is as strict as each."""
    if known is None:
        return dict(schema)
    wider = dict(known)
    for bound, pick in (("minimum", min), ("maximum", max)):
        if bound in known:
            wider[bound] = pick(known[bound], schema[bound])
    if not schema.get("exclusiveMinimum"):
        wider.pop("exclusiveMinimum", None)
    return wider


def _beside(field: SpecField, names: list[str], rule: Schema) -> Schema:
    """A variant's rule, for the object around it: it holds where the sibling has one of the variant's names."""
    around = field.wire_name
    holds = rule["rule"].replace("self.", f"self.{around}.")
    others = f"!(self.{field.rules.variant_key} in [{_listed(names)}]) || !has(self.{around})"
    return {**rule, "rule": f"{others} || {holds}", "fieldPath": f".{around}{rule['fieldPath']}"}


def _ownership(field: SpecField, owners: dict[str, list[str]], all_names: list[str]) -> Iterator[Schema]:
    around, sibling = field.wire_name, field.rules.variant_key
    for name, names in owners.items():
        if len(names) < len(all_names):
            yield {
                "rule": f"self.{sibling} in [{_listed(names)}] || !has(self.{around}) || !has(self.{around}.{name})",
                "message": f"is a parameter of {', '.join(names)} only",
                "reason": "FieldValueForbidden",
                "fieldPath": f".{around}.{name}",
            }


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
