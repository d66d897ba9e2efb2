"""Certificates and kubeconfigs of a lab's control plane, made anew for each lab.

Called by lab.controlplane.cluster at `up`. One authority signs the API server's certificate and the clients' ones; the
operator's client certificate names its service account, so that the chart's RBAC binds it without a pod.
"""

import base64
import datetime
import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

OPERATOR_NAMESPACE = "stratiform-system"
OPERATOR_ACCOUNT = "stratiform"
VALID_DAYS = 3650


@dataclass(frozen=True)
class Pair:
    """A private key and its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def write_all(folder: Path, url: str, admin: Path, operator: Path) -> None:
    """Write CA, server and service-account keys into `folder`, and the two kubeconfigs. Takes about 0.2 s.

    Not idempotent: every call makes new keys. server.crt is written last, so a half-written folder is seen as such.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = _authority()
    server = _signed(authority, "kube-apiserver", server=True)
    administrator = _signed(authority, "stratiform-lab-admin", groups=("system:masters",))
    account = _signed(
        authority,
        f"system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR_ACCOUNT}",
        groups=("system:serviceaccounts", f"system:serviceaccounts:{OPERATOR_NAMESPACE}"),
    )
    manager = _signed(authority, "system:kube-controller-manager")
    scheduler = _signed(authority, "system:kube-scheduler")
    _write(admin, _kubeconfig(url, authority, administrator))
    _write(operator, _kubeconfig(url, authority, account))
    _write(folder / "controller-manager.kubeconfig", _kubeconfig(url, authority, manager))
    _write(folder / "scheduler.kubeconfig", _kubeconfig(url, authority, scheduler))
    _write(folder / "ca.crt", authority.certificate_pem())
    _write(folder / "admin.crt", administrator.certificate_pem())
    _write(folder / "admin.key", administrator.key_pem())
    _write(folder / "service-account.key", _service_account_key())
    _write(folder / "server.key", server.key_pem())
    _write(folder / "server.crt", server.certificate_pem())


def _authority() -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stratiform-lab")])
    builder = (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(True, False, False, False, False, True, True, False, False),
            critical=True,
        )
    )
    return Pair(key, builder.sign(key, hashes.SHA256()))


def _signed(authority: Pair, name: str, groups: tuple[str, ...] = (), server: bool = False) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        + [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
    usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = _builder(subject, authority.certificate.subject, key.public_key()).add_extension(
        x509.ExtendedKeyUsage([usage]), critical=False
    )
    if server:
        names = [x509.DNSName("localhost"), x509.DNSName("kubernetes.default.svc")]
        address = x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))
        builder = builder.add_extension(x509.SubjectAlternativeName([*names, address]), critical=False)
    return Pair(key, builder.sign(authority.key, hashes.SHA256()))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
    )


def _service_account_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _kubeconfig(url: str, authority: Pair, client: Pair) -> bytes:
    """JSON, which is YAML too."""

    def text(data: bytes) -> str:
        return base64.b64encode(data).decode()

    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "lab",
                "cluster": {"server": url, "certificate-authority-data": text(authority.certificate_pem())},
            }
        ],
        "users": [
            {
                "name": "lab",
                "user": {
                    "client-certificate-data": text(client.certificate_pem()),
                    "client-key-data": text(client.key_pem()),
                },
            }
        ],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        "current-context": "lab",
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def _write(path: Path, data: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(data)
