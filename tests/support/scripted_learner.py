"""A learner's end that says to simulators what a test wants it to say, and hears all that they send."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import numpy as np

from stepstream_protos.v1 import stream_pb2 as pb
from stepstream_protos.v1 import stream_pb2_grpc
from stepstream_trainer.channel import SERVER_OPTIONS
from stepstream_trainer.learner.messages import HEARTBEAT, JOB_OVER
from tests.support.data_plane import PATIENCE_SECONDS

__all__ = ["HEARTBEAT", "JOB_OVER", "Inbox", "Script", "actions", "lease", "redirect", "scripted_learner"]


class Inbox:
    """What one stream has brought so far. Read as it comes, so that nothing holds its sender back."""

    def __init__(self) -> None:
        self.messages: list[pb.SimulatorMessage] = []
        self.over = threading.Event()
        """Whichever side ended the stream."""
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self.messages)

    def wait_for(self, count: int) -> None:
        """Until so many messages have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.messages) >= count, PATIENCE_SECONDS)

    def read(self, requests: Iterator[pb.SimulatorMessage]) -> None:
        try:
            for message in requests:
                with self._changed:
                    self.messages.append(message)
                    self._changed.notify_all()
        except grpc.RpcError:  # what a stream that is over raises
            pass


Script = Callable[[Inbox], Iterator[pb.LearnerMessage]]
"""What is said on a stream."""


class _Servicer(stream_pb2_grpc.SimulatorStreamServicer):
    def __init__(self, scripts: Sequence[Script]) -> None:
        self._scripts = scripts
        self.inboxes: list[Inbox] = []

    def Serve(
        self, request_iterator: Iterator[pb.SimulatorMessage], context: grpc.ServicerContext
    ) -> Iterator[pb.LearnerMessage]:
        inbox = Inbox()
        if not context.add_callback(inbox.over.set):
            return  # it is over already
        threading.Thread(target=inbox.read, args=(request_iterator,), daemon=True).start()
        script = self._scripts[min(len(self.inboxes), len(self._scripts) - 1)]
        self.inboxes.append(inbox)
        yield from script(inbox)


@contextmanager
def scripted_learner(address: str, *scripts: Script) -> Iterator[list[Inbox]]:
    """The next script for each stream that is opened, and the last for all after it. Gives the streams' inboxes."""
    server, servicer = grpc.server(ThreadPoolExecutor(8), options=SERVER_OPTIONS), _Servicer(scripts)
    stream_pb2_grpc.add_SimulatorStreamServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    server.add_insecure_port(address)
    server.start()
    try:
        yield servicer.inboxes
    finally:
        server.stop(None).wait()


def lease(slots: int) -> pb.LearnerMessage:
    """Of slots that have played nothing yet."""
    starts = [pb.SlotLease(slot=slot, global_slot=slot) for slot in range(slots)]
    return pb.LearnerMessage(lease=pb.Lease(group=0, slots=starts))


def redirect(rank: int, *, guest: bool = False) -> pb.LearnerMessage:
    return pb.LearnerMessage(redirect=pb.Redirect(rank=rank, guest=guest))


def actions(slots: int, sequence: int) -> pb.LearnerMessage:
    """Action 0 for each."""
    return pb.LearnerMessage(sequence=sequence, actions=pb.Actions(action=np.zeros(slots, np.int32).tobytes()))
