"""Certificates in pods. One Secret holds the job's CA and a pair for each role; a pod sees only its own role's pair.

Keys of the Secret: `ca.crt`, `learner.crt`, `learner.key`, `simulator.crt`, `simulator.key`. In the pod they are
`ca.crt`, `tls.crt` and `tls.key`. A mounted Secret follows changes, so renewed certificates reach running pods.
"""

from stepstream_operator.api import TrainingJob
from stepstream_operator.children.names import tls_secret_name
from stepstream_operator.children.placement import Placement
from stepstream_operator.children.pod_template import Volume, mounted


def tls_volumes(job: TrainingJob, role: str, placement: Placement) -> list[tuple[Volume, Volume]]:
    """None where streams are not encrypted."""
    if placement.tls_dir is None:
        return []
    items = [
        {"key": "ca.crt", "path": "ca.crt"},
        {"key": f"{role}.crt", "path": "tls.crt"},
        {"key": f"{role}.key", "path": "tls.key"},
    ]
    secret = {"secretName": tls_secret_name(job.name), "items": items, "defaultMode": 0o440}
    return [mounted("tls", placement.tls_dir, {"secret": secret})]
