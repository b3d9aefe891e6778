"""Which of a learner's failures are wrong input, never to be tried again, and which are accidents."""

from types import SimpleNamespace
from typing import cast

import pytest

from stepstream_trainer.config import contract
from stepstream_trainer.learner.__main__ import run
from stepstream_trainer.learner.assembly import Learner
from stepstream_trainer.learner.board import RankLostError, RanksMissingError
from stepstream_trainer.learner.loop import Outcome
from stepstream_trainer.replay import ReplayTooLargeError


def learner_that(fails: Exception | None = None, outcome: Outcome = Outcome.FINISHED) -> Learner:
    def train() -> Outcome:
        if fails is not None:
            raise fails
        return outcome

    return cast(Learner, SimpleNamespace(run=train))


@pytest.mark.parametrize(
    ("outcome", "code"), [(Outcome.FINISHED, contract.EXIT_DONE), (Outcome.INTERRUPTED, contract.EXIT_RESUME)]
)
def test_the_exit_code_says_whether_there_is_more_to_do(outcome: Outcome, code: int) -> None:
    assert run(learner_that(outcome=outcome)) == code


@pytest.mark.parametrize("accident", [OSError("stale file handle"), KeyError("optimiser")])
def test_an_accident_on_the_way_leaves_with_its_traceback_and_is_tried_again(accident: Exception) -> None:
    with pytest.raises(type(accident)):
        run(learner_that(accident))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RankLostError("learner 1 has been silent for 30 s"), contract.EXIT_RESUME),
        (RanksMissingError("learner 1 of 2 did not come within 600 s"), contract.EXIT_FAILED),
    ],
)
def test_only_the_learner_that_failed_counts_and_one_that_never_comes_is_a_failure(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(learner_that(error)) == code
    assert capsys.readouterr().err.splitlines()[-1] == str(error)


def test_a_replay_that_does_not_fit_is_wrong_input_whenever_it_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(learner_that(ReplayTooLargeError("1,000 steps would fit"))) == contract.EXIT_INVALID
    assert capsys.readouterr().err.splitlines()[-1] == "1,000 steps would fit"
