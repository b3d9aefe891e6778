"""How many simulators a job should have, from what its learners and simulators wait for.

    learners starve   (wait for rows above STARVING of their time)    -> a quarter more, once all asked for are ready,
                      unless simulators stand still above STANDING of theirs: then it is not for them that learners wait
    simulators wait   (wait for actions above IDLE of their time)     -> a tenth fewer
    in between                                                        -> as they are

The two thresholds lie apart and a change is followed by a rest, so that the number settles instead of swinging.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

# A learner that waits a tenth of its time loses a tenth of its speed; below that, more simulators cost more than they
# bring.
STARVING = 0.10
# Simulators of alternating groups wait about half their time where learner and simulators are matched.
IDLE = 0.70
# A simulator that steps for less than a fifth of the time is not what holds up a learner: the way there and back is,
# and the learner's own work. More of them would stand still even longer.
STANDING = 0.80
GROW = 1.25
SHRINK = 0.9
# New pods need seconds to start and slots move at episode ends: the effect must be seen before the next step.
REST_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """Fractions of time, 0 to 1, averaged over the learners."""

    learner: float
    simulator: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    minimum: int
    maximum: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaling:
    replicas: int
    reason: str


def decide_simulators(replicas: int, ready: int, limits: Limits, waiting: Waiting) -> Scaling | None:
    """The new number and why, or None where it should stay: what no node has room for is not asked for again."""
    starve = waiting.learner > STARVING and waiting.simulator <= STANDING
    if starve and replicas < limits.maximum and ready >= replicas:
        wanted = min(limits.maximum, max(replicas + 1, math.floor(replicas * GROW)))
        return Scaling(replicas=wanted, reason=f"learners wait {waiting.learner:.0%} of their time for simulators")
    if waiting.learner <= STARVING / 2 and waiting.simulator > IDLE and replicas > limits.minimum:
        wanted = max(limits.minimum, min(replicas - 1, math.ceil(replicas * SHRINK)))
        return Scaling(replicas=wanted, reason=f"simulators wait {waiting.simulator:.0%} of their time for learners")
    return None
