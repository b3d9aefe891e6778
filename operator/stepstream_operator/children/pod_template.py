"""What learners' and simulators' pods have in common: security, volumes, and the user's overlay on top."""

from collections.abc import Mapping
from typing import Any, Final

from stepstream_operator.api import TemplateOverlay, TrainingJob
from stepstream_operator.children.names import config_name
from stepstream_operator.children.overlay import merged
from stepstream_trainer.config import to_mapping

NOBODY: Final = 65532
"""The user and group of the images; `nonroot` of the distroless images."""

PodTemplate = dict[str, Any]
Volume = dict[str, Any]


def pod_template(
    job: TrainingJob,
    container: dict[str, Any],
    spec: dict[str, Any],
    metadata: dict[str, Any],
    overlay: TemplateOverlay,
) -> PodTemplate:
    """`container` and `spec` completed to a template that the `restricted` Pod Security level admits, then overlaid.

    `metadata` and `restartPolicy` are ours: selectors, metrics and the job's controller depend on them.
    """
    template = {"metadata": metadata, "spec": {**_pod_spec(job), **spec, "containers": [container]}}
    laid_over = merged(template, {"metadata": to_mapping(overlay.metadata), "spec": dict(overlay.spec)})
    return dict(merged(laid_over, {"metadata": metadata}))


def mounted(name: str, path: str, source: Mapping[str, Any], *, read_only: bool = True) -> tuple[Volume, Volume]:
    """A volume and where it is mounted."""
    mount = {"name": name, "mountPath": path}
    return {"name": name, **source}, {**mount, "readOnly": True} if read_only else mount


def config_volume(job: TrainingJob, path: str) -> tuple[Volume, Volume]:
    return mounted("config", path, {"configMap": {"name": config_name(job.name)}})


def scratch_volume() -> tuple[Volume, Volume]:
    """The root file system is read-only; libraries want somewhere to write."""
    return mounted("tmp", "/tmp", {"emptyDir": {}}, read_only=False)


def with_volumes(
    container: dict[str, Any], volumes: list[tuple[Volume, Volume]]
) -> tuple[dict[str, Any], list[Volume]]:
    """The container with its mounts, and the pod's volumes."""
    return {**container, "volumeMounts": [mount for _, mount in volumes]}, [volume for volume, _ in volumes]


def _pod_spec(job: TrainingJob) -> dict[str, Any]:
    secrets = to_mapping(job.spec.image_pull_secrets)
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": NOBODY,
            "runAsGroup": NOBODY,
            "fsGroup": NOBODY,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **({"imagePullSecrets": secrets} if secrets else {}),
    }
