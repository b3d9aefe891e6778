"""The picture that is drawn of a dashboard where there is no Grafana."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from tests.support.dashboard_picture import draw, kept, worded
from tests.support.dashboards import DASHBOARDS, View, panels
from tests.support.prometheus import Labels, Points, Prometheus

JOB = next(path for path in DASHBOARDS if path.stem == "job")
CHOSEN = {"namespace": "games", "training_job": "pong"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Answering(Prometheus):
    """Has the same two series of everything but losses. Every variable must have been filled in."""

    def query_range(self, expression: str, *, start: float, end: float, step: float) -> list[tuple[Labels, Points]]:
        assert "$" not in expression
        if "stepstream_learner_loss" in expression:
            return []
        times = [start + at * step for at in range(10)]
        return [({"pod": pod}, [(at, at - start) for at in times]) for pod in ("pong-0", "pong-1")]


VIEW = View(prometheus=Answering(url=""), start=1_000_000.0, end=1_000_600.0, scrape_seconds=15.0)


def test_a_rate_is_taken_over_four_scrapes() -> None:
    assert VIEW.filled("rate(x[$__rate_interval])", {}) == "rate(x[60s])"


def test_every_panel_is_there_with_its_title_and_legend_and_says_where_it_has_no_data() -> None:
    figure = draw(json.loads(JOB.read_text()), VIEW, CHOSEN, without=["Replay"])
    titles = {axes.get_title(loc="left") for axes in figure.axes} - {""}
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    legends = {text.get_text() for axes in figure.axes if axes.get_legend() for text in axes.get_legend().get_texts()}
    replay = {"Steps in replay", "Times a step is learned from", "Age of samples", "Priorities", "Epsilon"}
    assert titles == {panel["title"] for panel in panels(JOB)} - replay
    assert texts.count("No data") == 1
    assert {"pong-0", "pong-1", "last episodes", "median", "99 %"} <= legends


def test_rows_that_are_left_out_leave_no_gap() -> None:
    whole = json.loads(JOB.read_text())["panels"]
    taken = [(panel["title"], panel["gridPos"]["y"]) for panel in kept(whole, ["Progress", "Replay"])]
    assert taken[0] == ("Where time goes", 0)
    heights = {panel["title"]: panel["gridPos"]["y"] for panel in whole}
    assert dict(taken)["Checkpoints"] == heights["Checkpoints"] - 13 - 17


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.25, "percentunit", "25%"),
        (0.0032, "s", "3.2 ms"),
        (90.0, "s", "1.5 min"),
        (0.0, "s", "0 s"),
        (1234.0, "short", "1.23 K"),
        (500.0, "none", "500"),
    ],
)
def test_values_are_told_in_the_panels_unit(value: float, unit: str, said: str) -> None:
    assert worded(value, unit) == said
