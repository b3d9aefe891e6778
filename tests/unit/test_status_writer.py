"""The merge patch that takes a status from what it is to what it should be."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stepstream_operator.controller.status_writer import merge_difference

values = st.recursive(
    st.integers() | st.text(max_size=3) | st.booleans() | st.lists(st.integers(), max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=12,
)
statuses = st.dictionaries(st.sampled_from("abcd"), values, max_size=4)


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


@given(statuses, statuses)
def test_the_patch_leads_from_one_status_to_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert merged(before, merge_difference(before, after)) == after


@given(statuses)
def test_equal_statuses_need_no_patch(status: dict[str, Any]) -> None:
    assert merge_difference(status, status) == {}
