"""Who has no certificate of the job is kept out by TLS: that is counted, it costs no training, and it fills no log."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from stepstream_operator.controller.certificates import LIFETIME, certificate_data
from tests.support.certificates import mount, new_certificates
from tests.support.job_processes import JobProcesses, config_of, job_processes

CARTPOLE = {
    "job": "cartpole",
    "mode": "Sync",
    "totalSteps": 10_000_000,
    "environment": {"id": "CartPole-v1"},
    "algorithm": {"name": "A2C"},
    "learner": {"environments": 8},
}
REFUSED = 'stepstream_learner_streams_refused_total{reason="TLS_HANDSHAKE"}'


def test_refused_handshakes_are_counted_and_training_goes_on(tmp_path: Path) -> None:
    data = new_certificates()
    ours = mount(data, tmp_path / "ours")["simulator"]
    theirs = mount(new_certificates("theirs"), tmp_path / "theirs")["simulator"]
    long_ago = datetime.now(UTC) - LIFETIME - timedelta(days=1)
    expired = mount(certificate_data("ours", long_ago, data), tmp_path / "expired")["simulator"]
    with job_processes(config_of(CARTPOLE), tmp_path / "run", mount(data, tmp_path / "job")) as job:
        job.start_learner()
        job.start_simulators("a")
        job.reach(200)
        assert answer(job.port, shown=ours) != b""
        assert answer(job.port, shown=None) == b""
        assert answer(job.port, shown=theirs) == b""
        assert answer(job.port, shown=expired) == b""
        assert answer_to_plain_text(job.port) == b""
        job.wait_until(lambda: refused(job) >= 4, "four refusals are counted")
        job.reach(job.status()["steps"] + 200)
        assert refused(job) == 4
        assert "andshake" not in job.log()


def refused(job: JobProcesses) -> float:
    return job.metrics().get(REFUSED, 0.0)


def answer(port: int, *, shown: Path | None) -> bytes:
    """How a learner answers who shows this certificate; nothing where it hangs up."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if shown is not None:
        context.load_cert_chain(shown / "tls.crt", shown / "tls.key")
    with context.wrap_socket(dialled(port)) as connection:
        try:
            return connection.recv(1)
        except (ConnectionError, ssl.SSLError):
            return b""


def answer_to_plain_text(port: int) -> bytes:
    with dialled(port) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        try:
            return connection.recv(1)
        except ConnectionError:
            return b""


def dialled(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)
