"""Opening and losing a real connection: certificates, keys, silence. Needs the lab's hosts."""

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.base import EndPoint, LibvirtConnection, SSHMaterial
from drivers.errors import AuthenticationFailed, Unreachable
from drivers.registry import open_endpoint
from lab.machines.lab import Machines
from tests.drivers.builders import until
from tests.drivers.kvm_backend import tls_of

pytestmark = pytest.mark.cloud


@pytest.fixture(scope="module")
def lab(bare_hosts: Machines) -> Machines:
    return bare_hosts


@pytest.fixture
def over_tls(lab: Machines) -> LibvirtConnection:
    return LibvirtConnection(host="node-1", uri=lab.host("node-1").uri, tls=tls_of(lab.pki_dir))


@pytest.fixture
def over_ssh(lab: Machines) -> LibvirtConnection:
    folder = lab.pki_dir / "ssh"
    ssh = SSHMaterial(private_key=(folder / "id_ed25519").read_text(), known_hosts=(folder / "known_hosts").read_text())
    return LibvirtConnection(host="node-1", uri=lab.host("node-1").ssh_uri, ssh=ssh)


@pytest.fixture
def frozen(lab: Machines) -> Iterator[threading.Event]:
    """Set it to freeze node-1's libvirtd; thawed afterwards."""
    host = lab.host("node-1")

    class Freeze(threading.Event):
        def set(self) -> None:
            host.freeze_libvirtd()
            super().set()

    yield Freeze()
    host.thaw_libvirtd()


def opened(wanted: LibvirtConnection) -> EndPoint:
    return open_endpoint(wanted, 10)


def keys_on_disk() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("stratiform-libvirt-*/*"))


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what other processes open meanwhile is not counted."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_tls_opens_and_leaves_no_key_on_disk(over_tls: LibvirtConnection) -> None:
    endpoint = opened(over_tls)
    assert endpoint.observe_host("node-1").hostname
    assert keys_on_disk() == set()
    endpoint.close()


def test_ssh_opens_with_the_hosts_key(over_ssh: LibvirtConnection) -> None:
    endpoint = opened(over_ssh)
    assert endpoint.observe_host("node-1").hostname
    endpoint.close()


def test_ssh_refuses_a_host_whose_key_is_another(over_ssh: LibvirtConnection, lab: Machines) -> None:
    assert over_ssh.ssh is not None
    lines = over_ssh.ssh.known_hosts.splitlines()
    swapped = f"{lab.host('node-1').address} {lines[1].split(' ', 1)[1]}"
    with pytest.raises(AuthenticationFailed, match="known_hosts"):
        opened(replace(over_ssh, ssh=replace(over_ssh.ssh, known_hosts=swapped)))


def test_ssh_refuses_a_host_that_is_not_known(over_ssh: LibvirtConnection) -> None:
    assert over_ssh.ssh is not None
    with pytest.raises(AuthenticationFailed):
        opened(replace(over_ssh, ssh=replace(over_ssh.ssh, known_hosts="")))


def test_a_host_signed_by_another_authority_is_refused(over_tls: LibvirtConnection, lab: Machines) -> None:
    with pytest.raises(AuthenticationFailed, match=r"ca\.crt"):
        opened(replace(over_tls, tls=tls_of(lab.foreign_pki_dir)))


def test_a_client_certificate_of_another_authority_is_refused(over_tls: LibvirtConnection, lab: Machines) -> None:
    assert over_tls.tls is not None
    mixed = replace(tls_of(lab.foreign_pki_dir), ca=over_tls.tls.ca)
    with pytest.raises(AuthenticationFailed):
        opened(replace(over_tls, tls=mixed))


def test_an_address_where_nothing_is_does_not_answer(over_tls: LibvirtConnection, lab: Machines) -> None:
    began = time.monotonic()
    with pytest.raises(Unreachable, match="node-1"):
        open_endpoint(replace(over_tls, uri=f"qemu+tls://{lab.prefix}250/system"), 2)
    assert time.monotonic() - began < 5


def test_a_port_where_nothing_listens_is_unreachable(over_tls: LibvirtConnection, lab: Machines) -> None:
    with pytest.raises(Unreachable, match="refused"):
        opened(replace(over_tls, uri=f"qemu+tls://{lab.host('node-1').address}:16999/system"))


def test_opening_a_frozen_host_gives_up_in_time_and_leaves_nothing(
    over_tls: LibvirtConnection, frozen: threading.Event
) -> None:
    frozen.set()
    began = time.monotonic()
    with pytest.raises(Unreachable, match="did not answer within 1 s"):
        open_endpoint(over_tls, 1)
    assert time.monotonic() - began < 3
    # The socket was shut under the stuck call: its thread ends although the host still stands still.
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("libvirt-open")])
    assert keys_on_disk() == set()


def test_opening_a_frozen_host_over_ssh_gives_up_in_time(over_ssh: LibvirtConnection, frozen: threading.Event) -> None:
    frozen.set()
    with pytest.raises(Unreachable, match="did not answer"):
        open_endpoint(over_ssh, 2)
    until(lambda: not [t for t in threading.enumerate() if t.name.startswith("libvirt-open")])


def descriptors() -> int:
    """Of libvirt's connections: each has one by which its threads wake each other."""
    found = 0
    for fd in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # Closed meanwhile.
            found += str(fd.readlink()) == "anon_inode:[eventfd]"
    return found


def test_a_closed_connection_leaves_nothing_open(over_tls: LibvirtConnection) -> None:
    """Found: libvirt kept each that had been subscribed to, with its memory and a file descriptor."""
    most = 0
    for _ in range(5):
        endpoint = opened(over_tls)
        endpoint.subscribe(lambda event: None)
        most = most or descriptors()
        endpoint.close()
    until(lambda: descriptors() < most)


def test_w6_a_frozen_host_is_noticed_and_a_pending_call_fails(
    over_tls: LibvirtConnection, frozen: threading.Event
) -> None:
    endpoint = opened(over_tls)
    frozen.set()
    began = time.monotonic()
    with pytest.raises(Unreachable):
        endpoint.list_instances("node-1")
    assert time.monotonic() - began < 14, "Ready=False is promised within 15 s"
    assert not endpoint.alive


def test_closing_towards_a_frozen_host_does_not_hang(over_tls: LibvirtConnection, frozen: threading.Event) -> None:
    endpoint = opened(over_tls)
    frozen.set()
    failed = threading.Event()

    def ask() -> None:
        with pytest.raises(Unreachable):
            endpoint.list_instances("node-1")
        failed.set()

    asking = threading.Thread(target=ask)
    asking.start()
    began = time.monotonic()
    endpoint.close()
    assert time.monotonic() - began < 3
    assert failed.wait(3), "the pending call fails with the connection"
    asking.join()
