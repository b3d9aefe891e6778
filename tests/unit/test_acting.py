"""Acting apart from learning: always by whole parameters, the newest there are, and by their version."""

from __future__ import annotations

import threading

import torch
from torch import nn

from stepstream_trainer.algorithms.flat import FlatParameters
from stepstream_trainer.learner.acting import Actor, Copy, Published

CPU = torch.device("cpu")


def parameters() -> FlatParameters:
    return FlatParameters(nn.Linear(500, 500), CPU)


def test_what_was_published_last_is_acted_by() -> None:
    learning, acting = parameters(), parameters()
    published = Published(learning)
    for version in (1, 2, 3):
        learning.values.fill_(version)
        published.publish(learning, version)
        if version != 2:  # one is passed over
            assert published.fetch(acting) == version
            assert acting.values.unique().tolist() == [version]
    before = acting.version
    assert published.fetch(acting) == 3
    assert acting.version == before, "what is not new is not copied"


def test_parameters_are_never_of_two_versions_whoever_is_faster() -> None:
    learning, acting = parameters(), parameters()
    learning.values.fill_(0)
    published, last = Published(learning), 3000

    def learn() -> None:
        for version in range(1, last + 1):
            learning.values.fill_(version)
            published.publish(learning, version)

    thread = threading.Thread(target=learn)
    thread.start()
    seen = [0]
    while seen[-1] < last:
        version = published.fetch(acting)
        assert version >= seen[-1], "never back to older ones"
        if version:
            assert (acting.values == version).all()
        seen.append(version)
    thread.join()


def test_the_copy_acts_only_while_acting_goes_on_apart() -> None:
    learning, acting = parameters(), parameters()
    actor = Actor("learning", Copy(policy="copy", flat=acting, learning=learning))
    actor.publish(4)
    assert actor.newest() == ("learning", 4)
    learning.values.fill_(7)
    actor.act_apart(True)
    assert actor.newest() == ("copy", 4)
    assert (acting.values == 7).all(), "it begins by what was learned until then"
    learning.values.fill_(8)
    assert actor.newest() == ("copy", 4)
    assert (acting.values == 7).all(), "what is being learned is not acted by before it is published"
    actor.publish(5)
    assert actor.newest() == ("copy", 5)
    assert (acting.values == 8).all()
    actor.act_apart(False)
    assert actor.newest() == ("learning", 5)
