"""Hypothesis strategies of job specs, made from the definitions of their fields."""

from __future__ import annotations

import copy
import dataclasses
import enum
import typing
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from stepstream_operator.api import TrainingJobSpec
from stepstream_trainer.config.fields import FieldRules, JsonValue, Quantity, SpecField, spec_fields

_TEXT = st.text(st.characters(exclude_categories=("C",)), max_size=8)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_BY_NAME = {
    # What rules between fields mostly accept, so that most specs are right as a whole.
    "horizon": st.sampled_from([64, 128]),
    "minibatchSize": st.sampled_from([128, 256, 512]),
    "environments": st.sampled_from([8, 16, 64]),
    "batchSize": st.sampled_from([32, 2048]),
    "replayCapacitySteps": st.sampled_from([2000, 50_000, 200_000, 1_000_000]),
    "learningStartsSteps": st.sampled_from([1000, 20_000]),
    "finalEpsilon": st.sampled_from([0.01, 0.4]),
    "lowestFinalEpsilon": st.sampled_from([0.001, 0.1]),
    "replicas": st.integers(1, 8),
    "minReplicas": st.just(1),
    "maxReplicas": st.just(8),
    # What must match a pattern.
    "id": st.sampled_from(["ALE/Pong-v5", "ALE/Breakout-v5"]),
    "stickyActionProbability": st.sampled_from(["0", "0.25", "1", "1.0"]),
    "meanReturn": st.sampled_from(["18", "-0.5", "475.0"]),
    "entryPoint": st.none(),
    "managedBy": st.sampled_from(["stepstream.dev/operator", "kueue.x-k8s.io/multikueue"]),
    "template": st.sampled_from([{}, {"spec": {"nodeSelector": {"pool": "gpu"}, "hostNetwork": False}}]),
    "volume": st.sampled_from(
        [{"claimName": "runs"}, {"claimTemplate": {"size": "1Gi"}}, {"source": {"emptyDir": {}}}]
    ),
}


def specs() -> st.SearchStrategy[dict[str, Any]]:
    """Specs whose every field is right by itself. Rules between fields may still refuse them."""
    return _object(TrainingJobSpec)


def broken_specs() -> st.SearchStrategy[dict[str, Any]]:
    """Specs with one field, somewhere, replaced by any JSON value."""
    return st.tuples(specs(), st.randoms(use_true_random=False), JSON).map(lambda drawn: _broken(*drawn))


def _object(cls: type) -> st.SearchStrategy[dict[str, Any]]:
    """Required fields always, the others sometimes; variants by the sibling that names them."""
    fields = spec_fields(cls)
    variant = next((field for field in fields if field.rules.variants), None)
    if variant is None:
        required = {field.wire_name: _value(field) for field in fields if field.required}
        optional = {field.wire_name: _value(field) for field in fields if not field.required}
        return st.fixed_dictionaries(required, optional=optional)
    names = list(variant.rules.variants)
    return st.sampled_from(names).flatmap(
        lambda name: st.fixed_dictionaries(
            {variant.rules.variant_key: st.just(str(name))},
            optional={variant.wire_name: _object(variant.rules.variants[name])},
        )
    )


def _value(field: SpecField) -> st.SearchStrategy[Any]:
    known = _BY_NAME.get(field.wire_name)
    return _typed(field.type, field.rules) if known is None else known


def _typed(kind: Any, rules: FieldRules) -> st.SearchStrategy[Any]:
    origin = typing.get_origin(kind)
    if origin is typing.Literal:
        return st.sampled_from(typing.get_args(kind))
    if kind == Quantity:
        return st.integers(0, 64) | st.sampled_from(["500m", "4Gi", "1.5", "1e3"])
    if origin is Mapping:
        inner = typing.get_args(kind)[1]
        values = JSON.filter(lambda item: item is not None) if inner is JsonValue else _typed(inner, rules)
        return st.dictionaries(st.sampled_from(["cpu", "memory", "size"]), values, max_size=2)
    if origin is tuple:
        return st.lists(_typed(typing.get_args(kind)[0], rules), max_size=2, unique_by=str)
    if dataclasses.is_dataclass(kind):
        return _object(typing.cast(type, kind))
    return _scalar(kind, rules)


def _scalar(kind: type, rules: FieldRules) -> st.SearchStrategy[Any]:
    if kind is bool:
        return st.booleans()
    if issubclass(kind, enum.StrEnum):
        return st.sampled_from([member.value for member in kind])
    if kind is str:
        return st.text(alphabet="abcxyz", min_size=1, max_size=8)
    if kind is int:
        return st.integers(int(rules.minimum or 0), int(rules.maximum or 0))
    return st.floats(rules.minimum, rules.maximum, exclude_min=rules.exclusive_minimum, allow_subnormal=False)


def _broken(spec: dict[str, Any], random: Any, value: Any) -> dict[str, Any]:
    target = spec = copy.deepcopy(spec)  # sampled values are shared between examples
    while True:
        name = random.choice(sorted(target))
        inner = target[name]
        if not isinstance(inner, dict) or not inner or random.random() < 0.3:
            target[name] = value
            return spec
        target = inner
