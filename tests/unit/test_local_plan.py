"""Which processes the local runner makes of a job's containers, and where it places them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from stepstream_operator.api import load_job
from stepstream_operator.local.plan import THREADS, Addresses, place, plan_processes, share_of_cores
from stepstream_operator.local.run_directory import RunDirectory
from stepstream_operator.local.sockets import socket_directory
from stepstream_trainer.config.contract import at_rank
from tests.support.local_parts import make_job, make_run
from tests.support.local_run import write_job


class TestPlan:
    def test_processes_are_the_containers_of_the_children(self, tmp_path: Path) -> None:
        run = RunDirectory(tmp_path, "run")
        plan = plan_processes(make_job(tmp_path), 3, place(run, Addresses(sockets="/s")), run)
        [learner] = plan.learners
        assert [spec.name for spec in plan.simulators] == ["cart-simulator-0", "cart-simulator-1"]
        assert learner.command == ("python", "-m", "stepstream_trainer.learner")
        assert learner.environment["STEPSTREAM_ATTEMPT"] == "3"
        dialled = at_rank(plan.simulators[0].environment["STEPSTREAM_LEARNER"], 0)
        assert dialled == learner.environment["STEPSTREAM_LISTEN"] == "unix:/s/learner-0.sock"
        assert list(plan.files) == [str(tmp_path / "config" / "job.json")]

    def test_ports_take_the_place_of_sockets(self, tmp_path: Path) -> None:
        run = RunDirectory(tmp_path, "run")
        addresses = Addresses(sockets="/s", stream_port=7071, http_port=9091)
        plan = plan_processes(make_job(tmp_path), 1, place(run, addresses), run)
        assert plan.learners[0].environment["STEPSTREAM_LISTEN"] == "127.0.0.1:7071"
        assert plan.status_address == "127.0.0.1:9091"

    @pytest.mark.parametrize(
        ("ports", "listens"),
        [
            (
                {"stream_port": 7070, "http_port": 9090},
                [("127.0.0.1:7070", "127.0.0.1:9090"), ("127.0.0.1:7071", "127.0.0.1:9091")],
            ),
            (
                {},
                [
                    ("unix:/s/learner-0.sock", "unix:/s/learner-0-http.sock"),
                    ("unix:/s/learner-1.sock", "unix:/s/learner-1-http.sock"),
                ],
            ),
        ],
        ids=["ports", "sockets"],
    )
    def test_each_learner_listens_where_simulators_dial_its_rank(
        self, ports: dict[str, int], listens: list[tuple[str, str]], tmp_path: Path
    ) -> None:
        run = RunDirectory(tmp_path, "run")
        two = make_job(tmp_path, "spec.learners.replicas=2")
        plan = plan_processes(two, 1, place(run, Addresses(sockets="/s", **ports)), run)
        found = [(one.environment["STEPSTREAM_LISTEN"], one.environment["STEPSTREAM_HTTP"]) for one in plan.learners]
        assert found == listens
        target = plan.simulators[0].environment["STEPSTREAM_LEARNER"].removeprefix("dns:///")
        assert [at_rank(target, rank) for rank in range(2)] == [listen for listen, _ in listens]
        assert plan.status_address == listens[0][1]

    def test_learners_meet_on_the_loopback_interface_at_a_port_of_their_attempt(self, tmp_path: Path) -> None:
        run = RunDirectory(tmp_path, "run")
        two = make_job(tmp_path, "spec.learners.replicas=2")
        plans = [plan_processes(two, 1, place(run, Addresses(sockets="/s")), run) for _ in range(20)]
        met = [{one.environment["STEPSTREAM_RENDEZVOUS"] for one in plan.learners} for plan in plans]
        assert {len(each) for each in met} == {1}
        assert len(set.union(*met)) > 1
        assert {one.environment["GLOO_SOCKET_IFNAME"] for one in plans[0].learners} == {"lo"}

    def test_a_lone_learner_meets_nobody(self, tmp_path: Path) -> None:
        run = RunDirectory(tmp_path, "run")
        [learner] = plan_processes(make_job(tmp_path), 1, place(run, Addresses(sockets="/s")), run).learners
        assert not {"STEPSTREAM_RENDEZVOUS", "GLOO_SOCKET_IFNAME"} & learner.environment.keys()

    def test_learners_write_no_common_files(self, tmp_path: Path) -> None:
        run = RunDirectory(tmp_path, "run")
        two = make_job(tmp_path, "spec.learners.replicas=2")
        plan = plan_processes(two, 1, place(run, Addresses(sockets="/s")), run)
        last_words = [one.environment["STEPSTREAM_FINAL_STATUS"] for one in plan.learners]
        assert last_words == [f"{tmp_path}/final-status.json", f"{tmp_path}/rank-1/final-status.json"]
        assert len({one.log for one in plan.learners}) == 2

    def test_the_longest_socket_path_fits_into_the_kernels_107_bytes(self, tmp_path: Path) -> None:
        run = RunDirectory(tmp_path, "run")
        job = make_job(tmp_path, f"metadata.name={'n' * 40}", "spec.learners.environments=4096")
        job = replace(job, spec=replace(job.spec, simulators=replace(job.spec.simulators, replicas=4096)))
        with socket_directory() as sockets:
            plan = plan_processes(job, 1, place(run, Addresses(sockets=sockets)), run)
        processes = (*plan.simulators, *plan.learners)
        longest = max(len(spec.environment["STEPSTREAM_HTTP"].removeprefix("unix:")) for spec in processes)
        assert longest <= 107


def test_several_learners_on_one_machine_divide_its_cores_unless_somebody_has_said_otherwise() -> None:
    cores = len(os.sched_getaffinity(0))
    assert share_of_cores(2, {}) == {THREADS: str(max(1, cores // 2))}
    assert share_of_cores(10 * cores, {}) == {THREADS: "1"}
    assert share_of_cores(1, {}) == share_of_cores(2, {THREADS: "7"}) == {}


@pytest.mark.parametrize(("own", "threads"), [([], "1"), ([{"name": THREADS, "value": "5"}], "5")])
def test_a_jobs_own_number_of_threads_is_its_learners(
    own: list[dict[str, str]], threads: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(THREADS, raising=False)
    template = {"spec": {"containers": [{"name": "learner", "env": own}]}}
    learners = {"replicas": 64, "environments": 64, "template": template}
    job = load_job(write_job(tmp_path / "cart.yaml", learners=learners, algorithm={"name": "A2C"}), ())
    run = make_run(tmp_path, job)
    plan = plan_processes(job, 1, place(run, Addresses(sockets="/s")), run)
    assert {learner.environment[THREADS] for learner in plan.learners} == {threads}
