"""Mutual TLS between the processes of one job: both ends present a certificate of the job's own authority."""

from __future__ import annotations

from pathlib import Path

import grpc

SERVER_NAME = "learner"
"""Name that every learner's certificate holds, so that its address (a pod, a socket) need not be in it."""


def server_credentials(directory: Path) -> grpc.ServerCredentials:
    """Refuses whoever has no certificate of the authority. Raises OSError when a file cannot be read."""
    authority, certificate, key = _read(directory)
    return grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=True)


def channel_credentials(directory: Path) -> grpc.ChannelCredentials:
    """The client's side. Raises OSError when a file cannot be read."""
    authority, certificate, key = _read(directory)
    return grpc.ssl_channel_credentials(authority, key, certificate)


def _read(directory: Path) -> tuple[bytes, bytes, bytes]:
    authority, certificate, key = ((directory / name).read_bytes() for name in ("ca.crt", "tls.crt", "tls.key"))
    return authority, certificate, key
