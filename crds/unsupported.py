"""What the schema has and this version does not honour yet: one table, from which no field is ever silently ignored.

The controllers turn each finding into Ready=False, Unsupported. A test compares the table with the schema.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from crds.base import Model, StatusModel, yaml_name
from crds.volume import VolumeSpec, VolumeStatus

_PART = re.compile(r"^([a-z0-9_]+)(\[\])?$")


@dataclass(frozen=True)
class Entry:
    """One thing not honoured: a field at all, or with one of `values`. `path` names attributes, `[]` each entry."""

    kind: str
    path: str
    message: str
    values: frozenset[Any] = frozenset()
    """Empty: whenever the field is set to something true."""

    @property
    def yaml_path(self) -> str:
        """The path with the names of the YAML, below the object."""
        names = (yaml_name(part.removesuffix("[]")) + "[]" * part.endswith("[]") for part in _parts(self.path))
        return ".".join(["spec", *names])


@dataclass(frozen=True)
class Finding:
    """One field of one object that is not honoured, as its condition names it."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def _parts(path: str) -> list[str]:
    return path.split(".") if path else []


def _entry(kind: str, path: str, message: str, *values: Any) -> Entry:
    return Entry(kind, path, message, frozenset(values))


_UPLINKS = ("BridgePerVLAN", "OpenVSwitch", "VSphereSwitch", "XenNetwork")
_UPLINK = "uplinks of this type are not supported yet: use Bridge with an untagged network"
_AARCH64 = "aarch64 is not supported yet: only x86_64 is"

TABLE: tuple[Entry, ...] = (
    _entry("HostCluster", "hypervisor", "this hypervisor is not supported yet: use KVM or Simulated", "VSphere", "Xen"),
    _entry("HostCluster", "architecture", _AARCH64, "aarch64"),
    _entry("HostCluster", "uplinks[].type", _UPLINK, *_UPLINKS),
    _entry(
        "Host", "connection.type", "this connection is not supported yet: use Libvirt or Simulated", "VSphere", "Xen"
    ),
    _entry("Host", "uplinks[].type", _UPLINK, *_UPLINKS),
    _entry(
        "StoragePool",
        "type",
        "this storage is not supported yet: use NFS, Local or Simulated",
        "ISCSI",
        "RBD",
        "VSphereDatastore",
        "XenSR",
    ),
    _entry("ImageStore", "type", "this storage is not supported yet: use NFS or Simulated", "S3"),
    _entry(
        "Template",
        "source.type",
        "templates from this source are not supported yet: use HTTP",
        "Snapshot",
        "Volume",
        "File",
    ),
    _entry("Template", "architecture", _AARCH64, "aarch64"),
    _entry("Network", "type", "isolated networks are not supported yet: use Physical", "Isolated"),
    _entry(
        "Volume",
        "source.type",
        "volumes from this source are not supported yet: use Blank, Template or Existing",
        "Snapshot",
        "Volume",
    ),
    _entry("Snapshot", "", "snapshots are not supported yet: the object is kept, and nothing is done for it"),
    _entry("Instance", "firmware.secure_boot", "secure boot is not supported yet: leave it unset"),
)

_BY_KIND: dict[str, tuple[Entry, ...]] = {
    kind: tuple(entry for entry in TABLE if entry.kind == kind) for kind in {entry.kind for entry in TABLE}
}


def unsupported(kind: str, spec: Model, status: StatusModel | None = None) -> list[Finding]:
    """What of the object is not honoured, in the table's order; `status` tells whether a change was asked for.

    Pure; microseconds. Empty for most objects.
    """
    findings = [
        Finding(path, entry.message)
        for entry in _BY_KIND.get(kind, ())
        for path, value in _values(spec, _parts(entry.path), "spec")
        if (value in entry.values if entry.values else value)
    ]
    if isinstance(spec, VolumeSpec) and isinstance(status, VolumeStatus):
        findings += _moves(spec, status)
    return findings


def _moves(spec: VolumeSpec, status: VolumeStatus) -> list[Finding]:
    if not spec.storage_pool_ref or not status.disk or spec.storage_pool_ref.name == status.disk.pool:
        return []
    message = f"moving a disk is not supported yet: it lies on {status.disk.pool}; set that, or remove the field"
    return [Finding("spec.storagePoolRef", message)]


def _values(value: Any, parts: list[str], path: str) -> Iterator[tuple[str, Any]]:
    """Every value at the path, with the path as a person writes it: entries by their name where they have one."""
    if value is None or not parts:
        if value is not None:
            yield path, value
        return
    match = _PART.match(parts[0])
    assert match, parts[0]
    inner = getattr(value, match[1])
    path = f"{path}.{yaml_name(match[1])}"
    if match[2]:
        for index, item in enumerate(inner):
            yield from _values(item, parts[1:], f"{path}[{getattr(item, 'name', index)}]")
    else:
        yield from _values(inner, parts[1:], path)
