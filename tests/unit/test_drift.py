"""An object that the API server completed and rewrote is as it should be; one that somebody changed is not."""

from typing import Any

import pytest

from stepstream_operator.drift import covers


@pytest.mark.parametrize(
    ("observed", "desired"),
    [
        ({"a": 1, "added": 2}, {"a": 1}),
        ({}, {"a": {}, "b": [], "c": "", "d": 0, "e": False, "f": None}),
        ({}, {"resources": {"limits": {}}}),
        ({"l": [{"a": 1, "added": 2}]}, {"l": [{"a": 1}]}),
        ({"limits": {"cpu": "1", "memory": "512Mi"}}, {"limits": {"cpu": "1000m", "memory": "0.5Gi"}}),
        ({"limits": {"nvidia.com/gpu": "1"}}, {"limits": {"nvidia.com/gpu": 1}}),
        ({"requests": {"storage": "10Gi"}}, {"requests": {"storage": "10240Mi"}}),
        ({"limits": {"cpu": "1k"}}, {"limits": {"cpu": "1e3"}}),
    ],
)
def test_what_the_api_server_adds_leaves_out_or_rewrites_is_no_drift(observed: Any, desired: Any) -> None:
    assert covers(observed, desired)


@pytest.mark.parametrize(
    ("observed", "desired"),
    [
        ({"a": 2}, {"a": 1}),
        ({}, {"a": 1}),
        ({"a": 1}, {"a": 0}),
        ({"a": "1"}, {"a": 1}),
        ({"a": 1}, {"a": True}),
        ({"l": [1, 2]}, {"l": [1]}),
        ({"l": [2, 1]}, {"l": [1, 2]}),
        ({"a": []}, {"a": {"b": 1}}),
        ({"limits": {"cpu": "2"}}, {"limits": {"cpu": 1}}),
        ({"limits": {"cpu": "1m"}}, {"limits": {"cpu": "1M"}}),
        ({"limits": {}}, {"limits": {"cpu": "x"}}),
        ({"selector": {"a": "1", "added": "2"}}, {"selector": {"a": "1"}}),
    ],
)
def test_a_change_is_drift(observed: Any, desired: Any) -> None:
    assert not covers(observed, desired)
