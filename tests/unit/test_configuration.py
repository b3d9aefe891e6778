"""The definitions of fields, and parsing by them, hold for any configuration."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepstream_operator.api import TrainingJob, TrainingJobSpec, parse_job
from stepstream_operator.api.status_types import JobStatus
from stepstream_operator.children import cluster_placement, desired_children, trainer_config
from stepstream_trainer.config import (
    ConfigurationErrors,
    EnvironmentConfig,
    TrainerConfig,
    dump,
    load_trainer_config,
    parse,
    to_mapping,
)
from stepstream_trainer.config.errors import did_you_mean
from stepstream_trainer.config.fields import SpecField, spec_fields, wire_name
from tests.support.generated_jobs import JSON, broken_specs, specs
from tests.support.jobs import job_manifest, make_job


def all_fields(cls: type) -> list[tuple[str, SpecField]]:
    """Every field of a class and of the classes in it, with its path."""
    found: list[tuple[str, SpecField]] = []
    for field in spec_fields(cls):
        found.append((f"{cls.__name__}.{field.name}", field))
        for inner in [field.type, *getattr(field.type, "__args__", ()), *field.rules.variants.values()]:
            if dataclasses.is_dataclass(inner) and isinstance(inner, type):
                found += all_fields(inner)
    return found


FIELDS = dict(all_fields(TrainingJobSpec) + all_fields(JobStatus) + all_fields(TrainerConfig))


def accepted(spec: dict[str, Any]) -> TrainingJob | None:
    try:
        return parse_job(job_manifest() | {"spec": spec})
    except ConfigurationErrors:
        return None


@settings(max_examples=150, deadline=None)
@given(specs())
def test_what_is_accepted_survives_being_written_and_read_again(spec: dict[str, Any]) -> None:
    job = accepted(spec)
    if job is not None:
        written = json.loads(json.dumps(to_mapping(job.spec)))
        assert parse(TrainingJobSpec, written, path="spec") == job.spec


@settings(max_examples=150, deadline=None)
@given(broken_specs())
def test_a_broken_spec_is_refused_or_becomes_children_and_is_never_a_crash(spec: dict[str, Any]) -> None:
    job = accepted(spec)
    if job is not None:
        assert desired_children(job, 1, cluster_placement(job, tls=True))


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_anything_in_place_of_a_spec_is_refused_with_a_path(value: Any) -> None:
    with pytest.raises(ConfigurationErrors) as refused:
        parse(TrainingJobSpec, value, path="spec")
    assert all(error.path.startswith("spec") for error in refused.value.errors)


@pytest.mark.parametrize("path", FIELDS)
def test_every_field_says_what_it_means_and_is_bounded(path: str) -> None:
    field = FIELDS[path]
    assert field.rules.doc.endswith(".")
    if field.type in (int, float):
        assert field.rules.minimum is not None
        assert field.rules.maximum is not None


def test_wire_names_are_camel_case() -> None:
    assert wire_name("gae_lambda") == "gaeLambda"
    assert wire_name("seed") == "seed"


def test_the_trainer_reads_what_the_operator_writes(tmp_path: Path) -> None:
    config = trainer_config(make_job({"environment": {"kwargs": {"size": [1, 2.5, "x"]}}}), 3)
    path = tmp_path / "job.json"
    path.write_text(dump(config))
    assert load_trainer_config(path) == config


@pytest.mark.parametrize("text", ["{", '{"job": "Pong"}', "[]"])
def test_a_trainers_configuration_that_is_wrong_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "job.json"
    path.write_text(text)
    with pytest.raises(ConfigurationErrors):
        load_trainer_config(path)


def test_equal_environments_have_equal_digests_whatever_the_order_they_are_written_in() -> None:
    one = parse(EnvironmentConfig, {"id": "Maze-v0", "kwargs": {"a": 1, "b": {"c": 2, "d": 3}}})
    other = parse(EnvironmentConfig, {"kwargs": {"b": {"d": 3, "c": 2}, "a": 1}, "id": "Maze-v0"})
    assert one.digest() == other.digest()
    assert one.digest() != dataclasses.replace(one, kwargs={}).digest()


@pytest.mark.parametrize(
    ("environment", "deterministic", "frame_skip"),
    [
        ({"id": "ALE/Pong-v5"}, True, 4),
        ({"id": "ALE/Pong-v5", "deterministic": False}, False, 4),
        ({"id": "CartPole-v1"}, False, 1),
        ({"id": "CartPole-v1", "deterministic": True}, True, 1),
        ({"id": "ALE/Own-v0", "entryPoint": "mine:Env"}, False, 1),
    ],
)
def test_an_environment_knows_whether_it_can_be_replayed_and_what_a_step_is(
    environment: dict[str, Any], deterministic: bool, frame_skip: int
) -> None:
    config = parse(EnvironmentConfig, environment)
    assert (config.is_deterministic, config.frame_skip) == (deterministic, frame_skip)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("replica", "did you mean replicas?"),
        ("REPLICAS", "did you mean replicas?"),
        ("x", "known here: replicas, template"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_or_with_the_choices(name: str, suggestion: str) -> None:
    assert did_you_mean(name, ["replicas", "template"]) == suggestion


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=20))
def test_a_suggestion_is_always_one_of_the_choices_or_nothing(name: str) -> None:
    choices = [f"field{index}" for index in range(20)]
    suggestion = did_you_mean(name, choices)
    assert suggestion == "" or suggestion.removeprefix("did you mean ").removesuffix("?") in choices
