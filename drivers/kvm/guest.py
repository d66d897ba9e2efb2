"""What a guest itself says: its console and its agent. Called by `endpoint.py`.

The console stream starts when it is opened: open it between StartPaused and Resume to see a boot from its first byte.
The host keeps the whole of it, bounded by virtlogd, in /var/log/libvirt/qemu/<uuid>-console.log.
"""

import ipaddress
import time
from collections.abc import Iterator
from typing import Any

import libvirt

from drivers.errors import Invalid
from drivers.kvm.checks import read_now
from drivers.kvm.connection import Connection
from drivers.kvm.facts import lookup
from drivers.kvm.volume_io import abort

_POLL = 0.1
_WOULD_BLOCK = -2


def console(connection: Connection, uuid: str) -> Iterator[bytes]:
    """Opens at once, then yields what is printed, and b"" about ten times a second while nothing is, so that a reader
    can give up. Ends when the guest does. One reader a guest; a later one takes the console over."""
    with connection.calling(f"open the console of instance {uuid}") as raw:
        domain = _domain(connection, raw, uuid)
        stream = raw.newStream(libvirt.VIR_STREAM_NONBLOCK)
        domain.openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
    return _read(connection, uuid, stream)


def _read(connection: Connection, uuid: str, stream: Any) -> Iterator[bytes]:
    try:
        while True:
            with connection.calling(f"read the console of instance {uuid}"):
                data = stream.recv(65536)
            if data == _WOULD_BLOCK:
                yield b""
                time.sleep(_POLL)
            elif data:
                yield data
            else:
                return
    finally:
        abort(stream)


def addresses(connection: Connection, uuid: str) -> tuple[str, ...]:
    """From the agent, without loopback and link-local; () when there is none. Blocks for the agent's answer, at most
    libvirt's own 5 s."""
    with connection.calling(f"ask the agent of instance {uuid}") as raw:
        domain = _domain(connection, raw, uuid)
        if not domain.isActive() or not read_now(domain).agent_connected:
            return ()
        try:
            interfaces = domain.interfaceAddresses(libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT)
        except libvirt.libvirtError as error:
            if error.get_error_code() in (libvirt.VIR_ERR_AGENT_UNRESPONSIVE, libvirt.VIR_ERR_AGENT_UNSYNCED):
                return ()
            raise
    found = [entry["addr"] for nic in (interfaces or {}).values() for entry in nic.get("addrs") or ()]
    return tuple(sorted({a for a in found if _is_useful(a)}))


def _is_useful(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return not (parsed.is_loopback or parsed.is_link_local)


def _domain(connection: Connection, raw: Any, uuid: str) -> Any:
    domain = lookup(raw, uuid)
    if domain is None:
        raise Invalid(f"Host {connection.host}: instance {uuid} is not defined there")
    return domain
