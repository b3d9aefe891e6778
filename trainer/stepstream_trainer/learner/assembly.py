"""Building a learner: sockets first, then the network that the simulators' environment calls for, then the loop."""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from stepstream_trainer.algorithms.precision import Precision, choose_precision, keep_freed_memory
from stepstream_trainer.algorithms.threads import learning_threads
from stepstream_trainer.config import Mode, TrainerConfig, contract
from stepstream_trainer.cores import usable_cores
from stepstream_trainer.http import Endpoints, HttpServer
from stepstream_trainer.learner.checkpoint import CheckpointError, CheckpointStore, Manifest, State
from stepstream_trainer.learner.company import Apartness, Company, Hosting, InSync, Single, StoreMetrics, Visiting
from stepstream_trainer.learner.episodes import EpisodeTracker
from stepstream_trainer.learner.evaluations import Evaluations
from stepstream_trainer.learner.event_log import EventLog
from stepstream_trainer.learner.families import Ground, build_learning, refuse_replay
from stepstream_trainer.learner.gathering import Gatherer, Interrupted
from stepstream_trainer.learner.groups import number_of_groups
from stepstream_trainer.learner.homing import Homing
from stepstream_trainer.learner.identity import OtherJobError, identity_digest
from stepstream_trainer.learner.ingest import StreamServer
from stepstream_trainer.learner.loop import LearnerLoop, Outcome, Parts, state_of_rank
from stepstream_trainer.learner.metrics import LearnerMetrics
from stepstream_trainer.learner.modes import Chosen, Fixed, Modes
from stepstream_trainer.learner.observing import observing
from stepstream_trainer.learner.reporting import Reporter
from stepstream_trainer.learner.slots import Slots
from stepstream_trainer.learner.status import Identity, LearnerStatus, Phase
from stepstream_trainer.learner.targets import Targets
from stepstream_trainer.learner.trace import Trace, TraceFile
from stepstream_trainer.logs import get_log
from stepstream_trainer.metrics import new_registry

_log = get_log("learner")

DEFAULT_WINDOW = 100
"""Episodes that a mean return is taken over where `stopWhen` does not say: the usual window of the field."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Where this process runs, as the environment variables of `config.contract` say."""

    config_path: Path
    run_directory: Path
    rank: int
    attempt: int
    world_size: int
    rendezvous: str
    """Where several learners meet; "" for one."""
    listen: str
    http: str
    tls_directory: Path | None
    final_status: Path | None


class Learner:
    """All parts of one learner process. `closing` ends what was begun, in reverse order."""

    def __init__(self, settings: Settings, config: TrainerConfig, stop: threading.Event, closing: ExitStack) -> None:
        """Begins to listen. Raises what the input deserves: see `__main__`."""
        refuse_replay(config)
        self._settings = settings
        self._config = config
        self._stop = stop
        self._closing = closing
        self._checkpoints = CheckpointStore(settings.run_directory / "checkpoints", config.checkpoint.retain)
        self._resumed = find_checkpoint(self._checkpoints, config) if settings.rank == 0 else None
        self._start: State | None = None
        """What this learner goes on from."""
        registry = new_registry()
        self._trace = Trace()
        self.metrics = LearnerMetrics(
            registry,
            frame_skip=config.environment.frame_skip,
            learners=config.learner.replicas,
            trace=self._trace,
        )
        self._company: Company = company_of(settings, config, self.metrics)
        self._status = _status(settings, config)
        self._server = StreamServer(
            config,
            settings.listen,
            groups=number_of_groups(config.learner),
            tls_directory=settings.tls_directory,
            rank=settings.rank,
            metrics=self.metrics,
        )
        http = HttpServer(
            settings.http,
            Endpoints(
                registry=registry,
                status=self._status.snapshot,
                healthy=self._status.healthy,
                ready=self._ready,
            ),
        )
        http.start()
        closing.callback(http.stop)
        self._serves = False
        """Whether streams are accepted."""
        self._company.listen()
        closing.callback(self._company.close)
        if settings.world_size == 1:
            self._serve()

    def run(self) -> Outcome:
        """Train until the job is done or the process is asked to stop; then let the simulators go."""
        outcome = Outcome.INTERRUPTED
        try:
            self._meet()
            loop, reporter = self._build(self._await_simulators())
            self._server.serve_leases()
            self._status.enter(Phase.RUNNING)
            outcome = loop.run()
            reporter.finish()
            _log.info("finished" if outcome is Outcome.FINISHED else "interrupted", parameters=loop.digest())
        except Interrupted:
            outcome = Outcome.FINISHED if self._company.over else Outcome.INTERRUPTED
            _log.info("interrupted")
        finally:
            self._server.stop(job_over=outcome is Outcome.FINISHED)
        self._status.enter(Phase.SUCCEEDED if outcome is Outcome.FINISHED else Phase.STOPPING)
        if outcome is Outcome.FINISHED and self._settings.final_status is not None:
            self._settings.final_status.write_text(json.dumps(self._status.snapshot()))
        return outcome

    def close(self) -> None:
        """Instead of `run`: let go of what the constructor took."""
        self._server.stop(job_over=False)

    def _serve(self, homing: Homing | None = None) -> None:
        self._server.start(homing)
        self._serves = True

    def _ready(self) -> str | None:
        """Any thread."""
        return self._server.ready() if self._serves else "waiting for the other learners"

    def _meet(self) -> None:
        """Find the other learners, if there are any, and learn from rank 0 where to go on. May raise Interrupted."""
        size = self._settings.world_size
        states = None if self._resumed is None else [state_of_rank(self._resumed[1], each) for each in range(size)]
        if size > 1:
            self._status.enter(Phase.STARTING, "waiting for the other learners")
        homing = self._company.meet(self._go_on)
        self._start = self._company.ranks(self._status.alive).begin(states)
        if size > 1:
            self._serve(homing)

    def _go_on(self) -> None:
        """Raises Interrupted when this learner is to stop."""
        if self._stopping():
            raise Interrupted
        self._status.alive()

    def _stopping(self) -> bool:
        """Whether this learner was asked to stop, or the others stop it. Raises RankLostError."""
        return self._company.stopping() or self._stop.is_set()

    def _await_simulators(self) -> Slots:
        """The slots, once the first simulator said what its environment is like. May raise Interrupted."""
        self._status.enter(Phase.STARTING, "waiting for the first simulator")
        while (slots := self._server.slots(timeout_seconds=0.2)) is None:
            self._go_on()
        return slots

    def _build(self, slots: Slots) -> tuple[LearnerLoop, Reporter]:
        config, settings = self._config, self._settings
        precision = choose_precision(config.learner.precision)
        keep_freed_memory()
        seen = observing(config.environment, slots.spaces.shape, slots.spaces.dtype, slots.spaces.num_categories)
        torch.set_num_threads(learning_threads(seen.network_input, usable_cores()))
        window = config.stop_when.episodes if config.stop_when else DEFAULT_WINDOW
        episodes = EpisodeTracker(config.learner.environments, window, tells=settings.rank > 0)
        reporter = self._reporter(episodes)
        gatherer = Gatherer(config, slots=slots, stack=seen.stack, metrics=self.metrics, episodes=episodes)
        learning = build_learning(
            Ground(
                config=config,
                gatherer=gatherer,
                seen=seen,
                precision=precision,
                metrics=self.metrics,
                checkpoints=self._checkpoints.directory,
                rank=settings.rank,
                together=self._company.together(precision.device),
                store=self._company.store,
                closing=self._closing,
            )
        )
        evaluations = Evaluations(settings.run_directory, settings.config_path, config.evaluation, reporter.evaluated)
        self._closing.callback(evaluations.close)
        parts = Parts(
            experience=learning.experience,
            network=learning.network,
            episodes=episodes,
            targets=Targets(settings.config_path, config, changed=self._changed),
            metrics=self.metrics,
            reporter=reporter,
            checkpoints=self._checkpoints,
            evaluations=evaluations,
            modes=self._modes(reporter),
            ranks=self._company.ranks(reporter.tick),
        )
        loop = LearnerLoop(
            parts,
            num_slots=slots.num_slots,
            learners=config.learner.replicas,
            attempt=settings.attempt,
            identity=identity_digest(config),
            checkpoint_interval_seconds=config.checkpoint.interval_seconds,
        )
        if settings.rank == 0:
            self._checkpoints.go_on_from(None if self._resumed is None else self._resumed[0].step)
        if self._start is not None:
            loop.resume(self._start)
        start = self._start or {"steps": 0, "updates": 0}
        self._company.stand(steps=start["steps"], updates=start["updates"])
        if self._resumed is not None:
            reporter.resumed(self._resumed[0], self._checkpoints.manifest_path(self._resumed[0].step))
        reporter.tell()
        self.metrics.watch_rows(slots.rows_ready)
        self._describe(precision)
        return loop, reporter

    def _modes(self, reporter: Reporter) -> Modes:
        config = self._config
        if config.mode is not Mode.Auto:
            return Fixed(config.mode)
        if self._settings.rank > 0:
            return Fixed(Mode.Sync)  # rank 0 says what it is
        return Chosen(max_policy_lag=config.learner.max_policy_lag, told=reporter.decided, clock=time.monotonic)

    def _changed(self, config: TrainerConfig) -> None:
        """The job was edited."""
        self._server.expect(config.simulators.replicas)
        self._status.budget(config.total_steps)

    def _reporter(self, episodes: EpisodeTracker) -> Reporter:
        resumed_at = self._start["steps"] if self._start else 0
        directory = contract.rank_directory(self._settings.run_directory, self._settings.rank)
        history = EventLog(directory, attempt=self._settings.attempt, resumed_at=resumed_at)
        self._closing.callback(history.close)
        return Reporter(
            metrics=self.metrics,
            status=self._status,
            history=history,
            episodes=episodes,
            num_slots=self._config.learner.environments,
            service=self._server.service,
            trace=TraceFile(self._trace, self._settings.run_directory, rank=self._settings.rank),
            stop=self._stopping,
        )

    def _describe(self, precision: Precision) -> None:
        config = self._config
        self.metrics.describe(
            job=config.job,
            algorithm=config.algorithm.name.value,
            mode=config.mode.value,
            device=str(precision.device),
            precision=str(precision.dtype).removeprefix("torch."),
        )


def company_of(settings: Settings, config: TrainerConfig, metrics: StoreMetrics) -> Company:
    """By the job's mode and this learner's rank."""
    learners = settings.world_size
    if learners == 1:
        return Single()
    if config.mode is not Mode.Async:
        return InSync(rank=settings.rank, size=learners, rendezvous=settings.rendezvous)
    agreed = Apartness(
        job=config.job,
        attempt=settings.attempt,
        learners=learners,
        rendezvous=settings.rendezvous,
        tls_directory=settings.tls_directory,
        max_policy_lag=config.learner.max_policy_lag,
    )
    return Hosting(agreed, metrics) if settings.rank == 0 else Visiting(agreed, metrics, rank=settings.rank)


def find_checkpoint(store: CheckpointStore, config: TrainerConfig) -> tuple[Manifest, State] | None:
    """The checkpoint to go on from. Raises CheckpointError, or OtherJobError when it is another job's."""
    if not config.checkpoint.resume:
        return None
    found = _newest(store)
    if found is not None and found[0].job_digest != identity_digest(config):
        raise OtherJobError(
            f"{store.directory}: its checkpoints are of another job (environment, algorithm, seed or number of "
            "environments differ); use another run directory, or start afresh with --fresh"
        )
    return found


def _newest(store: CheckpointStore) -> tuple[Manifest, State] | None:
    """Where no checkpoint is whole with its replay, the newest without one: the replay can be refilled."""

    def warn(text: str) -> None:
        _log.warning("checkpoint_damaged", reason=text)

    try:
        return store.load_latest(warn=warn)
    except CheckpointError:
        found = store.load_latest(warn=warn, with_beside=False)
        if found is None or not found[0].beside:
            raise
    manifest, state = found
    _log.warning("replay_given_up", step=manifest.step, reason="no checkpoint is whole with its replay")
    return manifest, {name: value for name, value in state.items() if name != "replay"}


def _status(settings: Settings, config: TrainerConfig) -> LearnerStatus:
    identity = Identity(
        job=config.job,
        attempt=settings.attempt,
        rank=settings.rank,
        frame_skip=config.environment.frame_skip,
    )
    mode = Mode.Sync if config.mode is Mode.Auto else config.mode
    return LearnerStatus(identity, total_steps=config.total_steps, mode=mode)
