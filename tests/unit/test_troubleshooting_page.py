"""docs/troubleshooting.md, where no API server is needed to tell whether it is right."""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from stepstream_operator import controller
from stepstream_operator.api import KIND
from stepstream_operator.api.types import TrainingJobSpec
from stepstream_operator.children import cluster_placement, desired_children
from stepstream_operator.children.manifest import clash
from stepstream_operator.children.names import QUEUE_LABELS
from stepstream_operator.controller.apply import Applier, Refused
from stepstream_operator.controller.creation_failures import CreationFailures
from stepstream_operator.controller.watched import Stores
from stepstream_operator.runtime.errors import ApiError
from stepstream_operator.status import Observed, Termination, lifecycle
from stepstream_operator.status.troubles import CRASH_LOOP
from stepstream_trainer.config.fields import spec_fields
from tests.support.jobs import derived, later, learner_job, learner_pod, make_job, ready_learner, simulator_pod

PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"


class RefusingServer:
    """Takes no Deployment, and tells of a quota."""

    def apply(self, *_: object, **__: object) -> None:
        raise ApiError(code=422, reason="Invalid", message="spec.template.spec: Invalid value")

    def list_page(self, *_: object) -> dict[str, Any]:
        note = 'Error creating: pods "pong-learner-0-x" is forbidden: exceeded quota: few, requested: pods=1'
        times = {"eventTime": later(3600).isoformat(), "deprecatedLastTimestamp": later(3600).isoformat()}
        return {"items": [{"metadata": {"resourceVersion": "1"}, "note": note, **times}]}


def refusal() -> str:
    job = make_job()
    *_, deployment = desired_children(job, 1, cluster_placement(job, tls=True))
    with pytest.raises(Refused) as refused:
        Applier(RefusingServer(), Stores(lambda key: None)).check(job, deployment)
    return derived(problems=(str(refused.value),)).message


def quota() -> str:
    said = CreationFailures(RefusingServer()).sentence(("games", "pong"), Observed(learner_job=learner_job()), 1)
    return derived(learner_job=learner_job(), problems=(said or "",)).message


def found(kind: str, name: str, owner: str = "") -> str:
    owners = [{"kind": owner, "uid": "another's"}] if owner else []
    child = {"kind": kind, "metadata": {"name": name, "ownerReferences": owners}}
    return derived(problems=(clash(child),)).message


def with_simulators(count: int, **seen: Any) -> str:
    """What is said of a running job whose simulators are like that."""
    return derived(pods=(ready_learner(), *(simulator_pod(uid=f"s{n}", **seen) for n in range(count)))).message


SAID: Mapping[str, Callable[[], str]] = {
    "1 learner cannot be scheduled: 0/4 nodes are available: ...": lambda: (
        derived(pods=(learner_pod(unschedulable="0/4 nodes are available: 4 Insufficient cpu."),)).message
    ),
    "learners cannot be created: ... exceeded quota: ...": quota,
    "Deployment pong-simulator is refused: ...": refusal,
    "ConfigMap pong-config exists already and is not this job's: delete it, or give the job another name": lambda: (
        found("ConfigMap", "pong-config")
    ),
    "Job pong-learner of an earlier job of this name is not gone yet": lambda: found("Job", "pong-learner", KIND),
    "waiting for 1 earlier learner to leave": lambda: derived(strays=(learner_pod(),)).message,
    "waiting for quota in queue team": lambda: (
        derived(
            make_job(labels={QUEUE_LABELS[0]: "team"}), previous=derived(), learner_job=learner_job(held=True)
        ).message
    ),
    "2 simulators cannot pull the image: ...": lambda: with_simulators(
        2, waiting="ImagePullBackOff", waiting_message='Back-off pulling image "nowhere/simulator:1"'
    ),
    "1 simulator in a crash loop: exit code 3: ...": lambda: with_simulators(
        1, waiting=CRASH_LOOP, termination=Termination(exit_code=3, log="ImportError: no module named pong\n")
    ),
}
"""Sentence on the page, where dots stand for anything -> the message of such a job."""


def fixed_fields(cls: type, path: str = "") -> Iterator[str]:
    for field in spec_fields(cls):
        if field.rules.immutable:
            yield path + field.wire_name
        elif dataclasses.is_dataclass(field.type) and isinstance(field.type, type):
            yield from fixed_fields(field.type, f"{path}{field.wire_name}.")


def test_the_page_names_every_field_that_cannot_be_changed_and_no_other() -> None:
    [paragraph] = re.findall(r"\*\*An immutable field changed\*\*:(.*?)\n\n", PAGE.read_text(), flags=re.DOTALL)
    assert set(re.findall(r"`([\w.]+)`", paragraph)) == set(fixed_fields(TrainingJobSpec))


def sentences() -> list[str]:
    """What the page says that MESSAGE says."""
    told = re.findall(r"\*\*MESSAGE says (.*?)\*\*", PAGE.read_text(), flags=re.DOTALL)
    return [" ".join(sentence.split()) for each in told for sentence in re.findall(r"`(.*?)`", each, flags=re.DOTALL)]


def test_each_sentence_of_the_page_has_a_job_that_says_it() -> None:
    assert sorted(sentences()) == sorted(SAID)


@pytest.mark.parametrize("sentence", SAID)
def test_a_job_in_that_trouble_says(sentence: str) -> None:
    said = SAID[sentence]()
    assert re.fullmatch(re.escape(sentence).replace(r"\.\.\.", ".+"), said), said


def first_column(heading: str) -> set[str]:
    """Words in the first column of the table below a heading."""
    [section] = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)
    cells = re.findall(r"^\| (`.*?`) \|", section, flags=re.MULTILINE)
    return {word for cell in cells for word in re.findall(r"`(\w+)`", cell)}


def test_the_page_has_each_event_that_is_told_and_no_other() -> None:
    sources = "".join(path.read_text() for path in Path(controller.__path__[0]).glob("*.py"))
    assert first_column("What has happened to the job") == set(re.findall(r'Happening\(\s*reason="(\w+)"', sources))


def test_the_page_has_each_reason_why_a_job_fails_and_no_other() -> None:
    assert first_column("The job fails") == {
        lifecycle.BACKOFF_LIMIT_EXCEEDED,
        lifecycle.INVALID_INPUT,
        lifecycle.DEADLINE_EXCEEDED,
        lifecycle.PENDING_DEADLINE_EXCEEDED,
    }
