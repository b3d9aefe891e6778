"""A container of a manifest as a process of this machine.

The local runner starts exactly what a kubelet would: it takes the children made with `local_placement`, writes the
ConfigMap's files where its volume would be mounted, and runs each container's command in its environment.

    children = desired_children(job, attempt, placement)
    for path, text in files(children).items(): ...write text to path...
    learner = process(workload(children, LEARNER), pod_name=f"{job.name}-learner-0", index=0)
    simulator = process(workload(children, SIMULATOR), pod_name=f"{job.name}-simulator-3")

`Process.command` starts with "python", `Process.environment` holds only what the manifest says: the caller finds the
interpreter (its own, so that the virtual environment is the same) and adds what a process inherits (PATH, HOME).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stepstream_operator.children.names import COMPLETION_INDEX, ROLE_LABEL
from stepstream_trainer.config import ConfigurationErrors, FieldError

_REFERENCE: Final = re.compile(r"\$(\$|\(([A-Za-z_][A-Za-z0-9_.-]*)\))")
_WORKLOADS: Final = ("Job", "Deployment")


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """What to run: `command` with its arguments, in `environment`."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]


def workload(children: Iterable[Mapping[str, Any]], role: str) -> Mapping[str, Any]:
    """The child that runs the pods of a role. There is none for the learners of a suspended job."""
    return next(
        child
        for child in children
        if child["kind"] in _WORKLOADS and child["metadata"]["labels"].get(ROLE_LABEL) == role
    )


def files(children: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Path -> text of every ConfigMap file that a pod of these children would see."""
    children = list(children)
    texts = {child["metadata"]["name"]: child["data"] for child in children if child["kind"] == "ConfigMap"}
    found: dict[str, str] = {}
    for child in children:
        if child["kind"] in _WORKLOADS:
            for name, directory in _mounted_config_maps(child["spec"]["template"]["spec"]):
                found |= {f"{directory}/{file}": text for file, text in texts.get(name, {}).items()}
    return found


def process(child: Mapping[str, Any], *, pod_name: str, index: int = 0) -> Process:
    """The pod's own container (its first) as a process. Raises `ConfigurationErrors` for what needs a cluster."""
    template = child["spec"]["template"]
    container = template["spec"]["containers"][0]
    annotations = {**template["metadata"].get("annotations", {}), COMPLETION_INDEX: str(index)}
    metadata = {**template["metadata"], "annotations": annotations, "name": pod_name}
    metadata["namespace"] = child["metadata"]["namespace"]
    environment: dict[str, str] = {}
    for variable in container["env"]:
        environment[variable["name"]] = _variable(variable, metadata, environment)
    words = [*container["command"], *container.get("args", [])]
    return Process(
        name=pod_name, command=tuple(_expanded(word, environment) for word in words), environment=environment
    )


def _mounted_config_maps(pod: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    sources = {volume["name"]: volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume}
    mounts = pod["containers"][0]["volumeMounts"]
    return [(sources[mount["name"]], mount["mountPath"]) for mount in mounts if mount["name"] in sources]


def _variable(variable: Mapping[str, Any], metadata: Mapping[str, Any], known: Mapping[str, str]) -> str:
    if "valueFrom" not in variable:
        return _expanded(str(variable.get("value", "")), known)
    path = variable["valueFrom"].get("fieldRef", {}).get("fieldPath", "")
    value = _field(path, metadata)
    if value is None:
        problem = "needs a cluster: on one machine a variable is a value or a field of its pod's metadata"
        raise ConfigurationErrors([FieldError(path=f"env {variable['name']}", problem=problem)])
    return value


def _field(path: str, metadata: Mapping[str, Any]) -> str | None:
    """A downward API path such as `metadata.name` or `metadata.labels['key']`."""
    match = re.fullmatch(r"metadata\.([a-z]+)(?:\['([^']+)'\])?", path)
    if match is None:
        return None
    value = metadata.get(match[1])
    if match[2] is not None:
        value = value.get(match[2], "") if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else None


def _expanded(text: str, known: Mapping[str, str]) -> str:
    """`$(NAME)` by its value, where it is known; `$$` by `$`, as Kubernetes does."""

    def replacement(match: re.Match[str]) -> str:
        return "$" if match[1] == "$" else known.get(match[2], match[0])

    return _REFERENCE.sub(replacement, text)
