"""mTLS between a job's own pods: a certificate authority of the job, and a certificate for each role.

A pod of another job has no certificate that this job's learner accepts. The roles' certificates are renewed with every
attempt, and before they expire while one lasts; the authority stays, so that simulators which live through a restart of
the learners, and see renewed files only minutes later, are understood all the while. Its key lies in the Secret too and
is mounted nowhere.
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from stepstream_trainer.config.contract import TLS_LEARNER

# Longer than most runs; a leaked key is of no use for longer than a quarter.
LIFETIME = datetime.timedelta(days=90)
# A kubelet carries a changed Secret into pods within minutes; a month leaves ample time for an operator that is down.
RENEW_BEFORE = datetime.timedelta(days=30)
# Longer than any job; a leaf never outlives it.
AUTHORITY_LIFETIME = datetime.timedelta(days=3650)
# Clocks of nodes differ.
BACKDATED = datetime.timedelta(hours=1)
LEAVES = (TLS_LEARNER, "simulator")


@dataclass(frozen=True, kw_only=True, slots=True)
class Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def new(cls, job_uid: str, now: datetime.datetime) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(f"stepstream-job-{job_uid}")
        builder = _builder(subject, subject, key.public_key(), now, AUTHORITY_LIFETIME)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        return cls(certificate=builder.sign(key, hashes.SHA256()), key=key)

    @classmethod
    def read(cls, secret_data: Mapping[str, str]) -> Authority | None:
        """The one that a Secret's `data` holds; None where it holds none that can be read and used."""
        pair = _read_pair(secret_data, "ca")
        return cls(certificate=pair[0], key=pair[1]) if pair else None

    def vouches_for(self, certificate: x509.Certificate) -> bool:
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (InvalidSignature, TypeError, ValueError):
            return False
        return True

    def issue(self, role: str, now: datetime.datetime) -> dict[str, str]:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _leaf(role, key, self.certificate.subject, now)
        return {f"{role}.crt": _pem(builder.sign(self.key, hashes.SHA256())), f"{role}.key": _pem_key(key)}


def certificate_data(job_uid: str, now: datetime.datetime, previous: Mapping[str, str]) -> dict[str, str]:
    """A Secret's `data`: ca.crt and ca.key, kept from `previous` where it has them, and fresh files of both roles."""
    authority = Authority.read(previous) or Authority.new(job_uid, now)
    files = {"ca.crt": _pem(authority.certificate), "ca.key": _pem_key(authority.key)}
    for role in LEAVES:
        files |= authority.issue(role, now)
    return {name: base64.b64encode(text.encode()).decode() for name, text in files.items()}


def expires_at(secret_data: Mapping[str, str]) -> datetime.datetime | None:
    """When the earlier of the roles' certificates ends. None where a file is missing, or does not fit the others."""
    authority = Authority.read(secret_data)
    leaves = [pair[0] for role in LEAVES if (pair := _read_pair(secret_data, role)) and pair[0].subject == _name(role)]
    if authority is None or len(leaves) < len(LEAVES) or not all(map(authority.vouches_for, leaves)):
        return None
    return min(leaf.not_valid_after_utc for leaf in leaves)


def must_renew(secret_data: Mapping[str, str], now: datetime.datetime) -> bool:
    end = expires_at(secret_data)
    return end is None or now >= end - RENEW_BEFORE


def _read_pair(secret_data: Mapping[str, str], name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None:
    """A certificate and its key; None where they cannot be read or are not of each other."""
    try:
        certificate = x509.load_pem_x509_certificate(base64.b64decode(secret_data[f"{name}.crt"]))
        key = serialization.load_pem_private_key(base64.b64decode(secret_data[f"{name}.key"]), password=None)
    except (KeyError, ValueError, TypeError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
        return None
    return certificate, key


def _leaf(
    role: str, key: ec.EllipticCurvePrivateKey, issuer: x509.Name, now: datetime.datetime
) -> x509.CertificateBuilder:
    usage = ExtendedKeyUsageOID.SERVER_AUTH if role == TLS_LEARNER else ExtendedKeyUsageOID.CLIENT_AUTH
    names = x509.SubjectAlternativeName([x509.DNSName(role)])  # the role, wherever its pod runs
    return (
        _builder(_name(role), issuer, key.public_key(), now, LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        # Learners also dial each other.
        .add_extension(x509.ExtendedKeyUsage({usage, ExtendedKeyUsageOID.CLIENT_AUTH}), critical=False)
        .add_extension(names, critical=False)
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    lifetime: datetime.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + lifetime)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _pem_key(key: ec.EllipticCurvePrivateKey) -> str:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()
