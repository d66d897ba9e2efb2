"""What a libvirt URI may be. No host is asked."""

import tempfile
from pathlib import Path

import pytest

from drivers.base import LibvirtConnection, SSHMaterial, TLSMaterial
from drivers.errors import Invalid, Unreachable
from drivers.kvm.credentials import PrivateDirectory, parse
from drivers.registry import open_endpoint

TLS = TLSMaterial(ca="ca text", certificate="certificate text", key="key text")
SSH = SSHMaterial(private_key="private text", known_hosts="node-1 ssh-ed25519 AAAA")


def connection(uri: str, plaintext: bool = False, credentials: bool = True) -> LibvirtConnection:
    tls, ssh = (TLS, SSH) if credentials else (None, None)
    return LibvirtConnection(host="node-1", uri=uri, tls=tls, ssh=ssh, allow_plaintext=plaintext)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("qemu+tcp://node-1/system", "allowPlaintext"),
        ("qemu:///system", "qemu\\+tls"),
        ("test:///default", "qemu\\+tls"),
        ("xen+tls://node-1/", "qemu\\+tls"),
        ("qemu+tls:///system", "needs a host"),
        ("qemu+tls://node-1/session", "/system"),
        ("qemu+tls://node-1:99999/system", "uri"),
        ("qemu+ssh://node-1/system?command=/bin/sh", "parameters"),
        ("qemu+tls://node-1/system?pkipath=/etc/pki", "parameters"),
        ("qemu+tls://node-1/system?no_verify=1", "parameters"),
        ("qemu+ssh://root:secret@node-1/system", "passwords"),
    ],
)
def test_it_is_refused_and_the_field_is_named(uri: str, says: str) -> None:
    with pytest.raises(Invalid, match=says) as refusal:
        open_endpoint(connection(uri), 1)
    assert "node-1: spec.connection.libvirt.uri" in str(refusal.value)


@pytest.mark.parametrize("uri", ["qemu+tls://node-1/system", "qemu+ssh://root@node-1/system"])
def test_missing_credentials_name_the_secret(uri: str) -> None:
    with pytest.raises(Invalid, match="SecretRef"):
        open_endpoint(connection(uri, credentials=False), 1)


def test_a_host_that_does_not_resolve_is_said_so() -> None:
    with pytest.raises(Unreachable, match=r"no-such-host\.invalid.*does not resolve"):
        open_endpoint(connection("qemu+tls://no-such-host.invalid/system"), 5)


def test_credentials_lie_in_a_private_directory_and_go() -> None:
    wanted = connection("qemu+tls://node-1/system")
    directory = PrivateDirectory(wanted, parse(wanted))
    modes = {path.name: path.stat().st_mode & 0o777 for path in directory.path.iterdir()}
    assert modes == {"cacert.pem": 0o600, "clientcert.pem": 0o600, "clientkey.pem": 0o600}
    assert directory.path.stat().st_mode & 0o777 == 0o700
    assert directory.uri == f"qemu+tls://node-1:16514/system?pkipath={directory.path}"
    directory.remove()
    directory.remove()
    assert not directory.path.exists()


def test_ssh_trusts_the_given_host_keys_alone() -> None:
    wanted = connection("qemu+ssh://admin@[fd00::1]:2222/system")
    directory = PrivateDirectory(wanted, parse(wanted))
    wrapper = (directory.path / "ssh").read_text()
    assert f"UserKnownHostsFile={directory.path / 'known_hosts'}" in wrapper
    assert "StrictHostKeyChecking=yes" in wrapper
    assert directory.uri.startswith("qemu+ssh://admin@[fd00::1]:2222/system?keyfile=")
    assert (directory.path / "key").stat().st_mode & 0o777 == 0o600
    directory.remove()


def test_secrets_are_in_no_repr() -> None:
    text = repr(connection("qemu+tls://node-1/system"))
    assert "key text" not in text
    assert "private text" not in text


def test_what_a_dead_process_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / "stratiform-libvirt-999999999"
    left.mkdir()
    (left / "clientkey.pem").write_text("key")
    wanted = connection("qemu+tls://node-1/system")
    directory = PrivateDirectory(wanted, parse(wanted))
    assert not left.exists()
    directory.remove()
