"""Every metric of a simulator, and the facade its streams report through: one call a message, none a step."""

from enum import StrEnum

from prometheus_client import CollectorRegistry

from stepstream_trainer.metrics import Catalogue

CATALOGUE = Catalogue(prefix="stepstream_simulator_", title="Simulator")

STEPS = CATALOGUE.counter("steps_total", unit="steps", meaning="Agent steps taken, replayed ones not counted.")
EPISODES = CATALOGUE.counter("episodes_total", unit="episodes", meaning="Finished episodes.")
PHASE_SECONDS = CATALOGUE.counter(
    "phase_seconds_total",
    unit="seconds",
    labels=("phase",),
    meaning="Time of the streams' threads by what it was spent on: emulate (environment steps), wait (for actions), "
    "send (building and handing over a message), replay (rebuilding leased slots).",
)
RECONNECTS = CATALOGUE.counter("reconnects_total", unit="streams", meaning="Streams that were lost and opened anew.")
SLOTS = CATALOGUE.gauge("slots", unit="slots", meaning="Environment slots this simulator serves.")


class StreamPhase(StrEnum):
    """What a stream's thread spends its time on."""

    EMULATE = "emulate"
    WAIT = "wait"
    SEND = "send"
    REPLAY = "replay"


class SimulatorMetrics:
    """What the streams call. Every method is for any thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        phases = PHASE_SECONDS.register(registry)
        self._phases = {phase: phases.labels(phase.value) for phase in StreamPhase}
        self._steps = STEPS.register(registry)
        self._episodes = EPISODES.register(registry)
        self._reconnects = RECONNECTS.register(registry)
        self._slots = SLOTS.register(registry)

    def stepped(self, *, steps: int, episodes: int, emulate: float, wait: float, send: float) -> None:
        """One exchange: `steps` taken, `episodes` of them ended, and the seconds each part took."""
        self._steps.inc(steps)
        self._episodes.inc(episodes)
        self._phases[StreamPhase.EMULATE].inc(emulate)
        self._phases[StreamPhase.WAIT].inc(wait)
        self._phases[StreamPhase.SEND].inc(send)

    def replayed(self, seconds: float) -> None:
        self._phases[StreamPhase.REPLAY].inc(seconds)

    def reconnected(self) -> None:
        self._reconnects.inc()

    def slots_changed(self, change: int) -> None:
        """A lease began (`change` > 0) or ended (`change` < 0)."""
        self._slots.inc(change)
