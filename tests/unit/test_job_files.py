"""Job files are read as kubectl reads them; errors carry file and line, or the override that caused them."""

from pathlib import Path

import pytest

from stepstream_operator.api import load_job
from stepstream_operator.api.types import Resources
from stepstream_trainer.config import ConfigurationErrors

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
JOB = """\
apiVersion: stepstream.dev/v1alpha1
kind: TrainingJob
metadata: {name: pong}
spec:
  environment: {id: ALE/Pong-v5}
  algorithm: {name: PPO}
"""


def refusal(source: str | Path, *overrides: str) -> str:
    with pytest.raises(ConfigurationErrors) as refused:
        load_job(source, overrides)
    return str(refused.value)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_a_job(path: Path) -> None:
    assert load_job(path).spec.total_steps > 0


def test_there_are_examples() -> None:
    assert "pong-ppo.yaml" in [path.name for path in EXAMPLES]


def test_an_error_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "pong.yaml"
    path.write_text(JOB + "  simulators:\n    replicas: 0\n")
    assert refusal(path) == f"{path}:8: spec.simulators.replicas: must be at least 1, got 0"


def test_an_error_about_what_is_missing_names_the_line_of_the_object_around_it() -> None:
    assert refusal(JOB + "  stopWhen:\n    episodes: 10\n").startswith("job:7: spec.stopWhen.meanReturn: required")


def test_a_number_beyond_all_bounds_is_out_of_bounds() -> None:
    assert "spec.totalSteps: must be at most" in refusal(JOB + f"  totalSteps: {'9' * 400}\n")
    assert "learningRate: must be a number" in refusal(
        JOB.replace("{name: PPO}", f"{{name: PPO, parameters: {{learningRate: {'9' * 400}}}}}")
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (JOB + "  seed: 1\n  seed: 2\n", "job:8: seed is given twice"),
        (JOB + "  : : :\n", "job:7: is not YAML: "),
        (JOB + "  seed: [1\n", "job:8: is not YAML: "),
        (JOB + "---\n" + JOB, "job: must hold one TrainingJob, holds 2 documents"),
        ("\n", "job: must hold one TrainingJob, holds 0 documents"),
        (JOB + "  seed: \x00\n", "job: is not YAML: "),
        (JOB + "  seed: {{ seed }}\n", "job:7: a name must be a plain word"),
        (JOB + "  ? [a]\n  : 1\n", "job:7: a name must be a plain word"),
        (JOB + "  seed: &again [*again]\n", "job: is nested too deeply, or refers to itself"),
        (JOB + "  seed: !!int abc\n", "job: is not YAML: "),
        (JOB + "  seed: !!timestamp 2020\n", "job: is not YAML: "),
        (JOB + f"  seed: {'9' * 5000}\n", "job: is not YAML: "),
    ],
)
def test_text_that_is_not_one_yaml_document_is_refused(text: str, message: str) -> None:
    assert refusal(text).startswith(message)


def test_what_is_merged_in_gives_way_to_what_is_given() -> None:
    resources = "{resources: &few {limits: {cpu: 2}, requests: {cpu: 1}}}"
    job = load_job(JOB + f"  learners: {resources}\n  simulators: {{resources: {{<<: *few, requests: {{cpu: 2}}}}}}\n")
    assert job.spec.learners.resources == Resources(limits={"cpu": 2}, requests={"cpu": 1})
    assert job.spec.simulators.resources == Resources(limits={"cpu": 2}, requests={"cpu": 2})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.yaml") == f"{tmp_path}/none.yaml: cannot be read: No such file or directory"


def test_overrides_are_read_as_yaml_and_win() -> None:
    job = load_job(JOB, ["spec.simulators.replicas=2", "spec.totalSteps=1e6", 'spec.stopWhen.meanReturn="18"'])
    assert (job.spec.simulators.replicas, job.spec.total_steps) == (2, 1_000_000)
    assert job.spec.stop_when is not None


def test_an_override_without_a_value_removes_the_field() -> None:
    assert load_job(JOB + "  seed: 7\n", ["spec.seed="]).spec.seed == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("spec.simulators.replicas=0", "spec.simulators.replicas: must be at least 1, got 0"),
        ("spec.simulator.replicas=2", "spec.simulator: unknown field; did you mean simulators?"),
        ("spec.seed=[", "spec.seed: is not YAML: "),
        ("spec.algorithm.name.x=1", "spec.algorithm.name.x: cannot be set: what is around it is not an object"),
        ("replicas=2", "must be spec.<field>=<value>, such as spec.learners.replicas=2"),
        ("spec.seed", "must be spec.<field>=<value>, such as spec.learners.replicas=2"),
    ],
)
def test_a_wrong_override_is_named_as_it_was_written(override: str, message: str) -> None:
    assert refusal(JOB, override).startswith(f"--set {override}: {message}")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("2030-01-01", "2030-01-01"), ("1:30", "1:30"), ("1_000", 1000), ("yes", True), (".5", 0.5)],
)
def test_scalars_are_read_as_kubectl_reads_them(text: str, value: object) -> None:
    job = load_job(JOB, [f"spec.environment.kwargs.x={text}"])
    assert job.spec.environment.kwargs["x"] == value
    assert type(job.spec.environment.kwargs["x"]) is type(value)
