"""Replay: the counterpart of a rollout for Q-learning. Unique frames; everything else is rebuilt when it is sampled.

    options = ReplayOptions(capacity_steps=1_000_000, num_slots=64, n_step=3, discount=0.99, seed=0,
                            priority=PriorityOptions(exponent=0.5))      # priority=None samples uniformly
    layout = FrameLayout(frame_shape=spaces.shape, dtype=spaces.dtype, network_input=observing.network_input)
    frames_device = place_frames(options, layout, precision.device)  # raises ReplayTooLargeError
    replay = Replay(options, layout, device=precision.device, frames_device=frames_device)

    replay.begin(slots, observation_n)        # first observations of these slots
    replay.append(slots, Outcomes(...))       # one row of a group's slots, after every further `Slots.wait_group`
    if len(replay) > 0:                       # steps that can be sampled
        sample = replay.sample(batch_size, draw_number, importance_exponent=0.4)
        replay.update_priorities(sample.index_N, priority_N)     # |TD error| or KL; alpha is applied inside

Rows: every slot b has a ring of L = capacity_steps // B rows, row k at position k mod L. A row is a frame and, once its
outcome is known, the step that left it. A frame that no known step left is *open*: the newest of a slot, the last of
a truncated episode (bootstrapped from, never sampled), and one whose outcome was lost with its simulator. So a
truncation takes one row more, and nothing lives outside the ring.

A checkpoint: `state_dict()` holds what is small (and the priorities); `chunk_versions()` says which parts of the ring
have changed since they were last written, `read_chunk(number)` copies one (about CHUNK_BYTES), `write_chunk(number,
arrays)` restores it. A chunk that no slot is writing (`settled_chunks()`) stays as it is until the ring comes round, so
a learner hands settled chunks to a writer between iterations, a few at a time, and at the checkpoint itself only the
rest. A learner that resumes without its replay begins `mid_episode=True`: until a slot has whole stacks again, its
steps are not sampled.

`invariants.violations(replay)` walks all of it and says what does not hold: nothing, unless there is a bug.

All of a replay belongs to one thread. Sampling is a function of (seed, draw number, what is stored).
"""

from stepstream_trainer.replay.layout import (
    FrameLayout,
    PriorityOptions,
    ReplayOptions,
    ReplayTooLargeError,
    ReplayTooSmallError,
    refuse_too_small,
    replay_bytes,
)
from stepstream_trainer.replay.memory import available_memory_bytes, place_frames
from stepstream_trainer.replay.replay import Replay, ReplaySample
from stepstream_trainer.replay.ring import Outcomes

__all__ = [
    "FrameLayout",
    "Outcomes",
    "PriorityOptions",
    "Replay",
    "ReplayOptions",
    "ReplaySample",
    "ReplayTooLargeError",
    "ReplayTooSmallError",
    "available_memory_bytes",
    "place_frames",
    "refuse_too_small",
    "replay_bytes",
]
