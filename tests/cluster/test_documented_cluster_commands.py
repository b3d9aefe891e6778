"""Every kubectl and helm command of the pages is typed on a cluster whose pods run, as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.daemons import eventually
from tests.support.documented import ROOT, Documented, commands, made
from tests.support.kubectl import Kubectl
from tests.support.last_lines import TellAtTheEnd
from tests.support.real_cluster import RELEASE_NAMESPACE, RealCluster
from tests.support.real_job import RealJob
from tests.support.tools import binary

INSTALL = "helm install stepstream charts/stepstream --namespace stepstream --create-namespace"
LOCAL_IMAGES = f"{INSTALL} --set images.registry=localhost --set images.pullPolicy=Never"
EXAMPLE = "examples/pong-ppo.yaml"
FIRST = (
    INSTALL,
    LOCAL_IMAGES,
    "kubectl -n stepstream rollout status deployment/stepstream",
    "helm -n stepstream test stepstream",
)
SETTING = "export KUBECONFIG=$(make cluster-up)"
SECOND = (f"kubectl apply -f {EXAMPLE}", "kubectl get tjob --watch")
WATCHED_SECONDS = 5

pytestmark = pytest.mark.timeout(600)


class Shell:
    """A user's, in the repository, with kubectl and helm at hand."""

    def __init__(self, cluster: RealCluster) -> None:
        programs = [str(binary(name).parent) for name in ("kubectl", "helm")]
        self._environment = os.environ | {
            "KUBECONFIG": str(cluster.kubeconfig),
            "PATH": os.pathsep.join([*programs, os.environ["PATH"]]),
        }
        self.typed: set[str] = set()

    def __call__(self, command: str, *, instead: str = "") -> str:
        """`instead` is the command with a name put in for what stands for one. A filter may find nothing."""
        self.typed.add(command)
        line = f"set -o pipefail; {instead or command}"
        done = subprocess.run(
            ["bash", "-c", line], cwd=ROOT, env=self._environment, capture_output=True, text=True, timeout=120
        )
        found_nothing = "| grep" in command and done.returncode == 1 and not done.stderr
        assert done.returncode == 0 or found_nothing, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def shell(cluster: RealCluster) -> Iterator[Shell]:
    admin = Kubectl(kubeconfig=cluster.kubeconfig, namespace="default")
    shell = Shell(cluster)
    try:
        yield shell
    finally:
        admin("delete", "-f", str(ROOT / EXAMPLE), "--ignore-not-found", "--timeout=110s")
        shell(f"helm uninstall stepstream --namespace {RELEASE_NAMESPACE} --ignore-not-found --wait --timeout 60s")
        admin("delete", "crd", "trainingjobs.stepstream.dev", "--ignore-not-found", "--timeout=60s")
        admin("delete", "namespace", RELEASE_NAMESPACE, "--ignore-not-found", "--timeout=110s")


def test_every_command_of_the_pages_does_what_it_is_there_for(
    cluster: RealCluster, shell: Shell, tell_at_the_end: TellAtTheEnd
) -> None:
    told = [each for each in commands() if each.program in ("kubectl", "helm")]
    told.sort(key=lambda each: "scale" in each.command)  # last: nothing else is there while pods come and go
    install(cluster, shell)
    job = RealJob(kubectl=Kubectl(kubeconfig=cluster.kubeconfig, namespace="default"), name="pong")
    train(shell, job)
    learner = job.learner()
    uid, simulator = job.uid(learner), crashed(job)
    operator = shell(f"kubectl -n {RELEASE_NAMESPACE} get pods -l app.kubernetes.io/component=operator -o name").strip()
    for each in told:
        if each.command not in (*FIRST, *SECOND):
            pod = operator if "NAMESPACE" in each.command else simulator
            shell(each.command, instead=filled_in(each, learner=learner, pod=pod))
    assert job.uid(learner) == uid, "the learner does not notice"
    assert {each.command for each in told} <= shell.typed
    tell_at_the_end(f"{len(told)} commands of the pages typed on the cluster")


def install(cluster: RealCluster, shell: Shell) -> None:
    if cluster.is_ours:
        said = shell(SETTING, instead=f"{made(SETTING)}; echo $KUBECONFIG")
        assert said.strip() == str(cluster.kubeconfig)
        shell(LOCAL_IMAGES)
    else:
        shell(LOCAL_IMAGES, instead=f"{INSTALL} --set images.registry={cluster.values['images']['registry']}")
    shell.typed.add(INSTALL)  # the same, but for where the images are
    for command in FIRST[2:]:
        shell(command)


def train(shell: Shell, job: RealJob) -> None:
    apply, watch = SECOND
    assert shell(apply) == "trainingjob.stepstream.dev/pong created\n"
    job.reaches("Running", timeout_seconds=240, LEARNERS="1/1", SIMULATORS="2/2")
    assert "Running" in shell(watch, instead=f"timeout {WATCHED_SECONDS} {watch} || [ $? = 124 ]")


def crashed(job: RealJob) -> str:
    """A simulator with a life that has ended before this one."""
    simulator = job.ready_pods("simulator")[0]
    job.kubectl("exec", simulator, "--", "python", "-c", "import os; os.kill(1, 15)")
    restarts = ("get", "pod", simulator, "-o", "jsonpath={.status.containerStatuses[0].restartCount}")
    eventually(lambda: job.kubectl(*restarts) == "1", timeout_seconds=60, what="it is started again")
    return simulator


def filled_in(told: Documented, *, learner: str, pod: str) -> str:
    names = {
        "JOB-learner-0-...": learner,
        "NAMESPACE": RELEASE_NAMESPACE,
        "JOB": "pong",
        "POD": pod.removeprefix("pod/"),
        "N": "4",
    }
    return re.sub(
        "|".join(rf"\b{re.escape(name)}(?!\w)" for name in names), lambda found: names[found[0]], told.command
    )
