"""Where a learner's gRPC servers listen."""

from __future__ import annotations

from pathlib import Path

import grpc

from stepstream_trainer.http import CannotListenError, remove_stale_socket
from stepstream_trainer.tls import server_credentials


def listen(server: grpc.Server, address: str, tls_directory: Path | None) -> None:
    """Raises CannotListenError, or OSError when a certificate cannot be read."""
    credentials = server_credentials(tls_directory) if tls_directory else None
    try:
        if address.startswith("unix:"):
            remove_stale_socket(address.removeprefix("unix:"))  # gRPC would take it over, in use or not
        bound = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    except (OSError, RuntimeError) as error:
        raise CannotListenError(_in_use(address)) from error
    if bound == 0:
        raise CannotListenError(_in_use(address))


def _in_use(address: str) -> str:
    return f"cannot listen on {address}: it is in use by another process, or not an address of this machine"
