"""A throw-away certificate authority, client certificates and kubeconfigs for one control plane."""

from __future__ import annotations

import base64
import datetime
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = datetime.timedelta(days=2)
SERVER_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
SERVICE_ADDRESS = "10.96.0.1"


def _pem_key(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _name(common_name: str, organisation: str | None = None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)] if organisation else []
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    certificate: bytes
    key: bytes


class Authority:
    """Signs certificates and writes kubeconfigs into `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _name("test-ca")
        usage = x509.BasicConstraints(ca=True, path_length=None)
        builder = self._builder(self._subject, self._key.public_key()).add_extension(usage, critical=True)
        self.certificate = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        self.write("ca.crt", self.certificate)
        self.write("ca.key", _pem_key(self._key))

    def write(self, name: str, content: bytes) -> Path:
        path = self._directory / name
        path.write_bytes(content)
        path.chmod(0o600)
        return path

    def server(self, *addresses: str) -> None:
        """The API server's, for 127.0.0.1, the Service `kubernetes` and `addresses`."""
        self.serving("apiserver", "kube-apiserver", SERVER_NAMES, ("127.0.0.1", SERVICE_ADDRESS, *addresses))

    def serving(self, file: str, user: str, names: Iterable[str], addresses: Iterable[str]) -> None:
        """FILE.crt and FILE.key of a server."""
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        self.pair(file, self.sign(user, alternatives=alternatives))

    def pair(self, file: str, identity: Identity) -> None:
        self.write(f"{file}.crt", identity.certificate)
        self.write(f"{file}.key", identity.key)

    def service_account_key(self) -> None:
        self.write("sa.key", _pem_key(rsa.generate_private_key(public_exponent=65537, key_size=2048)))

    def kubeconfig(self, file: str, server: str, user: str, organisation: str | None = None) -> Path:
        identity = self.sign(user, organisation)
        return self.write(file, yaml.safe_dump(self._kubeconfig(server, identity)).encode())

    def client_pem(self, file: str, user: str, organisation: str | None = None) -> Path:
        """Certificate and key in one file, as OpenSSL's client side takes them."""
        identity = self.sign(user, organisation)
        return self.write(file, identity.certificate + identity.key)

    def sign(
        self, user: str, organisation: str | None = None, alternatives: list[x509.GeneralName] | None = None
    ) -> Identity:
        key = ec.generate_private_key(ec.SECP256R1())
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = self._builder(_name(user, organisation), key.public_key()).add_extension(uses, critical=False)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        return Identity(certificate=certificate, key=_pem_key(key))

    def _builder(self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + LIFETIME)
        )

    def _kubeconfig(self, server: str, identity: Identity) -> dict[str, object]:
        def encoded(data: bytes) -> str:
            return base64.b64encode(data).decode()

        cluster = {"server": server, "certificate-authority-data": encoded(self.certificate)}
        user = {
            "client-certificate-data": encoded(identity.certificate),
            "client-key-data": encoded(identity.key),
        }
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }
