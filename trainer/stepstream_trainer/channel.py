"""gRPC settings and time limits that both ends of a stream share."""

from typing import Final

MAX_MESSAGE_BYTES: Final = 256 << 20
"""A message carries an observation, and perhaps a final one, for each slot of a lease; leases are cut to fit."""

HEARTBEAT_SECONDS: Final = 5.0
"""How often a learner that has nothing to say says so."""

SILENCE_SECONDS: Final = 30.0
"""A learner that said nothing for so long is gone, and its simulators look for it anew."""

ROWS_SECONDS: Final = 120.0
"""A simulator that did not answer for so long hangs: its slots go to others. A step of the slowest environments we know
of, times the lanes of a lease, takes seconds."""

REPLAY_SECONDS_A_STEP: Final = 0.05
"""What a replayed step of a whole lease may take on top; Atari needs a tenth of it with 32 lanes on one core."""

_FRAME_BYTES: Final = 4 << 20
"""HTTP/2 frame: a group's batch in one piece instead of hundreds of 16 KiB."""

_COMMON = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.http2.max_frame_size", _FRAME_BYTES),
    ("grpc.http2.lookahead_bytes", _FRAME_BYTES),
    # A peer that vanished without a word is noticed within 15 s.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)

CHANNEL_OPTIONS = (
    *_COMMON,
    # Each stream has a connection of its own, and each attempt to connect begins at once: the back-off is ours.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
)
SERVER_OPTIONS = (
    *_COMMON,
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.so_reuseport", 0),  # a port in use is an error
)


def rows_seconds(replayed: int = 0) -> float:
    """What a simulator gets for a step, and for as many more before it as it has to make again."""
    return ROWS_SECONDS + replayed * REPLAY_SECONDS_A_STEP
