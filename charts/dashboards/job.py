"""One job: does it learn, how fast, and what does it wait for?"""

from charts.dashboards.grafana import Dashboard, Panel, Query, Row, Stacked, Stat, Variable
from charts.dashboards.promql import mean, quantile, rate, share, summed_rate

_JOB = '{namespace="$namespace", training_job="$training_job"}'
_LEARNER = "stepstream_learner_"
_SIMULATOR = "stepstream_simulator_"


_PROGRESS = Row(
    title="Progress",
    panels=[
        Stat(
            title="Steps",
            help="Agent steps since the job began, over all attempts and learners.",
            queries=[Query(promql=f"max({_LEARNER}job_steps{_JOB})")],
        ),
        Stat(
            title="Steps/s",
            help="Agent steps a second, all learners together. Frames are steps x frame skip.",
            queries=[Query(promql=summed_rate(f"{_LEARNER}steps_total{_JOB}"))],
        ),
        Stat(
            title="Frames/s",
            help="Emulator frames a second.",
            queries=[Query(promql=summed_rate(f"{_LEARNER}frames_total{_JOB}"))],
        ),
        Stat(
            title="Return",
            help="Mean true return of the last episodes (stopWhen.episodes), never clipped.",
            unit="none",
            queries=[Query(promql=f"avg({_LEARNER}episode_return_mean{_JOB})")],
        ),
        Stat(
            title="Simulators",
            help="Simulators that are up.",
            unit="none",
            queries=[Query(promql=f"count({_SIMULATOR}slots{_JOB})")],
        ),
        Stat(
            title="Checkpoint age",
            help="What a crash now would lose.",
            unit="s",
            queries=[Query(promql=f"max({_LEARNER}checkpoint_age_seconds{_JOB})")],
        ),
        Panel(
            title="Steps/s by learner",
            help="A dip at every update is the rhythm of Sync mode; a lasting drop has its reason in the rows below.",
            queries=[Query(promql=rate(f"{_LEARNER}steps_total{_JOB}"), legend="{{pod}}")],
        ),
        Panel(
            title="Returns",
            help="Mean of the last stopWhen.episodes episodes, of the episodes that ended within the interval, and "
            "of the latest evaluation's games.",
            unit="none",
            queries=[
                Query(promql=f"avg({_LEARNER}episode_return_mean{_JOB})", legend="last episodes"),
                Query(promql=mean(f"{_LEARNER}episode_return", _JOB), legend="this interval"),
                Query(promql=f"max({_LEARNER}evaluation_return_mean{_JOB})", legend="evaluation"),
            ],
        ),
        Panel(
            title="Episodes",
            help="Mean length in steps of the episodes that ended, and how many ended in a minute.",
            queries=[
                Query(promql=mean(f"{_LEARNER}episode_length_steps", _JOB), legend="length, steps"),
                Query(promql=f"60 * {summed_rate(f'{_LEARNER}episodes_total{_JOB}')}", legend="a minute"),
            ],
        ),
    ],
)

_TIME = Row(
    title="Where time goes",
    panels=[
        Stacked(
            title="Learners",
            help="Much `wait` or `idle`: more simulators would help. Much `optimise` or `hold`: the device is the "
            "limit. In mode Async two threads share the picture.",
            queries=[Query(promql=share(f"{_LEARNER}phase_seconds_total{_JOB}", "phase"), legend="{{phase}}")],
        ),
        Stacked(
            title="Simulators",
            help="Much `wait`: they are faster than the learner, and fewer would do. `replay` rebuilds lost slots.",
            queries=[Query(promql=share(f"{_SIMULATOR}phase_seconds_total{_JOB}", "phase"), legend="{{phase}}")],
        ),
        Panel(
            title="Lost waiting on queues",
            help="Seconds lost in a second, by queue.",
            unit="s",
            queries=[
                Query(promql=summed_rate(f"{_LEARNER}queue_wait_seconds_total{_JOB}", "queue"), legend="{{queue}}"),
            ],
        ),
        Panel(
            title="Waiting in queues",
            help="Items, by queue. Every queue is bounded; one that stays full is where the next stage is the limit.",
            unit="none",
            queries=[Query(promql=f"sum by (queue) ({_LEARNER}queue_depth{_JOB})", legend="{{queue}}")],
        ),
        Panel(
            title="Forward pass and sampling",
            help="Seconds for one group of slots.",
            unit="s",
            queries=[
                Query(promql=quantile(0.5, f"{_LEARNER}inference_seconds", _JOB), legend="median"),
                Query(promql=quantile(0.99, f"{_LEARNER}inference_seconds", _JOB), legend="99 %"),
            ],
        ),
        Panel(
            title="Update",
            help="Seconds for one update: all its epochs and minibatches.",
            unit="s",
            queries=[
                Query(promql=quantile(0.5, f"{_LEARNER}update_seconds", _JOB), legend="median"),
                Query(promql=quantile(0.99, f"{_LEARNER}update_seconds", _JOB), legend="99 %"),
            ],
        ),
        Panel(
            title="Batch sizes",
            help="Mean number of samples in a forward pass and in an update. Small batches waste the device.",
            queries=[Query(promql=mean(f"{_LEARNER}batch_rows", _JOB, "kind"), legend="{{kind}}")],
        ),
    ],
)

_LEARNING = Row(
    title="Learning",
    panels=[
        Panel(
            title="Policy lag",
            help="Updates between acting and learning. 0 in Sync mode; bounded in Async.",
            unit="none",
            queries=[
                Query(promql=mean(f"{_LEARNER}policy_lag_updates", _JOB), legend="mean"),
                Query(promql=quantile(0.99, f"{_LEARNER}policy_lag_updates", _JOB), legend="99 %"),
            ],
        ),
        Panel(
            title="Pushes to the parameter store",
            help="Seconds for a gradient to go to the store and its parameters to come back. Of several learners in "
            "Async mode.",
            unit="s",
            queries=[
                Query(promql=quantile(0.5, f"{_LEARNER}push_seconds", _JOB), legend="median"),
                Query(promql=quantile(0.99, f"{_LEARNER}push_seconds", _JOB), legend="99 %"),
            ],
        ),
        Panel(
            title="Learners that share the store",
            help="Of several in Async mode, rank 0 included: they come and go.",
            unit="none",
            queries=[Query(promql=f"sum({_LEARNER}store_learners{_JOB})", legend="learners")],
        ),
        Panel(
            title="Mode",
            help="1 for the mode that runs. With mode Auto, what each made in steps/s when it was last decided.",
            unit="none",
            queries=[
                Query(promql=f"max by (mode) ({_LEARNER}mode{_JOB})", legend="{{mode}}"),
                Query(promql=f"sum by (mode) ({_LEARNER}mode_steps_per_second{_JOB})", legend="{{mode}}, steps/s"),
            ],
        ),
        Panel(
            title="Losses",
            help="The latest update's figures. Entropy falling to 0 early means that exploration has ended.",
            unit="none",
            queries=[Query(promql=f"avg by (name) ({_LEARNER}loss{_JOB})", legend="{{name}}")],
        ),
        Panel(
            title="Learning rate and updates",
            help="The schedule, and updates a second.",
            unit="none",
            queries=[
                Query(promql=f"avg({_LEARNER}learning_rate{_JOB})", legend="learning rate"),
                Query(promql=f"max({rate(f'{_LEARNER}updates_total{_JOB}')})", legend="updates/s"),
            ],
        ),
    ],
)

_REPLAY = Row(
    title="Replay",
    panels=[
        Panel(
            title="Steps in replay",
            help="Those that can be sampled, and what the replay can hold. Empty for A2C and PPO, as this whole row.",
            unit="none",
            queries=[
                Query(promql=f"sum({_LEARNER}replay_steps{_JOB})", legend="steps"),
                Query(promql=f"sum({_LEARNER}replay_capacity_steps{_JOB})", legend="capacity"),
            ],
        ),
        Panel(
            title="Times a step is learned from",
            help="As trainingIntensity asks, and as it was reached beyond learningStartsSteps.",
            unit="none",
            queries=[Query(promql=f"avg by (kind) ({_LEARNER}replay_ratio{_JOB})", legend="{{kind}}")],
        ),
        Panel(
            title="Age of samples",
            help="Mean steps of the job since sampled steps were made. It levels out at half the capacity.",
            unit="none",
            queries=[Query(promql=mean(f"{_LEARNER}replay_sample_age_steps", _JOB), legend="steps")],
        ),
        Panel(
            title="Priorities",
            help="Of the latest update's samples: temporal differences, or divergences of distributions.",
            unit="none",
            queries=[
                Query(promql=f"avg by (statistic) ({_LEARNER}replay_priority{_JOB})", legend="{{statistic}}"),
                Query(promql=f"""avg({_LEARNER}loss{{{_JOB[1:-1]}, name="td_error"}})""", legend="temporal difference"),
            ],
        ),
        Panel(
            title="Epsilon",
            help="Probability of a random action, mean over the slots.",
            unit="percentunit",
            queries=[Query(promql=f"avg({_LEARNER}epsilon{_JOB})", legend="epsilon")],
        ),
    ],
)

_SIMULATORS = Row(
    title="Simulators",
    panels=[
        Panel(
            title="Steps/s by simulator",
            help="Equal lines are a fair share of slots; a low one is a slow node.",
            queries=[Query(promql=rate(f"{_SIMULATOR}steps_total{_JOB}"), legend="{{pod}}")],
        ),
        Panel(
            title="Environment slots",
            help="`free` slots have no simulator, and the learner waits for them.",
            unit="none",
            queries=[
                Query(promql=f"sum by (state) ({_LEARNER}slots{_JOB})", legend="{{state}}"),
                Query(promql=f"sum({_LEARNER}streams{_JOB})", legend="streams"),
            ],
        ),
        Panel(
            title="Waiting for actions",
            help="The fraction of time that leased slots stand still until the learner answers. The operator scales "
            "simulators by it.",
            unit="percentunit",
            queries=[
                Query(
                    promql=f"{summed_rate(f'{_LEARNER}slot_wait_seconds_total{_JOB}')}"
                    f' / sum({_LEARNER}slots{{namespace="$namespace", training_job="$training_job", state="leased"}})',
                    legend="fraction",
                ),
            ],
        ),
        Panel(
            title="Lost, refused, replayed",
            help="Streams that simulators opened anew and that learners refused, steps replayed, and slots that a "
            "replay did not bring back as they were (there should be none), a minute.",
            queries=[
                Query(promql=f"60 * {summed_rate(f'{_SIMULATOR}reconnects_total{_JOB}')}", legend="reconnects"),
                Query(
                    promql=f"60 * {summed_rate(f'{_LEARNER}streams_refused_total{_JOB}', 'reason')}",
                    legend="refused {{reason}}",
                ),
                Query(
                    promql=f"60 * {summed_rate(f'{_LEARNER}lease_replayed_steps_total{_JOB}')}", legend="replayed steps"
                ),
                Query(
                    promql=f"60 * {summed_rate(f'{_LEARNER}slots_rebuilt_differently_total{_JOB}')}",
                    legend="rebuilt differently",
                ),
            ],
        ),
    ],
)

_CHECKPOINTS = Row(
    title="Checkpoints",
    panels=[
        Panel(
            title="Age",
            help="A saw-tooth as high as checkpoint.intervalSeconds.",
            unit="s",
            queries=[Query(promql=f"{_LEARNER}checkpoint_age_seconds{_JOB}", legend="{{pod}}")],
        ),
        Panel(
            title="Time to write one",
            help="Mean seconds.",
            unit="s",
            queries=[Query(promql=mean(f"{_LEARNER}checkpoint_seconds", _JOB), legend="mean")],
        ),
        Panel(
            title="Failures",
            help="Checkpoints that could not be written since the learner started. Training goes on.",
            unit="none",
            queries=[Query(promql=f"{_LEARNER}checkpoint_failures_total{_JOB}", legend="{{pod}}")],
        ),
        Panel(
            title="Steps since the evaluated one",
            help="How far training has gone since the checkpoint that was evaluated last. A saw-tooth as high as "
            "evaluation.intervalSteps; it grows without end where evaluations fail.",
            queries=[
                Query(
                    promql=f"max({_LEARNER}job_steps{_JOB}) - max({_LEARNER}evaluation_job_steps{_JOB})", legend="steps"
                ),
            ],
        ),
    ],
)

DASHBOARD = Dashboard(
    uid="job",
    title="Stepstream / Job",
    description="One TrainingJob: progress, where time goes, learning, replay, simulators, checkpoints.",
    variables=[
        Variable(name="namespace", label="Namespace", values=f"label_values({_LEARNER}job_steps, namespace)"),
        Variable(
            name="training_job",
            label="Job",
            values=f'label_values({_LEARNER}job_steps{{namespace="$namespace"}}, training_job)',
        ),
    ],
    rows=[_PROGRESS, _TIME, _LEARNING, _REPLAY, _SIMULATORS, _CHECKPOINTS],
)
