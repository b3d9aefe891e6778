"""Every metric of the operator, with unit and meaning."""

from __future__ import annotations

from stepstream_operator.runtime.queue import QueueObserver
from stepstream_trainer.metrics import Catalogue, new_registry

CATALOGUE = Catalogue(prefix="stepstream_operator_", title="Operator")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

QUEUE_DEPTH = CATALOGUE.gauge(
    "queue_depth", unit="jobs", meaning="Jobs that wait to be reconciled, also while another operator leads."
)
QUEUE_ADDS = CATALOGUE.counter("queue_adds_total", unit="jobs", meaning="Jobs put into the work queue.")
QUEUE_RETRIES = CATALOGUE.counter("queue_retries_total", unit="jobs", meaning="Jobs put back after a failure.")
QUEUE_WAIT = CATALOGUE.histogram(
    "queue_wait_seconds", unit="seconds", meaning="Time a job waits before it is reconciled.", buckets=_SECONDS
)
RECONCILE_SECONDS = CATALOGUE.histogram(
    "reconcile_seconds", unit="seconds", meaning="Time one reconcile of one job takes.", buckets=_SECONDS
)
RECONCILE_ERRORS = CATALOGUE.counter(
    "reconcile_errors_total",
    unit="reconciles",
    meaning="Reconciles that failed and are repeated, later each time. temporary: a request that may succeed later by "
    "itself; permanent: one that the API server will refuse until somebody changes something, such as a missing right, "
    "or because the job is gone; defect: an error of ours. A child that is refused is none of these: the job's status "
    "tells it.",
    labels=("kind",),
)
API_REQUESTS = CATALOGUE.counter(
    "api_requests_total",
    unit="requests",
    meaning="Requests to the API server; the code is <error> where no answer came.",
    labels=("verb", "resource", "code"),
)
API_SECONDS = CATALOGUE.histogram(
    "api_request_seconds",
    unit="seconds",
    meaning="Time until the API server's answer began; of a watch, until it opened.",
    labels=("verb",),
    buckets=_SECONDS,
)
RELISTS = CATALOGUE.counter(
    "relists_total",
    unit="lists",
    meaning="Watches that had to begin anew from a list.",
    labels=("resource", "reason"),
)
JOBS = CATALOGUE.gauge("jobs", unit="jobs", meaning="TrainingJobs by phase.", labels=("phase",))
STATUS_POLLS = CATALOGUE.counter(
    "status_polls_total", unit="requests", meaning="Questions to learners for their /status.", labels=("result",)
)
LEADER = CATALOGUE.gauge("leader", unit="1", meaning="1 while this process is the one that acts, else 0.")


class OperatorMetrics(QueueObserver):
    """The operator's series in a registry of their own. No series is labelled by job: jobs come and go."""

    def __init__(self) -> None:
        self.registry = registry = new_registry()
        self.queue_depth = QUEUE_DEPTH.register(registry)
        self.queue_adds = QUEUE_ADDS.register(registry)
        self.queue_retries = QUEUE_RETRIES.register(registry)
        self.queue_wait = QUEUE_WAIT.register(registry)
        self.reconcile_seconds = RECONCILE_SECONDS.register(registry)
        self.reconcile_errors = RECONCILE_ERRORS.register(registry)
        self.api_requests = API_REQUESTS.register(registry)
        self.api_seconds = API_SECONDS.register(registry)
        self.relists = RELISTS.register(registry)
        self.jobs = JOBS.register(registry)
        self.status_polls = STATUS_POLLS.register(registry)
        self.leader = LEADER.register(registry)

    def on_request(self, *, verb: str, resource: str, code: str, seconds: float) -> None:
        self.api_requests.labels(verb, resource, code).inc()
        self.api_seconds.labels(verb).observe(seconds)

    def added(self) -> None:
        self.queue_adds.inc()

    def retried(self) -> None:
        self.queue_retries.inc()

    def depth(self, waiting: int) -> None:
        self.queue_depth.set(waiting)

    def waited(self, seconds: float) -> None:
        self.queue_wait.observe(seconds)
