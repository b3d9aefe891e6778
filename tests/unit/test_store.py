"""The reflector's store: what it keeps, what it ignores, whom it tells."""

from __future__ import annotations

import pytest

from stepstream_operator.runtime.resources import Object
from stepstream_operator.runtime.store import Key, Store

JOB: Key = ("ns", "job")


def item(name: str = "a", version: int = 1, uid: str = "u1", job: str | None = "job") -> Object:
    metadata = {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata, "job": job}


class Recorded(Store):
    def __init__(self) -> None:
        self.told: list[Key] = []
        super().__init__(lambda item: ("ns", item["job"]) if item["job"] else None, self.told.append)

    def version(self) -> str | None:
        held = self.get(("ns", "a"))
        return held["metadata"]["resourceVersion"] if held else None


@pytest.fixture
def store() -> Recorded:
    return Recorded()


def test_an_older_version_never_replaces_a_newer_one(store: Recorded) -> None:
    store.put(item(version=5))
    store.put(item(version=3))
    assert store.version() == "5"


def test_the_same_name_with_another_uid_replaces_the_object(store: Recorded) -> None:
    store.put(item(version=5, uid="u1"))
    store.put(item(version=6, uid="u2"))
    store.discard(item(version=4, uid="u1"))
    assert store.version() == "6"


def test_a_list_removes_what_it_lacks_and_tells_only_what_differs(store: Recorded) -> None:
    store.put(item("a", 1))
    store.put(item("b", 2, job="other"))
    store.told.clear()
    store.replace([item("a", 1)], listed_at=9)
    assert (store.told, [each["metadata"]["name"] for each in store.all()]) == ([("ns", "other")], ["a"])


def test_a_list_older_than_our_own_write_does_not_undo_it(store: Recorded) -> None:
    store.wrote(item("a", 20))
    store.replace([], listed_at=10)
    assert store.version() == "20"


def test_our_own_write_is_known_before_the_watch_tells_of_it(store: Recorded) -> None:
    store.replace([], listed_at=10)
    store.wrote(item("a", 11))
    assert (store.version(), store.told) == ("11", [JOB])


def test_the_late_answer_to_our_write_does_not_bring_back_what_was_deleted_since(store: Recorded) -> None:
    store.put(item("a", 5))
    store.discard(item("a", 7))
    store.wrote(item("a", 6))
    assert store.version() is None


def test_the_late_answer_to_our_write_does_not_bring_back_what_a_later_list_lacks(store: Recorded) -> None:
    store.replace([], listed_at=7)
    store.wrote(item("a", 6))
    assert store.version() is None


def test_what_is_known_of_another_namespace_says_nothing_of_this_one(store: Recorded) -> None:
    elsewhere = item("b", 9)
    elsewhere["metadata"]["namespace"] = "other"
    store.put(elsewhere)
    store.replace([], listed_at=9, namespace="other")
    store.wrote(item("a", 6))
    assert store.version() == "6"


def test_objects_are_found_by_the_job_they_belong_to(store: Recorded) -> None:
    store.put(item("b"))
    store.put(item("a"))
    store.put(item("c", job=None))
    assert [each["metadata"]["name"] for each in store.owned_by(JOB)] == ["a", "b"]


def test_an_object_that_changes_its_job_tells_both(store: Recorded) -> None:
    store.put(item(version=1, job="job"))
    store.told.clear()
    store.put(item(version=2, job="other"))
    assert sorted(store.told) == [("ns", "job"), ("ns", "other")]
