"""Events on a real API server: each happening once, whoever tells it and however often."""

from __future__ import annotations

import pytest

from stepstream_operator.controller.events import MAX_NOTE, EventRecorder, Happening
from stepstream_operator.runtime.client import Client
from stepstream_operator.runtime.resources import EVENTS, TRAINING_JOBS, Object
from stepstream_operator.status.words import clipped
from tests.support.running_operator import manifest

pytestmark = pytest.mark.control_plane
RESTARTED = Happening(reason="Restarting", note="attempt 2: learner 0 ended with 1", warning=True, occasion="2")


@pytest.fixture
def job(admin: Client, namespace: str) -> Object:
    return admin.create(TRAINING_JOBS, namespace, manifest())


def events(admin: Client, namespace: str) -> list[Object]:
    return list(admin.list_page(EVENTS, namespace, {})["items"])


def test_what_two_operators_tell_is_one_event(admin: Client, namespace: str, job: Object) -> None:
    for instance in ("first", "first", "second"):
        EventRecorder(admin, instance).tell(job, RESTARTED)
    (event,) = events(admin, namespace)
    assert (event["reason"], event["note"], event["type"]) == ("Restarting", RESTARTED.note, "Warning")
    assert event["regarding"]["uid"] == job["metadata"]["uid"]
    assert event["reportingInstance"] == "first"


def test_the_same_on_another_occasion_is_another_event(admin: Client, namespace: str, job: Object) -> None:
    recorder = EventRecorder(admin, "a")
    for occasion in ("2", "3", "3"):
        recorder.tell(job, Happening(reason="Restarting", note="the same words", occasion=occasion))
    assert len(events(admin, namespace)) == 2


def test_a_job_of_the_same_name_made_anew_has_events_of_its_own(admin: Client, namespace: str, job: Object) -> None:
    recorder = EventRecorder(admin, "a")
    recorder.tell(job, RESTARTED)
    admin.delete(TRAINING_JOBS, namespace, "pong")
    again = admin.create(TRAINING_JOBS, namespace, manifest())
    recorder.tell(again, RESTARTED)
    told = {event["regarding"]["uid"] for event in events(admin, namespace)}
    assert told == {job["metadata"]["uid"], again["metadata"]["uid"]}


@pytest.mark.parametrize("note", ["x" * 5000, clipped("x" * 5000, 1024), "ü" * 1000], ids=["long", "clipped", "wide"])
def test_a_long_note_is_cut_and_told(admin: Client, namespace: str, job: Object, note: str) -> None:
    EventRecorder(admin, "a").tell(job, Happening(reason="Failed", note=note))
    [event] = events(admin, namespace)
    assert note.startswith(event["note"])
    assert MAX_NOTE - 4 < len(event["note"].encode()) <= MAX_NOTE


def test_an_event_that_is_refused_stops_nothing(
    admin: Client, job: Object, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = job | {"metadata": job["metadata"] | {"namespace": "there-is-none"}}
    EventRecorder(admin, "a").tell(elsewhere, RESTARTED)
    captured = capsys.readouterr()
    assert "event_refused" in captured.err + captured.out + caplog.text
