"""Reading what the API server answers, however it is nested."""

import json
from typing import Any

import pytest

from stepstream_operator.runtime.client import MAX_DEPTH, without_depths
from stepstream_operator.runtime.errors import ApiError


def nested(levels: int) -> Any:
    value: Any = "core"
    for level in range(levels):
        value = [value, {"]": '\\"[{'}] if level % 2 else {"a": value, "b}": []}
    return value


@pytest.mark.parametrize("levels", [1, 7, MAX_DEPTH - 1])
def test_what_is_not_nested_too_deeply_stays_as_it_is(levels: int) -> None:
    text = json.dumps(nested(levels)).encode()
    assert without_depths(text) == text


def test_what_lies_too_deep_is_cut_off_and_all_beside_it_stays() -> None:
    deep = b"[" * (MAX_DEPTH + 4000) + b"7" + b"]" * (MAX_DEPTH + 4000)
    text = b'{"items": [{"deep": %s, "name": "x]"}, {"name": "y"}]}' % deep
    items = json.loads(without_depths(text))["items"]
    assert [item["name"] for item in items] == ["x]", "y"]
    core, levels = items[0]["deep"], 0
    while core is not None:
        [core], levels = core, levels + 1
    assert levels == MAX_DEPTH - 3


@pytest.mark.parametrize(
    "details", [None, "none", ["none"], {"causes": "none"}, {"causes": ["none"]}, {"causes": [{"message": "none"}]}]
)
def test_an_error_whose_details_are_of_no_use_is_told_without_them(details: Any) -> None:
    error = ApiError.from_status(500, {"details": details, "message": "broken"})
    assert (error.message, error.causes) == ("broken", ())
