"""An environment of a user's own in the pods of a real cluster: a module from a ConfigMap, on the simulators' path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.kubectl import Kubectl


@contextmanager
def own_environment(user: Kubectl, module: str, source: str) -> Iterator[dict[str, Any]]:
    """Gives the template of simulators that can import `module`."""
    files = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": module},
        "data": {f"{module}.py": source},
    }
    said = user("create", "-f", "-", given=files)
    assert said == f"configmap/{module} created", said
    place = f"/environments/{module}"
    container = {
        "name": "simulator",
        "env": [{"name": "PYTHONPATH", "value": place}],
        "volumeMounts": [{"name": module, "mountPath": place}],
    }
    try:
        yield {"spec": {"containers": [container], "volumes": [{"name": module, "configMap": {"name": module}}]}}
    finally:
        user("delete", "configmap", module)
