"""Where simulators' streams arrive. Their threads copy rows into slots and actions out of them, and do nothing else.

    simulator            thread of the stream                         leasing.py, slots.py
    Hello         -->    check it, offer                       -->    free slots? a lease
                  <--    or Redirect, and the stream ends      <--    it belongs to another learner (homing.py)
                  <--    Lease                                 <--
    Rows          -->    copy into the slots                   -->    READY; the loop takes its turn
                  <--    Actions                               <--    actions posted: AWAITED
    Rows          -->    ...

A stream has one thread and at most one message under way, so a simulator waits for a slow learner instead of piling up
messages, and the learner holds one batch a stream at most.
"""

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol, TypeVar

import grpc

from stepstream_protos.v1 import stream_pb2 as pb
from stepstream_trainer.channel import HEARTBEAT_SECONDS, SERVER_OPTIONS
from stepstream_trainer.config import TrainerConfig
from stepstream_trainer.learner.homes import Need, expected_at
from stepstream_trainer.learner.homing import Homing
from stepstream_trainer.learner.leases import LeaseTable, StaleIncarnationError
from stepstream_trainer.learner.leasing import (
    LeaseMetrics,
    Leasing,
    SentElsewhereError,
    Service,
    Stream,
    StreamOverError,
)
from stepstream_trainer.learner.listening import listen
from stepstream_trainer.learner.messages import (
    HEARTBEAT,
    JOB_OVER,
    RefusedError,
    Sender,
    actions_message,
    lease_message,
    max_lease_slots,
    read_hello,
    read_message,
    read_rows,
    redirect_message,
)
from stepstream_trainer.learner.slots import Slots
from stepstream_trainer.logs import get_log

_log = get_log("ingest")

MAX_STREAMS: Final = 1024
"""Streams at once, a thread each; one more is refused. 250 simulators have 750, spare offers included."""

LOOK_SECONDS: Final = 0.25
"""How often leases are looked at for what time alone brings about."""

SERVICE: Final = pb.DESCRIPTOR.services_by_name["SimulatorStream"].full_name

STOP_SECONDS: Final = 5.0
"""What streams get to end, once asked to: a simulator in the midst of a step is told when it is done."""

_T = TypeVar("_T")
Replies = Generator[pb.LearnerMessage, None, _T]
"""Messages to send, and then a value."""


class IngestMetrics(LeaseMetrics, Protocol):
    """What ingest reports; any thread."""

    def stream_refused(self, reason: str) -> None: ...


class StreamServer:
    """Takes simulators' streams at `address` ("host:port" or "unix:/path"). Methods are the loop's thread's."""

    def __init__(
        self,
        config: TrainerConfig,
        address: str,
        *,
        groups: int,
        tls_directory: Path | None,
        rank: int,
        metrics: IngestMetrics,
    ) -> None:
        """Raises CannotListenError when the address is taken, OSError when a certificate cannot be read."""
        self._config = config
        self._num_groups = groups
        self._rank = rank
        self._metrics = metrics
        self._homing: Homing | None = None
        self._known = threading.Condition()
        self._slots: Slots | None = None
        self._leasing: Leasing | None = None
        self._serving = False
        self._stopping = threading.Event()
        self._job_over = False
        self._server = grpc.server(
            ThreadPoolExecutor(MAX_STREAMS, "stream"), options=SERVER_OPTIONS, maximum_concurrent_rpcs=MAX_STREAMS
        )
        # As the generated code does it, but for bytes that are no message: gRPC would end their stream unseen by us.
        serve = grpc.stream_stream_rpc_method_handler(self.Serve, read_message, pb.LearnerMessage.SerializeToString)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Serve": serve}),))
        listen(self._server, address, tls_directory)

    def start(self, homing: Homing | None = None) -> None:
        """Accept streams. `homing` is for one learner of several."""
        self._homing = homing
        self._server.start()
        threading.Thread(target=self._look, name="leases", daemon=True).start()

    def ready(self) -> str | None:
        """Nothing while streams are accepted, else why not. Any thread."""
        return "the learner is stopping" if self._stopping.is_set() else None

    def service(self) -> Service:
        """Any thread."""
        return self._leasing.service() if self._leasing else Service()

    def slots(self, timeout_seconds: float) -> Slots | None:
        """The slots, made once the first simulator has said what its environments are like; None before."""
        with self._known:
            self._known.wait_for(lambda: self._slots is not None, timeout_seconds)
            return self._slots

    def serve_leases(self) -> None:
        """Grant leases from now on: the slots stand where the job begins or goes on."""
        with self._known:
            self._serving = True
            if self._leasing is not None:
                self._leasing.begin()

    def expect(self, simulators: int) -> None:
        """The job's number of simulators was changed."""
        if self._leasing is not None:
            self._leasing.expect(self._expected(simulators))

    def stop(self, *, job_over: bool) -> None:
        """End every stream. Simulators leave if the job is over; else they look for the learner's next life."""
        self._job_over = job_over
        self._stopping.set()
        if self._leasing is not None:
            self._leasing.stop()
        self._server.stop(STOP_SECONDS).wait()

    def Serve(
        self, request_iterator: Iterator[pb.SimulatorMessage], context: grpc.ServicerContext
    ) -> Iterator[pb.LearnerMessage]:
        """gRPC's entry: one stream from Hello to its end. The stream's thread, as all below."""
        try:
            yield from self._serve(request_iterator, context)
        except StreamOverError:
            if self._job_over:
                yield JOB_OVER
        except SentElsewhereError as elsewhere:
            yield redirect_message(elsewhere.place)
        except RefusedError as error:
            self._metrics.stream_refused(error.code.name)
            _log.warning("stream_refused", code=error.code.name, reason=str(error), peer=context.peer())
            context.abort(error.code, str(error))

    def _serve(self, requests: Iterator[pb.SimulatorMessage], context: grpc.ServicerContext) -> Replies[None]:
        first = next(requests, None)
        if first is None:
            return
        sender = read_hello(first, self._config)
        leasing = self._agree(sender)
        stream = self._offer(leasing, sender, context)
        try:
            yield HEARTBEAT  # accepted; a lease may be long in coming
            if context.add_callback(lambda: leasing.end(stream)):  # called as soon as the simulator is lost
                yield from self._serve_lease(leasing, stream, sender, requests)
        finally:
            leasing.end(stream)

    def _serve_lease(
        self, leasing: Leasing, stream: Stream, sender: Sender, requests: Iterator[pb.SimulatorMessage]
    ) -> Replies[None]:
        """A lease, when there is one; then rows in, actions out."""
        lanes = yield from _patiently(lambda seconds: leasing.wait_lease(stream, seconds))
        yield lease_message(lanes.group, stream.starts)
        for sequence, message in enumerate(requests, start=1):
            leasing.write_rows(stream, read_rows(message, sender, sequence=sequence, num_lanes=len(lanes.slot_n)))
            turn = yield from _patiently(lambda seconds: leasing.wait_turn(stream, seconds))
            yield actions_message(turn, sequence)

    def _agree(self, sender: Sender) -> Leasing:
        """The first simulator's environments decide what the job's are like; all others' must be the same."""
        with self._known:
            if self._slots is None or self._leasing is None:
                self._slots, self._leasing = self._make_slots(sender)
                if self._serving:
                    self._leasing.begin()
                self._known.notify_all()
        agreed = self._slots.spaces
        if sender.spaces != agreed:
            raise RefusedError(
                grpc.StatusCode.FAILED_PRECONDITION, f"the job began with {agreed}, this simulator has {sender.spaces}"
            )
        return self._leasing

    def _make_slots(self, sender: Sender) -> tuple[Slots, Leasing]:
        learner, environment = self._config.learner, self._config.environment
        slots = Slots(
            sender.spaces,
            num_slots=learner.environments,
            groups=self._num_groups,
            deterministic=environment.is_deterministic,
            rank=self._rank,
        )
        table = LeaseTable(
            [range(group.start, group.stop) for group in slots.group_slices],
            expected=self._expected(self._config.simulators.replicas),
            max_lease_slots=max_lease_slots(sender.spaces),
        )
        return slots, Leasing(slots, table, self._metrics, homing=self._homing)

    def _expected(self, simulators: int) -> int:
        """Of so many in the job, those at home here."""
        return expected_at(self._rank, simulators=simulators, learners=self._config.learner.replicas)

    def _offer(self, leasing: Leasing, sender: Sender, context: grpc.ServicerContext) -> Stream:
        try:
            return leasing.offer(sender.simulator, sender.incarnation, context.cancel, guest=sender.guest)
        except StaleIncarnationError as error:
            raise RefusedError(grpc.StatusCode.ABORTED, str(error)) from error

    def _look(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            if self._leasing is not None:
                self._leasing.look()
            elif self._homing is not None:  # nobody has come yet
                self._homing.moves(Need(free_slots=self._config.learner.environments), {})


def _patiently(attempt: Callable[[float], _T | None]) -> Replies[_T]:
    """Try until there is something, with a heartbeat after each attempt of HEARTBEAT_SECONDS that gave nothing."""
    while (result := attempt(HEARTBEAT_SECONDS)) is None:
        yield HEARTBEAT
    return result
