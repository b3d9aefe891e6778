"""All jobs: who runs, how fast, and who needs a person."""

from charts.dashboards.grafana import COLUMNS, Column, Dashboard, Panel, Query, Row, Stat, Table
from charts.dashboards.promql import mean, summed_rate

_JOB = "namespace, training_job"
_LEARNER = "stepstream_learner_"
_NAME = "{{namespace}}/{{training_job}}"
_WAITING = _LEARNER + 'phase_seconds_total{phase=~"wait|idle"}'
_PHASES = f"{_LEARNER}phase_seconds_total"

_TOTALS = Row(
    title="Together",
    panels=[
        Stat(
            title="Jobs stepping",
            help="Jobs with at least one learner up.",
            unit="none",
            width=6,
            queries=[Query(promql=f"count(count by ({_JOB}) ({_LEARNER}job_steps))")],
        ),
        Stat(
            title="Steps/s",
            help="Of all jobs together.",
            width=6,
            queries=[Query(promql=summed_rate(f"{_LEARNER}steps_total"))],
        ),
        Stat(
            title="Frames/s",
            help="Of all jobs together.",
            width=6,
            queries=[Query(promql=summed_rate(f"{_LEARNER}frames_total"))],
        ),
        Stat(
            title="Simulators",
            help="Up, of all jobs together.",
            unit="none",
            width=6,
            queries=[Query(promql="count(stepstream_simulator_slots)")],
        ),
    ],
)

_COLUMNS = {
    Column(title="Steps"): f"max by ({_JOB}) ({_LEARNER}job_steps)",
    Column(title="Steps/s"): summed_rate(f"{_LEARNER}steps_total", _JOB),
    Column(title="Return", unit="none"): f"avg by ({_JOB}) ({_LEARNER}episode_return_mean)",
    Column(title="Waiting", unit="percentunit"): f"{summed_rate(_WAITING, _JOB)} / {summed_rate(_PHASES, _JOB)}",
    Column(title="Policy lag", unit="none"): mean(f"{_LEARNER}policy_lag_updates", "", _JOB),
    Column(title="Free slots", unit="none"): f'sum by ({_JOB}) ({_LEARNER}slots{{state="free"}})',
    Column(title="Checkpoint age", unit="s"): f"max by ({_JOB}) ({_LEARNER}checkpoint_age_seconds)",
}

_LIST = Row(
    title="Job by job",
    panels=[
        Table(
            title="Jobs",
            help="Much waiting or free slots: more simulators would help. An old checkpoint: look at its volume.",
            columns=tuple(_COLUMNS),
            queries=[Query(promql=promql, instant=True) for promql in _COLUMNS.values()],
        ),
    ],
)

_COURSES = Row(
    title="Over time",
    panels=[
        Panel(
            title="Steps/s",
            help="Agent steps a second of each job.",
            width=COLUMNS // 2,
            queries=[Query(promql=summed_rate(f"{_LEARNER}steps_total", _JOB), legend=_NAME)],
        ),
        Panel(
            title="Returns",
            help="Mean true return of each job's last episodes.",
            unit="none",
            width=COLUMNS // 2,
            queries=[Query(promql=f"avg by ({_JOB}) ({_LEARNER}episode_return_mean)", legend=_NAME)],
        ),
    ],
)

DASHBOARD = Dashboard(
    uid="jobs",
    title="Stepstream / All jobs",
    description="Every TrainingJob side by side.",
    variables=[],
    rows=[_TOTALS, _LIST, _COURSES],
)
