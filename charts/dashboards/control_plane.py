"""The operator: does it act, does it keep up, and what does it ask of the API server?"""

from charts.dashboards.grafana import Dashboard, Panel, Query, Row, Stat, Variable
from charts.dashboards.promql import quantile, rate, summed_rate

_HERE = '{namespace="$namespace"}'
_OPERATOR = "stepstream_operator_"

_STANDING = Row(
    title="How it stands",
    panels=[
        Stat(
            title="Leaders",
            help="1: one operator acts. 0: nobody does.",
            unit="none",
            queries=[Query(promql=f"sum({_OPERATOR}leader{_HERE})")],
        ),
        Stat(
            title="Waiting",
            help="Jobs in the work queue of the operator that acts. Stays near 0.",
            unit="none",
            queries=[Query(promql=f"sum({_OPERATOR}queue_depth{_HERE} and {_OPERATOR}leader{_HERE} == 1)")],
        ),
        Stat(
            title="Reconciles/s",
            help="Idle jobs cause none, besides their progress every 15 s.",
            queries=[Query(promql=summed_rate(f"{_OPERATOR}reconcile_seconds_count{_HERE}"))],
        ),
        Stat(
            title="Failed/s",
            help="Reconciles that failed.",
            queries=[Query(promql=summed_rate(f"{_OPERATOR}reconcile_errors_total{_HERE}"))],
        ),
        Panel(
            title="Jobs by phase",
            help="As the acting operator sees them.",
            unit="none",
            queries=[Query(promql=f"sum by (phase) ({_OPERATOR}jobs{_HERE})", legend="{{phase}}")],
        ),
    ],
)

_QUEUE = Row(
    title="Work queue",
    panels=[
        Panel(
            title="Wait before a reconcile",
            help="From the event to the start of the work.",
            unit="s",
            queries=[
                Query(promql=quantile(0.5, f"{_OPERATOR}queue_wait_seconds", _HERE), legend="median"),
                Query(promql=quantile(0.99, f"{_OPERATOR}queue_wait_seconds", _HERE), legend="99 %"),
            ],
        ),
        Panel(
            title="Time of a reconcile",
            help="Mostly the API server's answers.",
            unit="s",
            queries=[
                Query(promql=quantile(0.5, f"{_OPERATOR}reconcile_seconds", _HERE), legend="median"),
                Query(promql=quantile(0.99, f"{_OPERATOR}reconcile_seconds", _HERE), legend="99 %"),
            ],
        ),
        Panel(
            title="Adds, retries, failures",
            help="A second. Each failure puts its job back, later each time: as many retries as failures.",
            queries=[
                Query(promql=summed_rate(f"{_OPERATOR}queue_adds_total{_HERE}"), legend="adds"),
                Query(promql=summed_rate(f"{_OPERATOR}queue_retries_total{_HERE}"), legend="retries"),
                Query(
                    promql=summed_rate(f"{_OPERATOR}reconcile_errors_total{_HERE}", "kind"), legend="failed, {{kind}}"
                ),
            ],
        ),
    ],
)

_API = Row(
    title="API server",
    panels=[
        Panel(
            title="Requests/s",
            help="By verb and code. 409 is a race that was noticed; 429 is the API server asking for patience.",
            width=8,
            queries=[
                Query(
                    promql=summed_rate(f"{_OPERATOR}api_requests_total{_HERE}", "verb, code"),
                    legend="{{verb}} {{code}}",
                )
            ],
        ),
        Panel(
            title="Time to answer, 99 %",
            help="By verb; of a watch, until it opened.",
            unit="s",
            queries=[Query(promql=quantile(0.99, f"{_OPERATOR}api_request_seconds", _HERE, "verb"), legend="{{verb}}")],
        ),
        Panel(
            title="Lists begun anew",
            help="Watches lost for good. Many mean an API server in trouble, or a network that drops connections.",
            queries=[
                Query(
                    promql=f"60 * {summed_rate(f'{_OPERATOR}relists_total{_HERE}', 'resource, reason')}",
                    legend="{{resource}}: {{reason}}",
                )
            ],
        ),
        Panel(
            title="Questions to learners",
            help="For /status, a second, by result.",
            queries=[Query(promql=rate(f"{_OPERATOR}status_polls_total{_HERE}"), legend="{{pod}} {{result}}")],
        ),
    ],
)

DASHBOARD = Dashboard(
    uid="operator",
    title="Stepstream / Operator",
    description="The Stepstream operator: leadership, work queue, API requests.",
    variables=[Variable(name="namespace", label="Namespace", values=f"label_values({_OPERATOR}leader, namespace)")],
    rows=[_STANDING, _QUEUE, _API],
)
