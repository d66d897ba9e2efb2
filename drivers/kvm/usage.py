"""Which domains of this host name which files. Asked before a disk is deleted or a pool goes (safety.md D1).

Reads every domain's definitions anew, ours and others', with the backing files that libvirt knows of running ones.
"""

from dataclasses import dataclass

import libvirt

from drivers.kvm.connection import Connection
from drivers.kvm.failure import is_absent
from drivers.kvm.xml import Element, parse

_ATTRIBUTES = ("file", "dev", "name")


@dataclass(frozen=True, slots=True)
class _User:
    uuid: str
    title: str
    active: bool
    paths: frozenset[str]


class Usage:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def users(self) -> dict[str, tuple[str, ...]]:
        """Path → UUIDs of the domains, running or not, that name it."""
        found: dict[str, list[str]] = {}
        for user in self._read():
            for path in user.paths:
                found.setdefault(path, []).append(user.uuid)
        return {path: tuple(sorted(set(uuids))) for path, uuids in found.items()}

    def users_in(self, folder: str, running_only: bool) -> list[str]:
        """Names of the domains with a file directly in `folder`."""
        return sorted(
            u.title
            for u in self._read()
            if (u.active or not running_only) and any(p.rpartition("/")[0] == folder for p in u.paths)
        )

    def is_running_on(self, path: str) -> bool:
        return any(u.active and path in u.paths for u in self._read())

    def _read(self) -> list[_User]:
        found = []
        with self._connection.calling("list which disks are in use") as raw:
            for domain in raw.listAllDomains(0):
                try:
                    active = bool(domain.isActive())
                    paths = _paths(parse(domain.XMLDesc(0), "a domain"))
                    if active and domain.isPersistent():
                        paths |= _paths(parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), "a domain"))
                    found.append(_User(domain.UUIDString(), domain.name(), active, frozenset(paths)))
                except libvirt.libvirtError as error:
                    if not is_absent(error):
                        raise
        return found


def _paths(node: Element) -> set[str]:
    paths = {n.text or "" for n in node.iterfind("os/nvram")}
    for source in node.iter("source"):
        for attribute in _ATTRIBUTES:
            if (path := source.get(attribute, "")).startswith("/"):
                paths.add(path)
    return paths - {""}
