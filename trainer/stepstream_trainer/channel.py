"""gRPC settings that both ends of a stream share."""

from __future__ import annotations

MAX_MESSAGE_BYTES = 256 << 20
"""A message holds one newest observation a slot of a lease; 1,024 colour frames of 256 x 256 are 192 MiB."""

_FRAME_BYTES = 4 << 20
"""HTTP/2's largest useful frame here: a group's batch in one piece instead of hundreds."""

_COMMON = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.http2.max_frame_size", _FRAME_BYTES),
    ("grpc.http2.lookahead_bytes", _FRAME_BYTES),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
)
"""A peer that vanished without a word is noticed within 15 s."""

CHANNEL_OPTIONS = (*_COMMON, ("grpc.keepalive_permit_without_calls", 1), ("grpc.use_local_subchannel_pool", 1))
SERVER_OPTIONS = (*_COMMON, ("grpc.http2.min_ping_interval_without_data_ms", 5_000), ("grpc.so_reuseport", 0))
