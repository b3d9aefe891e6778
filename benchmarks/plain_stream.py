"""The least that a Python gRPC server can do with simulators' streams: copy every batch once, and answer it.

No leases, no slots, no loop thread: what bench_data_plane compares a learner's intake with.
"""

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import numpy as np

from stepstream_protos.v1 import stream_pb2 as pb
from stepstream_protos.v1 import stream_pb2_grpc
from stepstream_trainer.channel import SERVER_OPTIONS


class PlainServicer(stream_pb2_grpc.SimulatorStreamServicer):
    """Gives each of the first `groups` streams its share of the slots; the others wait."""

    def __init__(self, num_slots: int, groups: int) -> None:
        self._size, self._groups = num_slots // groups, groups
        self._numbers = itertools.count()
        self._over = threading.Event()
        self._rows = [0] * groups
        self._first = threading.Event()

    @property
    def rows(self) -> int:
        """Observations copied so far. Any thread."""
        return sum(self._rows)

    def wait_first(self, timeout_seconds: float) -> bool:
        return self._first.wait(timeout_seconds)

    def stop(self) -> None:
        self._over.set()

    def Serve(
        self, request_iterator: Iterator[pb.SimulatorMessage], context: grpc.ServicerContext
    ) -> Iterator[pb.LearnerMessage]:
        next(request_iterator)
        group = next(self._numbers)
        if group >= self._groups:
            self._over.wait()
            return
        slots = [pb.SlotLease(slot=group * self._size + lane) for lane in range(self._size)]
        yield pb.LearnerMessage(lease=pb.Lease(group=group, slots=slots))
        actions = pb.Actions(action=bytes(4 * self._size))
        kept: np.ndarray | None = None
        for sequence, message in enumerate(request_iterator, start=1):
            brought = np.frombuffer(message.rows.observation, np.uint8)
            kept = np.empty_like(brought) if kept is None else kept
            np.copyto(kept, brought)
            self._rows[group] += self._size
            self._first.set()
            yield pb.LearnerMessage(sequence=sequence, actions=actions)


@contextmanager
def plain_server(address: str, *, num_slots: int, groups: int) -> Iterator[PlainServicer]:
    servicer = PlainServicer(num_slots, groups)
    server = grpc.server(ThreadPoolExecutor(groups + 2), options=SERVER_OPTIONS)
    stream_pb2_grpc.add_SimulatorStreamServicer_to_server(servicer, server)
    server.add_insecure_port(address)
    server.start()
    try:
        yield servicer
    finally:
        servicer.stop()
        server.stop(0).wait()
