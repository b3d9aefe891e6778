"""Mutual TLS between the processes of one job: both ends present a certificate of the job's own authority.

Files are read anew for every connection, since they are renewed while a job runs.
"""

from __future__ import annotations

from pathlib import Path

import grpc

from stepstream_trainer.config.contract import TLS_LEARNER
from stepstream_trainer.logs import get_log

_log = get_log("tls")


def server_credentials(directory: Path) -> grpc.ServerCredentials:
    """Refuses whoever has no certificate of the authority. Raises OSError when a file cannot be read."""
    files = _server_files(directory)

    def newest() -> grpc.ServerCertificateConfiguration:
        nonlocal files
        try:
            files = _server_files(directory)
        except OSError as error:
            _log.warning("certificates_unreadable", reason=error, hint="those read before serve on")
        return files

    return grpc.dynamic_ssl_server_credentials(files, newest, require_client_authentication=True)


def channel_credentials(directory: Path) -> grpc.ChannelCredentials:
    """The client's side. Raises OSError when a file cannot be read."""
    authority, certificate, key = _read(directory)
    return grpc.ssl_channel_credentials(authority, key, certificate)


def channel_options() -> tuple[tuple[str, str], ...]:
    """Whoever answers must be a learner by its certificate; the address, a pod's or a socket's, need not be in it."""
    return (("grpc.ssl_target_name_override", TLS_LEARNER),)


def _server_files(directory: Path) -> grpc.ServerCertificateConfiguration:
    authority, certificate, key = _read(directory)
    return grpc.ssl_server_certificate_configuration([(key, certificate)], authority)


def _read(directory: Path) -> tuple[bytes, bytes, bytes]:
    authority, certificate, key = ((directory / name).read_bytes() for name in ("ca.crt", "tls.crt", "tls.key"))
    return authority, certificate, key
