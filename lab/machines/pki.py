"""Certificates and SSH keys of a lab: an authority, a server and client pair per host, the operator's client pair.

Called by `lab.py` (the authority and the operator's pair, before anything starts) and by `host.py`. The `foreign`
authority is one that no host knows: tests show with it that a wrong certificate is refused.
"""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFETIME = datetime.timedelta(days=3650)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM."""

    certificate: str
    key: str


@dataclass(frozen=True)
class SshPair:
    """A private key in OpenSSH's format and its public half as one line."""

    private: str
    public: str


class Authority:
    """A certificate authority kept in a folder; made at first use."""

    def __init__(self, folder: Path, name: str) -> None:
        key_file, certificate_file = folder / "cakey.pem", folder / "cacert.pem"
        if not certificate_file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            pair = _self_signed(name)
            write_private(key_file, pair.key)
            certificate_file.write_text(pair.certificate)
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key
        self._certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        self.certificate = certificate_file.read_text()

    def issue(self, name: str, address: str | None = None, server: bool = False) -> Pair:
        """A new pair that may be a client, and with `server` a server reached by this name or address."""
        key = ec.generate_private_key(ec.SECP256R1())
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if server else [])]
        builder = _builder(name, self._certificate.subject, key)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        # libvirtd does not start unless key encipherment is among the uses, though elliptic curves never need it.
        builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
        if address is not None:
            names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address(address))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return _pair(builder.sign(self._key, hashes.SHA256()), key)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)


def write_flat(folder: Path, authority: Authority, client: Pair) -> None:
    """Write the flat folder that a libvirt URI names as `pkipath`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "clientcert.pem").write_text(client.certificate)
    write_private(folder / "clientkey.pem", client.key)
    (folder / "cacert.pem").write_text(authority.certificate)


def ssh_pair(path: Path) -> SshPair:
    """The SSH key kept at this path (its public half beside it, `.pub`); made at first use."""
    public_file = path.with_name(path.name + ".pub")
    if not public_file.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        key = ed25519.Ed25519PrivateKey.generate()
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        write_private(path, private.decode())
        public_file.write_text(public.decode() + "\n")
    return SshPair(path.read_text(), public_file.read_text().strip())


def _self_signed(name: str) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(name, subject, key)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    return _pair(builder.sign(key, hashes.SHA256()), key)


def _builder(name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + _LIFETIME)
    )


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=not signs_certificates,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Pair(certificate.public_bytes(serialization.Encoding.PEM).decode(), pem.decode())
