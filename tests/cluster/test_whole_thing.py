"""From nothing and back: helm installs the chart, a job trains in real pods over mutual TLS, and nothing is left."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.daemons import eventually
from tests.support.inventory import inventory, node_leftovers
from tests.support.kubectl import Kubectl
from tests.support.last_lines import TellAtTheEnd
from tests.support.monitored_jobs import learner_address
from tests.support.real_cluster import RealCluster, Stopwatch, released, user_of
from tests.support.real_job import RealJob

EXAMPLE = Path(__file__).parents[2] / "examples" / "01-cartpole-ppo.yaml"
TTL_SECONDS = 20
CALL = """
import sys, grpc
address, way = sys.argv[1:]
read = lambda name: open("/etc/stepstream/tls/" + name, "rb").read()
pair = {"private_key": read("tls.key"), "certificate_chain": read("tls.crt")} if way == "its certificate" else {}
options = [("grpc.ssl_target_name_override", "learner")]
if way == "plain text":
    channel = grpc.insecure_channel(address)
else:
    channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(read("ca.crt"), **pair), options)
try:
    channel.unary_unary("/nothing/of/the/kind")(b"", timeout=60)
except grpc.RpcError as error:
    print(error.code().name)
"""
"""Calls what no learner has: it says so to whom it lets in."""


CONTENTS = """
import importlib.util, json, os, shutil, stat
tools = ("apt", "apt-get", "pip", "pip3", "gcc", "cc", "make", "git", "curl")
places = [os.path.join(top, file) for top, _, files in os.walk("/usr") for file in files]
print(json.dumps({
    "user": os.getuid(),
    "torch": importlib.util.find_spec("torch") is not None,
    "tools": [tool for tool in tools if shutil.which(tool)] + ["pip"] * (importlib.util.find_spec("pip") is not None),
    "setuid": [file for file in places if os.lstat(file).st_mode & (stat.S_ISUID | stat.S_ISGID)],
    "writable": os.access("/opt/stepstream", os.W_OK),
}))
"""


def cartpole() -> dict[str, Any]:
    """The first example, by two simulators, gone soon after its end."""
    manifest: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    manifest["spec"]["simulators"]["replicas"] = 2
    manifest["spec"]["ttlSecondsAfterFinished"] = TTL_SECONDS
    return manifest


@pytest.fixture
def before(cluster: RealCluster) -> set[str]:
    """What is on the cluster that is not ours."""
    return inventory(Kubectl(kubeconfig=cluster.kubeconfig, namespace="default"))


@pytest.mark.timeout(1800)
def test_a_job_lives_from_helm_install_to_its_end_and_nothing_is_left(
    before: set[str], cluster: RealCluster, tell_at_the_end: TellAtTheEnd, tmp_path: Path
) -> None:
    watch = Stopwatch(tell_at_the_end)
    with released(cluster, tmp_path) as release, user_of(cluster) as user:
        watch.tell("chart installed, its operator ready")
        assert "Succeeded" in release.run("test", "stepstream", "--timeout", "60s")
        digest = trains_to_its_end(RealJob(kubectl=user, name="cartpole"), watch)
        watch.start()
    everything = Kubectl(kubeconfig=cluster.kubeconfig, namespace="default")
    eventually(lambda: inventory(everything) <= before, timeout_seconds=60, what="the cluster is as it was")
    watch.tell("all of it removed, an empty list of leftovers")
    clear = "the kubelet has removed the containers"
    eventually(lambda: node_leftovers(cluster) == [], timeout_seconds=120, what=clear)
    if cluster.is_ours:  # the same processor
        watch.start()
        assert digest_of_the_same_file_here(tmp_path / "run") == digest
        watch.tell("the same file trained here, to the same parameters")


def trains_to_its_end(job: RealJob, watch: Stopwatch) -> str:
    """The digest of the parameters that it ends with."""
    watch.start()
    job.apply(cartpole())
    job.reaches("Running", timeout_seconds=180, LEARNERS="1/1", SIMULATORS="2/2")
    watch.tell("job applied, learner and simulators at work")
    trains_in_real_pods(job)
    watch.start()
    eventually(
        lambda: "condition met" in job.kubectl("wait", "--for=condition=Complete", "tjob/cartpole", "--timeout=60s"),
        timeout_seconds=400,
        what="the job is Complete",
    )
    watch.tell("job Complete after that")
    digest = ends_as_it_says(job, watch)
    eventually(
        lambda: "NotFound" in job.kubectl("get", "tjob", "cartpole"),
        timeout_seconds=TTL_SECONDS + 30,
        what="the job is gone after its time to live",
        interval_seconds=0.5,
    )
    return digest


def trains_in_real_pods(job: RealJob) -> None:
    pods = [pod for role in ("learner", "simulator") for pod in job.pods(role)]
    assert [pod["status"]["phase"] for pod in pods] == ["Running"] * 3
    assert all(pod["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] for pod in pods)
    learner, simulator = job.learner(), job.ready_pods("simulator")[0]
    assert job.metrics(learner)["stepstream_learner_streams"] >= 2
    eventually(
        lambda: job.metrics(simulator)["stepstream_simulator_steps_total"] > 0,
        timeout_seconds=60,
        what="a simulator makes steps",
    )
    seen = job.steps(learner)
    eventually(lambda: job.steps(learner) > seen, timeout_seconds=60, what="steps are made")
    assert "leased" in {line["event"] for line in job.log(learner)}
    lets_nobody_in_without_a_certificate(job, simulator)
    images_hold_what_their_role_needs(job, learner, simulator)


def images_hold_what_their_role_needs(job: RealJob, learner: str, simulator: str) -> None:
    found = {pod: json.loads(job.kubectl("exec", pod, "--", "python", "-c", CONTENTS)) for pod in (learner, simulator)}
    bare = {"user": 65532, "tools": [], "setuid": [], "writable": False}
    assert found == {learner: bare | {"torch": True}, simulator: bare | {"torch": False}}


def lets_nobody_in_without_a_certificate(job: RealJob, simulator: str) -> None:
    """From a pod that may well have the learner's address, and the authority that signed its certificate."""
    address = learner_address(job.name, job.kubectl.namespace)
    ways = ("its certificate", "no certificate", "plain text")
    answers = {
        way: job.kubectl("exec", simulator, "--", "python", "-c", CALL, address, way).splitlines()[-1] for way in ways
    }
    assert answers == dict(zip(ways, ("UNIMPLEMENTED", "UNAVAILABLE", "UNAVAILABLE"), strict=True))
    refused = "stepstream_learner_streams_refused_total{reason=TLS_HANDSHAKE}"
    eventually(lambda: job.metrics(job.learner())[refused] >= 2, timeout_seconds=60, what="both are counted")
    assert [line for line in job.kubectl("logs", job.learner()).splitlines() if not line.startswith("{")] == []


def ends_as_it_says(job: RealJob, watch: Stopwatch) -> str:
    status = job.get()["status"]
    assert status["phase"] == "Succeeded"
    assert status["attempt"] == 1
    assert status["restarts"] == 0
    row = job.kubectl.columns("tjob", "cartpole")
    assert row["STEPS"] not in ("", "0")
    watch.tell(f"kubectl get tjob: {row}")
    (finished,) = (line for line in job.log(job.pods("learner")[0]["metadata"]["name"]) if line["event"] == "finished")
    return str(finished["parameters"])


def digest_of_the_same_file_here(run_directory: Path) -> str:
    command = [sys.executable, "-m", "stepstream_operator.cli", "run", str(EXAMPLE), "--run-dir", str(run_directory)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=400)
    log = (run_directory / "logs" / "cartpole-learner-0.log").read_text()
    return str(re.findall(r"finished parameters=(\w+)", log)[-1])
