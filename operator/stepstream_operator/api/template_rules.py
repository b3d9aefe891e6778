"""What a pod template overlay must not touch: the parts that operator and trainer have agreed on."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from stepstream_operator.api.types import TemplateOverlay, TrainingJobSpec
from stepstream_trainer.config import FieldError

_RESERVED_PREFIX: Final = "STEPSTREAM_"
_NAMED_LISTS: Final = ("containers", "initContainers", "volumes")


def template_errors(spec: TrainingJobSpec) -> Iterator[FieldError]:
    """What is wrong with both overlays. The API server's dry run of the children judges the rest of them."""
    yield from _overlay_errors(spec.learners.template, "spec.learners.template.spec")
    yield from _overlay_errors(spec.simulators.template, "spec.simulators.template.spec")


def _overlay_errors(overlay: TemplateOverlay, path: str) -> Iterator[FieldError]:
    if "restartPolicy" in overlay.spec:
        yield FieldError(path=f"{path}.restartPolicy", problem="is set by the operator; remove it")
    for name in _NAMED_LISTS:
        yield from _list_errors(overlay.spec.get(name, []), f"{path}.{name}")
    containers = overlay.spec.get("containers", [])
    for index, container in enumerate(containers if isinstance(containers, list) else []):
        yield from _environment_errors(container, f"{path}.containers[{index}].env")


def _list_errors(items: Any, path: str) -> Iterator[FieldError]:
    if not isinstance(items, list):
        yield FieldError(path=path, value=items, problem="must be a list")
        return
    for index, item in enumerate(items):
        if not isinstance(item, Mapping) or not isinstance(item.get("name"), str):
            yield FieldError(path=f"{path}[{index}].name", problem="required; entries are merged by their name")


def _environment_errors(container: Any, path: str) -> Iterator[FieldError]:
    variables = container.get("env", []) if isinstance(container, Mapping) else []
    yield from _list_errors(variables, path)
    for index, variable in enumerate(variables if isinstance(variables, list) else []):
        name = variable.get("name") if isinstance(variable, Mapping) else None
        if isinstance(name, str) and name.startswith(_RESERVED_PREFIX):
            yield FieldError(path=f"{path}[{index}].name", value=name, problem=f"{_RESERVED_PREFIX}* is the operator's")
