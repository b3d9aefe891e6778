"""A simulator that emulates nothing: it speaks the protocol and sends the same rows again and again.

Started like a real one, by the same environment variables; one thread for each lease.
"""

import os
import threading
import time

import numpy as np

from stepstream_trainer.config import contract, load_trainer_config
from stepstream_trainer.rows import START, Rows
from stepstream_trainer.simulator.environments import make_batch
from stepstream_trainer.simulator.streams import Endpoint, Identity, JobOverError, Stream


def main() -> None:
    config = load_trainer_config(os.environ[contract.CONFIG])
    probe = make_batch(config.environment, 1)
    probe.close()
    endpoint = Endpoint(target=os.environ[contract.LEARNER], tls_directory=None)
    identity = Identity(name=os.environ[contract.SIMULATOR], incarnation=time.time_ns())
    while True:
        stream = Stream(endpoint, identity)
        stream.send_hello(config, probe.spaces)
        try:
            num_lanes = len(stream.receive().lease.slots)
        except JobOverError:
            return
        observation = np.random.default_rng(1).integers(0, 256, (num_lanes, *probe.spaces.shape), np.uint8)
        threading.Thread(target=serve, args=(stream, observation), daemon=True).start()


def serve(stream: Stream, observation_n: np.ndarray) -> None:
    """Rows of [n, *shape] observations until the stream ends."""
    num_lanes = len(observation_n)
    flags = np.full(num_lanes, START, np.uint8)
    while True:
        rows = Rows(
            observation=observation_n,
            reward=np.zeros(num_lanes, np.float32),
            flags=flags,
            final_observation=observation_n[:0],
        )
        stream.send_rows(rows)
        stream.receive()
        flags = np.zeros(num_lanes, np.uint8)


if __name__ == "__main__":
    main()
