"""A simulator's life: one spare stream always offers itself, and each lease is served by a thread of its own.

main thread       watches for learners that fell silent; ends the process when the job is over
offering thread   connects to rank 0, says Hello, waits for a lease; hands the stream to a new thread, and offers the
                  next. Redirected, it offers one to that learner, and the one after it to rank 0 again.
                  Without a learner it tries again for ever
lease threads     rows out, actions in, one step after the other; their environments step in threads of their own
"""

import random
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import grpc
import numpy as np

from stepstream_protos.v1 import stream_pb2 as pb
from stepstream_trainer.config import TrainerConfig
from stepstream_trainer.logs import get_log
from stepstream_trainer.rows import Rows, Spaces
from stepstream_trainer.simulator.backoff import Backoff
from stepstream_trainer.simulator.environments import make_batch
from stepstream_trainer.simulator.episodes import LeasedEpisodes, SlotStart
from stepstream_trainer.simulator.metrics import SimulatorMetrics
from stepstream_trainer.simulator.standing import Standing
from stepstream_trainer.simulator.streams import (
    FIRST,
    Endpoint,
    Identity,
    JobOverError,
    RedirectedError,
    Stream,
    StreamEndedError,
)

_log = get_log("simulator")

WATCH_SECONDS: Final = 1.0

FINAL_REFUSALS: Final = {grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT}
"""What the learner will say again, however often it is asked."""


class RefusedByLearnerError(Exception):
    """The learner will never serve this simulator; its sentence."""


class Simulator:
    """Serves one job until it is over."""

    def __init__(
        self,
        config: TrainerConfig,
        name: str,
        endpoint: Endpoint,
        spaces: Spaces,
        metrics: SimulatorMetrics,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.standing: Standing[Stream] = Standing(name, metrics)
        self._config = config
        self._identity = Identity(name=name, incarnation=time.time_ns())
        self._endpoint = endpoint
        self._spaces = spaces
        self._metrics = metrics
        self._sleep = sleep
        self._backoff = Backoff(random.Random())  # of its own: a global generator belongs to whoever seeds it
        self._ended = threading.Event()
        self._failure: Exception | None = None

    def run(self) -> None:
        """Returns when the job is over. Raises RefusedByLearnerError, and whatever an environment raised."""
        self._start(self._offer_for_ever, "offering")
        while not self._ended.wait(WATCH_SECONDS):
            for stream in self.standing.silent():
                _log.warning("learner_silent")
                stream.cancel()
        if self._failure is not None:
            raise self._failure

    def _start(self, work: Callable[[], None], name: str) -> None:
        threading.Thread(target=self._guard, args=(work,), name=name, daemon=True).start()

    def _guard(self, work: Callable[[], None]) -> None:
        """A thread's frame: the job's end and whatever was not foreseen end the simulator."""
        try:
            work()
        except JobOverError:
            self._ended.set()
        except Exception as error:  # noqa: BLE001 - a process ends here
            self._failure = error
            self._ended.set()

    def _offer_for_ever(self) -> None:
        whereto = FIRST
        while True:
            stream, whereto = Stream(self._endpoint, self._identity, whereto=whereto), FIRST
            try:
                lease = self._offer(stream)
                self._backoff.begin_anew()
                self._start(partial(self._serve, stream, lease), f"group-{lease.group}")
            except RedirectedError as redirected:
                self._leave(stream)
                whereto = redirected.whereto
            except (StreamEndedError, grpc.RpcError) as error:
                self._leave(stream)
                _raise_if_final(error)
                if stream.was_accepted:
                    self._backoff.begin_anew()
                retry_seconds = self._backoff.next_seconds()
                _log.info("learner_unreachable", reason=_reason(error), retry_seconds=retry_seconds)
                self._metrics.reconnected()
                self._sleep(retry_seconds)

    def _offer(self, stream: Stream) -> pb.Lease:
        """Raises JobOverError, RedirectedError, StreamEndedError, grpc.RpcError."""
        self.standing.offered(stream)
        stream.send_hello(self._config, self._spaces)
        return stream.receive().lease

    def _serve(self, stream: Stream, lease: pb.Lease) -> None:
        """One lease to its end."""
        starts = [_start_of(slot) for slot in lease.slots]
        self.standing.stepping(stream, replayed=max(len(start.actions) for start in starts))
        episodes = LeasedEpisodes(make_batch(self._config.environment, len(starts)), self._config.seed, starts)
        try:
            self._exchange(stream, episodes)
        except (StreamEndedError, grpc.RpcError) as error:
            _log.info("lease_ended", group=lease.group, slots=len(lease.slots), reason=_reason(error))
        finally:
            self._leave(stream)
            episodes.close()

    def _exchange(self, stream: Stream, episodes: LeasedEpisodes) -> None:
        """Rows out, actions in, until an exception says why no more."""
        began = time.perf_counter()
        rows = episodes.rebuild()
        emulated = time.perf_counter()
        self._metrics.replayed(emulated - began)
        while True:
            self.standing.stepped(stream)
            stream.send_rows(rows)
            sent = time.perf_counter()
            actions = stream.receive().actions
            received = time.perf_counter()
            self.standing.exchanged(stream, rows.num_live)
            self.standing.stepping(stream)
            rows = _step(episodes, actions)
            sending, emulated = sent - emulated, time.perf_counter()
            self._metrics.stepped(
                steps=rows.num_steps,
                episodes=rows.num_ended,
                emulate=emulated - received,
                wait=received - sent,
                send=sending,
            )

    def _leave(self, stream: Stream) -> None:
        self.standing.left(stream)
        stream.close()


def _step(episodes: LeasedEpisodes, actions: pb.Actions) -> Rows:
    episodes.release(actions.release)
    for adoption in actions.adopt:
        episodes.adopt(adoption.slot, adoption.episode)
    return episodes.step(np.frombuffer(actions.action, np.int32))


def _start_of(slot: pb.SlotLease) -> SlotStart:
    return SlotStart(
        slot=slot.slot,
        global_slot=slot.global_slot,
        episode=slot.episode,
        actions=np.frombuffer(slot.actions, np.int32),
        later=slot.later,
        held=(slot.held.actions, slot.held.checksum) if slot.HasField("held") else None,
    )


def _raise_if_final(error: StreamEndedError | grpc.RpcError) -> None:
    if isinstance(error, grpc.Call) and error.code() in FINAL_REFUSALS:
        raise RefusedByLearnerError(f"the learner refused this simulator: {error.details()}") from error


def _reason(error: StreamEndedError | grpc.RpcError) -> str:
    if isinstance(error, grpc.Call):
        return f"{error.code().name}: {error.details()}"
    return "the learner ended the stream"
