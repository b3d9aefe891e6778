"""The CRD and the reference page are made from the definitions, and say what these say."""

from collections.abc import Iterator
from typing import Any

import yaml

from stepstream_operator.api.__main__ import crd_text, main
from stepstream_operator.api.crd import crd
from stepstream_operator.api.docs import reference
from stepstream_trainer.config import PARAMETERS
from stepstream_trainer.config.fields import spec_fields


def version() -> dict[str, Any]:
    return dict(crd()["spec"]["versions"][0])


def schema(*path: str) -> dict[str, Any]:
    found = version()["schema"]["openAPIV3Schema"]
    for name in path:
        found = found["properties"][name]
    return dict(found)


def schemas(of: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield of
    for inner in [*of.get("properties", {}).values(), of.get("items"), of.get("additionalProperties")]:
        if isinstance(inner, dict):
            yield from schemas(inner)


def rules(*path: str) -> list[str]:
    return [rule["message"] for rule in schema(*path)["x-kubernetes-validations"]]


def test_plain_kubectl_apply_can_carry_the_crd() -> None:
    assert len(crd_text()) < 256 * 1024 * 0.5
    assert yaml.safe_load(crd_text()) == crd()


def test_every_field_is_described_and_every_text_list_and_number_bounded() -> None:
    for found in (*schemas(schema("spec")), *schemas(schema("status"))):
        kind = found.get("type")
        assert kind != "string" or "maxLength" in found or "enum" in found
        assert kind != "array" or "maxItems" in found
        assert kind not in ("integer", "number") or {"minimum", "maximum"} <= found.keys()
        for inner in found.get("properties", {}).values():
            assert inner["description"]


def test_defaults_are_in_the_schema_and_empty_ones_are_not() -> None:
    assert schema("spec", "simulators", "replicas")["default"] == 8
    assert schema("spec", "learners", "groups")["default"] == "Auto"
    assert "default" not in schema("spec", "environment", "atari")
    assert "default" not in schema("spec", "learners", "resources")


def test_a_status_is_not_filled_in() -> None:
    assert not [found for found in schemas(schema("status")) if "default" in found]


def test_the_papers_names_are_accepted() -> None:
    assert {"A3C", "APPO"} <= set(schema("spec", "algorithm", "name")["enum"])


def test_parameters_of_all_algorithms_are_known_and_told_apart() -> None:
    known = schema("spec", "algorithm", "parameters")["properties"]
    assert set(known) == {field.wire_name for cls in PARAMETERS.values() for field in spec_fields(cls)}
    assert known["horizon"]["description"].endswith("Default: 5 (A2C), 128 (PPO).")
    assert "is a parameter of PPO, APPO only" in rules("spec", "algorithm")


def test_what_is_immutable_is_held_by_the_api_server() -> None:
    fixed = {rule["fieldPath"] for rule in schema("spec")["x-kubernetes-validations"] if "immutable" in rule["message"]}
    assert fixed == {".environment", ".algorithm", ".mode", ".seed", ".managedBy"}
    assert "is immutable; make a new TrainingJob instead" in rules("spec", "checkpoint")
    assert "is immutable; make a new TrainingJob instead" in rules("spec", "learners")


def test_simulators_can_be_scaled() -> None:
    scale = version()["subresources"]["scale"]
    assert scale["specReplicasPath"] == ".spec.simulators.replicas"
    assert scale["labelSelectorPath"] == ".status.simulators.selector"


def test_every_column_shows_a_field_that_exists() -> None:
    for column in version()["additionalPrinterColumns"]:
        path = column["jsonPath"].strip(".").split(".")
        assert path == ["metadata", "creationTimestamp"] or schema(*path)["type"]


def test_the_reference_lists_every_field_of_the_spec() -> None:
    page = reference()
    for name in ("`totalSteps`", "`stickyActionProbability`", "`minibatchSize`", "`claimTemplate`", "`modeDecision`"):
        assert name in page


def test_the_writer_prints_what_it_is_asked_for(capsys: Any) -> None:
    assert main(["crd"]) == 0
    assert capsys.readouterr().out == crd_text()
    assert main(["nonsense"]) == 2
