"""A TrainingJob is accepted or refused as a whole, and what is wrong is said field by field."""

import json
from typing import Any

import pytest

from stepstream_operator.api import parse_job
from stepstream_trainer.config import AlgorithmName, Mode, PPOParameters
from tests.support.jobs import job_manifest, make_job, refusals


def _dqn(**parameters: Any) -> dict[str, Any]:
    return {"algorithm": {"name": "DQN", "parameters": parameters}}


PARAMETERS = "spec.algorithm.parameters"

REFUSED: list[tuple[dict[str, Any], str]] = [
    (_dqn(nStep=0), f"{PARAMETERS}.nStep: must be at least 1, got 0"),
    (_dqn(trainingIntensity=0), f"{PARAMETERS}.trainingIntensity: must be above 0, got 0"),
    (_dqn(replayCapacitySteps=0), f"{PARAMETERS}.replayCapacitySteps: must be at least 1, got 0"),
    (
        _dqn(batchSize=512, replayCapacitySteps=500, learningStartsSteps=100),
        f"{PARAMETERS}.batchSize: must be at most replayCapacitySteps, got 512",
    ),
    (
        _dqn(replayCapacitySteps=10_000),
        f"{PARAMETERS}.learningStartsSteps: must be at most replayCapacitySteps, got 50000",
    ),
    (
        _dqn(lowestFinalEpsilon=0.2),
        f"{PARAMETERS}.lowestFinalEpsilon: must be at most finalEpsilon, got 0.2",
    ),
    (
        {"algorithm": {"name": "EpsilonRainbow", "parameters": {"learningStartsSteps": 2_000_000}}},
        f"{PARAMETERS}.learningStartsSteps: must be at most replayCapacitySteps, got 2000000",
    ),
    ({"simulators": {"replicas": 0}}, "spec.simulators.replicas: must be at least 1, got 0"),
    (
        {"simulators": {"replicas": "2"}},
        'spec.simulators.replicas: must be an integer, got "2"; write 2 without quotes',
    ),
    ({"simulators": {"replicas": True}}, "spec.simulators.replicas: must be an integer, got true"),
    ({"simulators": {"replicas": 2.5}}, "spec.simulators.replicas: must be an integer, got 2.5"),
    ({"simulators": {"replicas": 5000}}, "spec.simulators.replicas: must be at most 4096, got 5000"),
    ({"simulators": 3}, "spec.simulators: must be an object, got 3"),
    ({"simulatorz": {}}, "spec.simulatorz: unknown field; did you mean simulators?"),
    ({"mode": "sync"}, 'spec.mode: must be one of Auto, Sync, Async, got "sync"; did you mean Sync?'),
    ({"suspend": "true"}, 'spec.suspend: must be true or false, got "true"; write true without quotes'),
    ({"seed": -1}, "spec.seed: must be at least 0, got -1"),
    (
        {"stopWhen": {"meanReturn": 18}},
        'spec.stopWhen.meanReturn: must be a decimal number in quotes, such as "18" or "-0.5", got 18; write "18"',
    ),
    (
        {"stopWhen": {"meanReturn": "18\n"}},
        'spec.stopWhen.meanReturn: must be a decimal number in quotes, such as "18" or "-0.5", got "18\\n"',
    ),
    ({"stopWhen": {}}, 'spec.stopWhen.meanReturn: required; for example "18"'),
    (
        {"environment": {"id": None}},
        "spec.environment.id: must be a Gymnasium id such as ALE/Pong-v5 or CartPole-v1, got null",
    ),
    (
        {"algorithm": {"name": None}},
        "spec.algorithm.name: must be one of A2C, PPO, DQN, CategoricalDQN, EpsilonRainbow, A3C, APPO, got null",
    ),
    (
        {"environment": {"id": "Pong v5"}},
        'spec.environment.id: must be a Gymnasium id such as ALE/Pong-v5 or CartPole-v1, got "Pong v5"',
    ),
    (
        {"environment": {"entryPoint": "maze.py"}},
        'spec.environment.entryPoint: must be module:Class, such as my_package.envs:Maze, got "maze.py"',
    ),
    (
        {"environment": {"atari": {"frameskip": 2}}},
        "spec.environment.atari.frameskip: unknown field; did you mean frameSkip?",
    ),
    (
        {"environment": {"id": "CartPole-v1", "atari": {"frameSkip": 2}}},
        "spec.environment.atari: belongs to ALE/* environments only; remove it, or choose an id such as ALE/Pong-v5",
    ),
    (
        {"environment": {"kwargs": {"size": float("inf")}}},
        'spec.environment.kwargs.size: must be a finite number, got "inf"',
    ),
    (
        {"environment": {"kwargs": {"maze": json.loads("[" * 64 + "]" * 64)}}},
        f"spec.environment.kwargs.maze{'[0]' * 63}: must be nested at most 64 levels deep",
    ),
    (
        {"algorithm": {"name": "PP0"}},
        "spec.algorithm.name: must be one of A2C, PPO, DQN, CategoricalDQN, EpsilonRainbow, A3C, APPO, "
        'got "PP0"; did you mean PPO?',
    ),
    (
        {"algorithm": {"name": ["PPO"]}},
        "spec.algorithm.name: must be one of A2C, PPO, DQN, CategoricalDQN, EpsilonRainbow, A3C, APPO, got a list",
    ),
    (
        {"algorithm": {"parameters": {"learning_rate": 1}}},
        "spec.algorithm.parameters.learning_rate: unknown field; did you mean learningRate?",
    ),
    (  # by --set beside the file's own
        {"algorithm": {"name": "PPO", "parameters": {"horizon": 128, "horizn": 64}}},
        "spec.algorithm.parameters.horizn: unknown field; did you mean horizon?",
    ),
    (
        {"algorithm": {"parameters": {"learningRate": 0}}},
        "spec.algorithm.parameters.learningRate: must be above 0, got 0",
    ),
    (
        {"algorithm": {"parameters": {"learningRate": "1e-4"}}},
        'spec.algorithm.parameters.learningRate: must be a number, got "1e-4"; write 1e-4 without quotes',
    ),
    (
        {"algorithm": {"parameters": {"minibatchSize": 500}}},
        "spec.algorithm.parameters.minibatchSize: must divide horizon x learners.environments, "
        "the samples of a rollout (in mode Sync, of all), got 500",
    ),
    (
        {"algorithm": {"name": "CategoricalDQN", "parameters": {"valueMinimum": 20}}},
        "spec.algorithm.parameters.valueMaximum: must be above valueMinimum, got 10.0",
    ),
    (
        {"learners": {"replicas": 3}, "simulators": {"replicas": 3}},
        "spec.algorithm.parameters.minibatchSize: must be divisible by learners.replicas: in mode Sync the learners "
        "divide each batch among them, got 512",
    ),
    (
        {**_dqn(), "learners": {"replicas": 3}, "mode": "Sync"},
        "spec.algorithm.parameters.batchSize: must be divisible by learners.replicas: in mode Sync the learners "
        "divide each batch among them, got 32",
    ),
    (
        {"learners": {"replicas": 2}, "checkpoint": {"includeReplay": True}},
        "spec.checkpoint.includeReplay: must be false where there are several learners, which fill their replays anew "
        "after a resume, got true",
    ),
    ({"learners": {"replicas": 0}}, "spec.learners.replicas: must be at least 1, got 0"),
    ({"learners": {"maxPolicyLag": 0}}, "spec.learners.maxPolicyLag: must be at least 1, got 0"),
    (
        {"algorithm": {"name": "APPO"}, "mode": "Sync"},
        "spec.mode: must not be Sync beside A3C or APPO, the asynchronous variants of A2C and PPO",
    ),
    ({"learners": {"groups": 3}}, "spec.learners.groups: must be one of Auto, 1, 2, got 3"),
    ({"learners": {"groups": "2"}}, 'spec.learners.groups: must be one of Auto, 1, 2, got "2"'),
    (
        {"algorithm": {"name": "A2C"}, "learners": {"environments": 63, "groups": 2}},
        "spec.learners.environments: must be divisible by groups, got 63",
    ),
    (
        {"simulators": {"replicas": 65}},
        "spec.simulators.replicas: must be at most learners.replicas x learners.environments: "
        "a simulator without a slot has no work, got 65",
    ),
    (
        {"simulators": {"minReplicas": 9, "maxReplicas": 8}},
        "spec.simulators.minReplicas: must be at most maxReplicas, got 9",
    ),
    (
        {"simulators": {"minReplicas": 9, "maxReplicas": 12}},
        "spec.simulators.replicas: must be at least minReplicas, got 8",
    ),
    ({"simulators": {"minReplicas": 2}}, "spec.simulators.maxReplicas: must be given together with minReplicas"),
    (
        {"simulators": {"resources": {"limits": {"cpu": 0.5}}}},
        'spec.simulators.resources.limits.cpu: must be a quantity such as 2, "500m" or "4Gi", got 0.5; write "0.5"',
    ),
    (
        {"checkpoint": {"volume": {"claimName": "a", "source": {"emptyDir": {}}}}},
        "spec.checkpoint.volume: must have exactly one of claimName, claimTemplate and source",
    ),
    (
        {"managedBy": "kueue"},
        'spec.managedBy: must be a domain-prefixed name such as stepstream.dev/operator, got "kueue"',
    ),
    (
        {"learners": {"template": {"spec": {"restartPolicy": "Always"}}}},
        "spec.learners.template.spec.restartPolicy: is set by the operator; remove it",
    ),
    (
        {"simulators": {"template": {"spec": {"containers": [{"env": []}]}}}},
        "spec.simulators.template.spec.containers[0].name: required; entries are merged by their name",
    ),
    (
        {"simulators": {"template": {"spec": {"containers": [{"name": "s", "env": [{"name": "STEPSTREAM_HTTP"}]}]}}}},
        "spec.simulators.template.spec.containers[0].env[0].name: STEPSTREAM_* is the operator's, "
        'got "STEPSTREAM_HTTP"',
    ),
]


@pytest.mark.parametrize(("spec", "message"), REFUSED, ids=[message.split(":")[0] for _, message in REFUSED])
def test_wrong_input_is_refused_with_one_message_that_says_where_what_and_what_instead(
    spec: dict[str, Any], message: str
) -> None:
    assert message in refusals(job_manifest(spec))


def test_everything_that_is_wrong_is_said_at_once() -> None:
    manifest = job_manifest({"mode": "sync", "seed": "1", "learner": {}}, name="Pong")
    assert [line.split(":")[0] for line in refusals(manifest)] == [
        "metadata.name",
        "spec.learner",
        "spec.mode",
        "spec.seed",
    ]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("p" * 50, f'must be at most 40 characters, got "{"p" * 50}"'),
        ("Pong", "must be lower-case letters, digits and '-', starting with a letter and not ending with '-', got "),
        ("1pong", "must be lower-case letters, digits and '-', starting with a letter and not ending with '-', got "),
        ("", "must be lower-case letters, digits and '-', starting with a letter and not ending with '-', got "),
    ],
)
def test_a_name_must_be_fit_to_begin_host_names(name: str, problem: str) -> None:
    assert refusals(job_manifest(name=name))[0].startswith(f"metadata.name: {problem}")


def test_another_kind_is_refused_before_anything_else_is_looked_at() -> None:
    assert refusals({"apiVersion": "stepstream.dev/v1", "kind": "Job", "spec": 3}) == [
        'apiVersion: must be stepstream.dev/v1alpha1, got "stepstream.dev/v1"',
        'kind: must be TrainingJob, got "Job"',
    ]


@pytest.mark.parametrize("manifest", [None, 3, "TrainingJob", []])
def test_what_is_no_object_is_refused(manifest: object) -> None:
    assert refusals(manifest)[0].startswith("must be a TrainingJob, an object with apiVersion, kind and spec")


def test_the_shortest_useful_job_has_every_default() -> None:
    spec = make_job({"stopWhen": {"meanReturn": "18"}}).spec
    assert spec.mode is Mode.Auto
    assert spec.algorithm.parameters == PPOParameters()
    assert spec.learners.environments == 64
    assert spec.stop_when is not None
    assert spec.stop_when.mean_return_value == 18.0


@pytest.mark.parametrize(("name", "meant"), [("A3C", AlgorithmName.A2C), ("APPO", AlgorithmName.PPO)])
@pytest.mark.parametrize("mode", [{}, {"mode": "Auto"}, {"mode": "Async"}])
def test_the_papers_asynchronous_names_mean_their_algorithm_in_mode_async(
    name: str, meant: AlgorithmName, mode: dict[str, str]
) -> None:
    spec = make_job({"algorithm": {"name": name}, **mode}).spec
    assert (spec.algorithm.name, spec.mode) == (meant, Mode.Async)


@pytest.mark.parametrize("algorithm", [{"name": "PPO"}, {"name": "DQN"}])
@pytest.mark.parametrize(("replicas", "mode"), [(3, "Async"), (4, "Sync"), (4, "Auto")])
def test_learners_divide_batches_unless_each_learns_for_itself(
    algorithm: dict[str, str], replicas: int, mode: str
) -> None:
    assert make_job({"algorithm": algorithm, "mode": mode, "learners": {"replicas": replicas}}).spec.mode == mode


def test_appo_needs_no_batch_that_can_be_divided() -> None:
    assert make_job({"algorithm": {"name": "APPO"}, "learners": {"replicas": 3}}).spec.mode is Mode.Async


def test_an_integer_may_be_written_with_an_exponent() -> None:
    assert make_job({"totalSteps": 1e6}).spec.total_steps == 1_000_000


def test_a_null_stands_for_the_default_where_there_is_one() -> None:
    assert make_job({"seed": None, "learners": None}) == make_job()
    assert refusals(job_manifest({"stopWhen": None})) == ["spec.stopWhen: must not be null; leave it out"]
    of_ppo = {"algorithm": {"name": "PPO", "parameters": {"maxGradNorm": None}}}  # each algorithm has its own default
    assert refusals(job_manifest(of_ppo)) == ["spec.algorithm.parameters.maxGradNorm: must not be null; leave it out"]


def test_what_the_api_server_adds_to_metadata_is_not_in_the_way() -> None:
    manifest = job_manifest(resourceVersion="7", managedFields=[], creationTimestamp=None)
    assert parse_job({**manifest, "status": {"phase": "Running"}}).metadata.name == "pong"
