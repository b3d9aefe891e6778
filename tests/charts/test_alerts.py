"""What each alert of the chart makes of series: Prometheus itself evaluates its expression, minute by minute."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from stepstream_operator import metrics as operator
from stepstream_trainer.learner import metric_catalogue as learner
from stepstream_trainer.learner.metrics import LoopPhase
from stepstream_trainer.metrics import Metric
from stepstream_trainer.simulator import metrics as simulator
from tests.support.helm import Helm, only
from tests.support.promtool import Promtool

MINUTES = 60
RESTARTS = 'kube_pod_container_status_restarts_total{namespace="games",pod="pong-simulator-x",container="simulator"}'

Series = Mapping[str, str]
"""Name and labels -> one value a minute. `a+bxN` rises by b N times, `axN` stays as it is."""


def scraped(metric: Metric, part: str = "", pod: str = "", **labels: str) -> str:
    """The series that Prometheus has of a metric, as the chart's scrape configuration labels it."""
    assert set(labels) == set(metric.labels)
    if metric in operator.CATALOGUE.metrics:
        target = {"namespace": "stepstream", "pod": pod or "stepstream-0"}
    else:
        role = "learner" if metric in learner.CATALOGUE.metrics else "simulator"
        target = {"namespace": "games", "pod": pod or f"pong-{role}-0", "role": role, "training_job": "pong"}
    said = ",".join(f'{name}="{value}"' for name, value in (target | labels).items())
    return f"{metric.name}{part}{{{said}}}"


WAIT = scraped(learner.PHASE_SECONDS, phase=LoopPhase.WAIT)
WORK = scraped(learner.PHASE_SECONDS, phase=LoopPhase.OPTIMISE)
STEPS = scraped(learner.STEPS)
RETURN = scraped(learner.EPISODE_RETURN_MEAN)
AGE = scraped(learner.CHECKPOINT_AGE)
CHECKPOINT_FAILURES = scraped(learner.CHECKPOINT_FAILURES)
FREE = scraped(learner.SLOTS, state="free")
LEASED = scraped(learner.SLOTS, state="leased")
REBUILT_DIFFERENTLY = scraped(learner.REBUILT_DIFFERENTLY)
REFUSED = scraped(learner.STREAMS_REFUSED, reason="FAILED_PRECONDITION")
SIMULATED = scraped(simulator.STEPS)
LEADER = scraped(operator.LEADER)
DEPTH = scraped(operator.QUEUE_DEPTH)
RECONCILES = scraped(operator.RECONCILE_SECONDS, "_count")
ERRORS = scraped(operator.RECONCILE_ERRORS, kind="temporary")

HEALTHY: Series = {
    WAIT: "0+20x60",
    WORK: "0+40x60",
    STEPS: "0+60000x60",
    RETURN: "-20+0.5x60",
    AGE: "150x60",
    CHECKPOINT_FAILURES: "0x60",
    FREE: "0x60",
    LEASED: "64x60",
    REBUILT_DIFFERENTLY: "0x60",
    REFUSED: "0x60",
    SIMULATED: "0+30000x60",
    RESTARTS: "0x60",
    LEADER: "1x60",
    DEPTH: "0x60",
    RECONCILES: "0+10x60",
    ERRORS: "0x60",
}
"""An hour of a job that learns, and of an operator that serves it."""


def every(minutes: int) -> str:
    """A counter that rises by one each time."""
    return " ".join(str(minute // minutes) for minute in range(MINUTES + 1))


def none_since(minute: int) -> str:
    """An age of 150 s, and from that minute on none."""
    return " ".join(["150"] * minute + ["NaN"] * (MINUTES + 1 - minute))


def restarted(times: int) -> str:
    """A counter that begins anew every other minute, at last."""
    return f"0+100x{MINUTES - 2 * times} " + " ".join(["0", "100"] * times)


FIRES: list[tuple[str, Series]] = [
    ("StepstreamLearnerStarved", {WAIT: "0+37x60", WORK: "0+23x60"}),
    ("StepstreamNoSteps", {STEPS: "60000x60"}),
    ("StepstreamReturnsCollapsed", {RETURN: "-20+1x40 -2x20"}),
    ("StepstreamCheckpointTooOld", {AGE: "0+60x60"}),
    ("StepstreamCheckpointTooOld", {AGE: none_since(0)}),
    ("StepstreamCheckpointFailing", {CHECKPOINT_FAILURES: "0x55 1x5"}),
    ("StepstreamSlotsUnserved", {FREE: "0x45 2x15", LEASED: "64x45 62x15"}),
    ("StepstreamSimulatorsCrashLooping", {SIMULATED: restarted(4)}),
    ("StepstreamSimulatorsCrashLooping", {RESTARTS: every(3)}),
    ("StepstreamRebuiltDifferently", {REBUILT_DIFFERENTLY: "0x55 1x5"}),
    ("StepstreamStreamsRefused", {REFUSED: every(1)}),
    ("StepstreamOperatorDown", {LEADER: "1x50 0x10"}),
    ("StepstreamOperatorDown", {LEADER: "1x40"}),
    ("StepstreamOperatorStuck", {DEPTH: "0x30 3x30", RECONCILES: "0+10x30 300x30"}),
    ("StepstreamOperatorErrors", {ERRORS: "0+6x60"}),
]

QUIET: dict[str, Series] = {
    "a healthy job": {},
    "a learner that waits less than that": {WAIT: "0+35x60", WORK: "0+25x60"},
    "a learner that has waited for minutes": {WAIT: "0+20x48 960+50x12", WORK: "0+40x48 1920+10x12"},
    "one step a minute": {STEPS: "0+1x60"},
    "no steps for minutes": {STEPS: "0+60000x51 3060000x9"},
    "returns that fall by less than half of their range": {RETURN: "-20+1x40 2x20"},
    "returns that hardly ever varied": {RETURN: "100x40 95x20"},
    "a checkpoint that is not too old": {AGE: "1700x60"},
    "no checkpoint for minutes": {AGE: none_since(35)},
    "a learner of several, of which another writes": {
        scraped(learner.CHECKPOINT_AGE, pod="pong-learner-1"): none_since(0)
    },
    "a checkpoint that failed long ago": {CHECKPOINT_FAILURES: "0x40 1x20"},
    "slots that are free for minutes": {FREE: "0x51 2x9"},
    "three simulators started anew": {SIMULATED: restarted(3)},
    "another container's restarts": {RESTARTS.replace('"simulator"', '"learner"'): every(1)},
    "a rebuilt slot that differed long ago": {REBUILT_DIFFERENTLY: "0x40 1x20"},
    "a stream refused now and then": {REFUSED: every(3)},
    "a Lease that changes hands": {LEADER: "1x57 0x3"},
    "an operator that waits for the Lease and holds a queue": {
        scraped(operator.LEADER, pod="stepstream-1"): "0x60",
        scraped(operator.QUEUE_DEPTH, pod="stepstream-1"): "3x60",
        scraped(operator.RECONCILE_SECONDS, "_count", pod="stepstream-1"): "0x60",
    },
    "an operator that works on its queue": {DEPTH: "3x60"},
    "some reconciles that fail": {ERRORS: "0+4x60"},
}

LOOSER = {
    "learnerWaitFraction": 0.7,
    "noStepsMinutes": 90,
    "returnDropFraction": 0.6,
    "checkpointAgeSeconds": 5000,
    "simulatorRestarts": 9,
}
"""Every threshold that the chart has, so high that the figures of FIRES stay below."""
OF_THRESHOLDS = {
    "StepstreamLearnerStarved",
    "StepstreamNoSteps",
    "StepstreamReturnsCollapsed",
    "StepstreamCheckpointTooOld",
    "StepstreamSimulatorsCrashLooping",
}


def rules(home: Path, values: Mapping[str, Any]) -> Promtool:
    """The chart's alerts as a rule file."""
    objects = Helm(home=home).template({"prometheusRule": {"enabled": True} | values})
    file = home / "rules.yaml"
    file.write_text(yaml.safe_dump(only(objects, "PrometheusRule")["spec"]))
    return Promtool(rules=file, home=home)


@pytest.fixture(scope="module")
def promtool(tmp_path_factory: pytest.TempPathFactory) -> Promtool:
    return rules(tmp_path_factory.mktemp("rules"), {})


@pytest.fixture(scope="module")
def looser(tmp_path_factory: pytest.TempPathFactory) -> Promtool:
    return rules(tmp_path_factory.mktemp("looser"), LOOSER)


def test_prometheus_finds_no_fault_with_the_rules(promtool: Promtool) -> None:
    every_alert = {rule["alert"] for group in groups(promtool) for rule in group["rules"]}
    assert f"SUCCESS: {sum(len(group['rules']) for group in groups(promtool))} rules found" in promtool.check()
    assert every_alert == {alert for alert, _ in FIRES}


@pytest.mark.parametrize(("alert", "trouble"), FIRES, ids=[alert for alert, _ in FIRES])
def test_in_its_trouble_an_alert_fires_and_no_other_does(promtool: Promtool, alert: str, trouble: Series) -> None:
    promtool.assert_firing([alert], series={**HEALTHY, **trouble}, minutes=MINUTES)


@pytest.mark.parametrize("case", QUIET, ids=str)
def test_no_alert_fires_for(promtool: Promtool, case: str) -> None:
    promtool.assert_firing([], series={**HEALTHY, **QUIET[case]}, minutes=MINUTES)


@pytest.mark.parametrize(("alert", "trouble"), [case for case in FIRES if case[0] in OF_THRESHOLDS], ids=str)
def test_a_threshold_of_ones_own_is_the_one_that_counts(looser: Promtool, alert: str, trouble: Series) -> None:
    looser.assert_firing([], series={**HEALTHY, **trouble}, minutes=MINUTES)


def groups(promtool: Promtool) -> list[dict[str, Any]]:
    return list(yaml.safe_load(promtool.rules.read_text())["groups"])
