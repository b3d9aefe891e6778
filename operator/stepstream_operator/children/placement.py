"""Where the containers of a job run: what differs between a cluster and one machine, and nothing else.

Addresses and paths may refer to a container's own variables as Kubernetes does: `$(STEPSTREAM_RANK)`.
"""

from dataclasses import dataclass
from typing import Final

from stepstream_operator.api import TrainingJob
from stepstream_operator.children.names import learners_name
from stepstream_trainer.config.contract import HTTP_PORT, RANK, RENDEZVOUS_PORT, SIMULATOR, STREAM_PORT

CONFIG_FILE: Final = "job.json"
CLUSTER_CONFIG_DIR: Final = "/etc/stepstream/config"
CLUSTER_TLS_DIR: Final = "/etc/stepstream/tls"
CLUSTER_DATA_DIR: Final = "/var/lib/stepstream"


@dataclass(frozen=True, kw_only=True, slots=True)
class Images:
    """What learners and simulators run. Both of one version: they speak one protocol."""

    learner: str = "stepstream/learner:latest"
    simulator: str = "stepstream/simulator:latest"


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Directories and addresses that a job's processes are given.

    `config_dir` holds the ConfigMap's files. `run_dir` is the learners'; its parent is where the volume is mounted.
    `tls_dir` is None where streams are not encrypted. `listen` and the two `*_http` are where processes listen;
    `learner` is the gRPC target that simulators dial, those of all learners in one (`contract.at_rank`). Learners find
    one another at `rendezvous`, and exchange gradients over the network interface `collective_interface`, named where
    torch would not find it. `final_status` is where learners leave their last /status; a kubelet takes the termination
    message from there.
    """

    config_dir: str
    run_dir: str
    tls_dir: str | None
    listen: str
    learner: str
    learner_http: str
    simulator_http: str
    rendezvous: str
    final_status: str
    collective_interface: str = ""
    images: Images = Images()

    @property
    def config_path(self) -> str:
        return f"{self.config_dir}/{CONFIG_FILE}"


def cluster_placement(
    job: TrainingJob, *, tls: bool, images: Images | None = None, simulator_image: str = ""
) -> Placement:
    """Pods of a cluster. Host names stay the same over attempts, so simulators find a restarted learner again.

    `images` are for jobs that name none. `simulator_image` is what fits the learners that run already, if any do.
    """
    images = images or Images()
    learners = learners_name(job.name)
    return Placement(
        config_dir=CLUSTER_CONFIG_DIR,
        run_dir=f"{CLUSTER_DATA_DIR}/{job.name}",
        tls_dir=CLUSTER_TLS_DIR if tls else None,
        listen=f"0.0.0.0:{STREAM_PORT}",
        learner=f"dns:///{learners}-{{rank}}.{learners}.{job.namespace}.svc:{STREAM_PORT}",
        learner_http=f"0.0.0.0:{HTTP_PORT}",
        simulator_http=f"0.0.0.0:{HTTP_PORT}",
        rendezvous=f"{learners}-0.{learners}.{job.namespace}.svc:{RENDEZVOUS_PORT}",
        final_status="/dev/termination-log",
        images=Images(
            learner=job.spec.image or images.learner,
            simulator=simulator_image or job.spec.image or images.simulator,
        ),
    )


def local_placement(
    *,
    run_dir: str,
    socket_dir: str,
    stream_port: int | None = None,
    http_port: int | None = None,
    rendezvous_port: int = RENDEZVOUS_PORT,
) -> Placement:
    """Processes of one machine, over Unix sockets in `socket_dir` (keep it short: socket paths end at 107 bytes).

    With `stream_port`, streams take TCP on the loopback interface instead, at that port plus the learner's rank; with
    `http_port`, learners' HTTP does. Rank 0 has the names of files that a lone learner has.
    """
    unix = f"unix:{socket_dir}/learner-$({RANK})"
    return Placement(
        config_dir=f"{run_dir}/config",
        run_dir=run_dir,
        tls_dir=None,
        listen=f"{unix}.sock" if stream_port is None else _loopback(stream_port),
        learner=f"unix:{socket_dir}/learner-{{rank}}.sock"
        if stream_port is None
        else f"dns:///{_loopback(stream_port)}",
        learner_http=f"{unix}-http.sock" if http_port is None else _loopback(http_port),
        simulator_http=f"unix:{socket_dir}/$({SIMULATOR})-http.sock",
        rendezvous=f"127.0.0.1:{rendezvous_port}",
        collective_interface="lo",
        final_status=f"{run_dir}/final-status.json",
    )


def _loopback(port: int) -> str:
    """Of all ranks, in one."""
    return f"127.0.0.1:{{{port}+rank}}"
