"""Jobs that together fill every panel of the dashboards; and what a stranger says to their learners."""

from __future__ import annotations

from typing import Any

from stepstream_trainer.config import contract

Object = dict[str, Any]

RESOURCES = {"requests": {"cpu": "50m", "memory": "256Mi"}}
FOR_EVER = 1_000_000_000
PPO: Object = {"name": "PPO", "parameters": {"horizon": 32, "minibatchSize": 128, "epochs": 4, "learningRate": 1e-3}}
SLOTS = 8

REFUSED_STREAMS = """
import sys, time, grpc
from stepstream_protos.v1 import stream_pb2 as pb, stream_pb2_grpc
address, times = sys.argv[1], int(sys.argv[2])
read = lambda name: open("/etc/stepstream/tls/" + name, "rb").read()
credentials = grpc.ssl_channel_credentials(read("ca.crt"), read("tls.key"), read("tls.crt"))
channel = grpc.secure_channel(address, credentials, [("grpc.ssl_target_name_override", "learner")])
hello = pb.SimulatorMessage(simulator="stranger", incarnation=1, hello=pb.Hello(protocol_version=1, job="another"))
for _ in range(times):
    try:
        list(stream_pb2_grpc.SimulatorStreamStub(channel).Serve(iter([hello]), timeout=10))
    except grpc.RpcError as error:
        print(error.code().name, flush=True)
    time.sleep(0.5)
"""
"""In a simulator's pod, which has the certificate: streams of a simulator of another job."""


def cartpole(name: str, *, environment: Object | None = None, **spec: Any) -> Object:
    """CartPole by PPO in mode Sync, by one simulator, until it is deleted, with these fields of its spec changed."""
    own: Object = {
        "environment": {"id": "CartPole-v1", "deterministic": True} | (environment or {}),
        "algorithm": PPO,
        "mode": "Sync",
        "totalSteps": FOR_EVER,
        "learners": {"environments": SLOTS, "resources": RESOURCES},
        "simulators": {"replicas": 1, "resources": RESOURCES},
        "checkpoint": {"intervalSeconds": 10},
    }
    return {
        "apiVersion": "stepstream.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": own | spec,
    }


def learner_address(name: str, namespace: str) -> str:
    """Of rank 0, to other pods."""
    return f"{name}-learner-0.{name}-learner.{namespace}.svc:{contract.STREAM_PORT}"


BY_AUTO = cartpole(
    "by-auto",
    mode="Auto",
    simulators={"replicas": 2, "resources": RESOURCES},
    evaluation={"intervalSteps": 20_000, "episodes": 2},
)
"""Measures both modes, and plays evaluations."""

BY_REPLAY = cartpole(
    "by-replay",
    algorithm={
        "name": "DQN",
        "parameters": {
            "prioritized": True,
            "batchSize": 32,
            "trainingIntensity": 2,
            "learningStartsSteps": 1000,
            "replayCapacitySteps": 10_000,
            "targetUpdateSteps": 500,
            "epsilonDecaySteps": 50_000,
        },
    },
)
"""Q-learning from prioritised replay."""

BY_STORE = cartpole(
    "by-store",
    algorithm=PPO | {"name": "APPO"},
    mode="Async",
    learners={"replicas": 2, "environments": SLOTS, "resources": RESOURCES},
    simulators={"replicas": 2, "resources": RESOURCES},
)
"""Two learners that share a parameter store."""
