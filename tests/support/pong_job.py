"""A job that trains for as long as a test watches it, on a volume that outlives its pods."""

from __future__ import annotations

from typing import Any

SIMULATORS = 2
SLOTS = 16
CHECKPOINT_SECONDS = 15
RESOURCES = {"requests": {"cpu": "100m", "memory": "256Mi"}}


def pong(name: str = "pong") -> dict[str, Any]:
    return {
        "apiVersion": "stepstream.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {
            "environment": {"id": "ALE/Pong-v5"},
            "algorithm": {"name": "PPO", "parameters": {"horizon": 32, "minibatchSize": 128, "epochs": 1}},
            "mode": "Sync",
            "totalSteps": 100_000_000,
            "learners": {"environments": SLOTS, "resources": RESOURCES},
            "simulators": {"replicas": SIMULATORS, "resources": RESOURCES},
            "checkpoint": {"intervalSeconds": CHECKPOINT_SECONDS, "volume": {"claimTemplate": {"size": "1Gi"}}},
        },
    }
