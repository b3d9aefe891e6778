"""Every metric of a learner: what it counts, and in which unit."""

from stepstream_trainer.metrics import Catalogue

CATALOGUE = Catalogue(prefix="stepstream_learner_", title="Learner")

_ROWS = (1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0)
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_LAGS = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0, 64.0)

STEPS = CATALOGUE.counter("steps_total", unit="steps", meaning="Agent steps received from simulators.")
FRAMES = CATALOGUE.counter(
    "frames_total", unit="frames", meaning="Emulator frames behind those steps: steps x frame skip."
)
UPDATES = CATALOGUE.counter(
    "updates_total",
    unit="updates",
    meaning="Optimiser updates, one for each policy version; learners in step make them together, and each counts.",
)
JOB_STEPS = CATALOGUE.gauge(
    "job_steps",
    unit="steps",
    meaning="Steps of all learners since the job began, over every attempt that counts towards totalSteps. "
    "Each learner tells the same.",
)
STEPS_PER_SECOND = CATALOGUE.gauge(
    "steps_per_second", unit="steps/s", meaning="Agent steps a second over the last half minute."
)
POLICY_LAG = CATALOGUE.histogram(
    "policy_lag_updates",
    unit="updates",
    meaning="Updates between the policy version that acted and the one that learned from it; one value an update. "
    "Not of algorithms with a replay, where `replay_sample_age_steps` says how old the data is.",
    buckets=_LAGS,
)
PHASE_SECONDS = CATALOGUE.counter(
    "phase_seconds_total",
    unit="seconds",
    labels=("phase",),
    meaning="Time of the loop by what it was spent on; the rates of all phases add up to 1. In mode Async to 2: one "
    "thread collects, another learns.",
)
BATCH_ROWS = CATALOGUE.histogram(
    "batch_rows",
    unit="samples",
    labels=("kind",),
    meaning="Samples in one forward pass (kind=inference) and in one update (kind=update).",
    buckets=_ROWS,
)
INFERENCE_SECONDS = CATALOGUE.histogram(
    "inference_seconds", unit="seconds", meaning="One group's forward pass and sampling.", buckets=_SECONDS
)
UPDATE_SECONDS = CATALOGUE.histogram(
    "update_seconds", unit="seconds", meaning="One update: every epoch and minibatch of it.", buckets=_SECONDS
)
PUSH_SECONDS = CATALOGUE.histogram(
    "push_seconds",
    unit="seconds",
    meaning="A push of a gradient to the parameter store, which brings its parameters back. Of several learners in "
    "mode Async; rank 0's own stay in its memory.",
    buckets=_SECONDS,
)
STORE_LEARNERS = CATALOGUE.gauge(
    "store_learners", unit="learners", meaning="Learners that share the store of rank 0, itself included. 0 elsewhere."
)
ROWS = "rows"
"""The queue between simulators' streams and the loop: bounded, because a slot holds one row."""
QUEUE_DEPTH = CATALOGUE.gauge(
    "queue_depth", unit="items", labels=("queue",), meaning="Items waiting; queue=rows: rows that the loop can take."
)
QUEUE_WAIT_SECONDS = CATALOGUE.counter(
    "queue_wait_seconds_total", unit="seconds", labels=("queue",), meaning="Time its reader lost waiting for items."
)
EPISODES = CATALOGUE.counter("episodes_total", unit="episodes", meaning="Finished episodes.")
EPISODE_RETURN_MEAN = CATALOGUE.gauge(
    "episode_return_mean",
    unit="score",
    meaning="Mean true (unclipped, whole-game) return of the last stopWhen.episodes episodes.",
)
EPISODE_RETURN = CATALOGUE.summary(
    "episode_return", unit="score", meaning="True (unclipped, whole-game) return of finished episodes."
)
EPISODE_LENGTH = CATALOGUE.summary("episode_length_steps", unit="steps", meaning="Length of finished episodes.")
EVALUATION_RETURN = CATALOGUE.gauge(
    "evaluation_return_mean", unit="score", meaning="Mean true return of the latest evaluation's greedy games."
)
EVALUATION_STEPS = CATALOGUE.gauge(
    "evaluation_job_steps", unit="steps", meaning="Steps since the job began of the checkpoint that was evaluated."
)
SLOTS = CATALOGUE.gauge(
    "slots", unit="slots", labels=("state",), meaning="Environment slots with a simulator (leased) and without (free)."
)
STREAMS = CATALOGUE.gauge("streams", unit="streams", meaning="Open simulator streams, spare ones included.")
STREAMS_REFUSED = CATALOGUE.counter(
    "streams_refused_total",
    unit="streams",
    labels=("reason",),
    meaning="Simulator streams refused, by gRPC status; TLS_HANDSHAKE: connections without the job's certificate.",
)
SIMULATORS_WAITED = CATALOGUE.counter(
    "slot_wait_seconds_total",
    unit="slot x seconds",
    meaning="Time that slots stood still because their simulator waited for actions; divided by the leased slots and "
    "the time, the fraction that simulators wait.",
)
LEASE_REPLAYED = CATALOGUE.counter(
    "lease_replayed_steps_total",
    unit="steps",
    meaning="Steps given to simulators to replay, to rebuild slots of a lost simulator or of a resumed job.",
)
REBUILT_DIFFERENTLY = CATALOGUE.counter(
    "slots_rebuilt_differently_total",
    unit="slots",
    meaning="Slots whose replayed episode was not the one they hold: the environment is not deterministic.",
)
CHECKPOINT_AGE = CATALOGUE.gauge(
    "checkpoint_age_seconds",
    unit="seconds",
    meaning="Age of the newest whole checkpoint, so what a crash would lose; NaN before the first.",
)
CHECKPOINT_TIME = CATALOGUE.gauge(
    "checkpoint_last_success_timestamp_seconds", unit="Unix time", meaning="When the newest checkpoint was written."
)
CHECKPOINT_FAILURES = CATALOGUE.counter(
    "checkpoint_failures_total", unit="checkpoints", meaning="Checkpoints that could not be written; training went on."
)
CHECKPOINT_SECONDS = CATALOGUE.histogram(
    "checkpoint_seconds", unit="seconds", meaning="Time to write one checkpoint.", buckets=_SECONDS
)
LOSS = CATALOGUE.gauge(
    "loss",
    unit="1",
    labels=("name",),
    meaning="The latest update's figures: policy, value, entropy, td_error (mean size), and so on.",
)
REPLAY_STEPS = CATALOGUE.gauge("replay_steps", unit="steps", meaning="Steps in replay that can be sampled.")
REPLAY_CAPACITY = CATALOGUE.gauge(
    "replay_capacity_steps", unit="steps", meaning="Steps that the replay can hold; 0 where the algorithm has none."
)
REPLAY_AGE = CATALOGUE.summary(
    "replay_sample_age_steps", unit="steps", meaning="Steps made since those that were sampled; one mean an update."
)
REPLAY_RATIO = CATALOGUE.gauge(
    "replay_ratio",
    unit="1",
    labels=("kind",),
    meaning="Times that a step is learned from: kind=asked by trainingIntensity, kind=reached so far.",
)
REPLAY_PRIORITY = CATALOGUE.gauge(
    "replay_priority",
    unit="1",
    labels=("statistic",),
    meaning="Priorities of the latest update's samples before priorityExponent: their mean and largest.",
)
EPSILON = CATALOGUE.gauge("epsilon", unit="1", meaning="Probability of a random action, mean over the slots.")
LEARNING_RATE = CATALOGUE.gauge("learning_rate", unit="1", meaning="Learning rate of the latest update.")
MODE = CATALOGUE.gauge(
    "mode", unit="1", labels=("mode",), meaning="1 for the mode that the learner runs in now, Sync or Async, else 0."
)
MODE_STEPS_PER_SECOND = CATALOGUE.gauge(
    "mode_steps_per_second",
    unit="steps/s",
    labels=("mode",),
    meaning="What each mode made when mode Auto was last decided; absent before, and where the job says its mode.",
)
INFO = CATALOGUE.gauge(
    "info",
    unit="1",
    labels=("job", "algorithm", "mode", "device", "precision"),
    meaning="Always 1; the labels say what runs here.",
)
