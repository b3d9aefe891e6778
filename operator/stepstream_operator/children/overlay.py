"""Laying a user's pod template over ours."""

from collections.abc import Mapping
from typing import Any, Final

_MERGE_KEYS: Final = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
}
"""Lists whose entries are told apart by a key, as in a strategic merge patch. Every other list replaces ours."""

_MERGED_DEEPLY: Final = ("containers", "initContainers")
"""Entries of the other lists replace ours whole: a variable or a volume has exactly one source."""


def merged(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """`overlay` laid over `base`; neither is changed. A null says nothing."""
    result = dict(base)
    for name, value in overlay.items():
        if value is not None:
            result[name] = _merged_value(name, result.get(name), value)
    return result


def _merged_value(name: str, base: Any, overlay: Any) -> Any:
    if isinstance(base, Mapping) and isinstance(overlay, Mapping):
        return merged(base, overlay)
    if isinstance(base, list) and isinstance(overlay, list) and name in _MERGE_KEYS:
        return _merged_list(name, base, overlay)
    return overlay


def _merged_list(name: str, base: list[Any], overlay: list[Any]) -> list[Any]:
    key = _MERGE_KEYS[name]
    result = list(base)
    place = {item[key]: index for index, item in enumerate(result)}
    for item in overlay:
        told_by = item.get(key) if isinstance(item, Mapping) else None
        index = place.get(told_by) if isinstance(told_by, (str, int)) else None
        if index is None:
            result.append(item)
        else:
            result[index] = merged(result[index], item) if name in _MERGED_DEEPLY else item
    return result
