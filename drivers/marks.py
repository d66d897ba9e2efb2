"""What we write on the platform beside what we made (safety.md M1, M2, M4), and how it is read back.

Encoded as canonical JSON with a format version and a checksum. A mark whose version is unknown is somebody else's
(M3): `decode` answers None for it. A mark that should be ours but cannot be read raises `Unreadable`: hold and report.
"""

import enum
import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Any

FORMAT_VERSION = 1
MAX_BYTES = 4096
"""A disk's mark is one file of this size, rewritten in place (M2)."""


class Unreadable(ValueError):
    """The bytes carry our name but not a whole mark: torn, damaged or truncated."""


class DiskState(enum.StrEnum):
    CREATING = "creating"
    READY = "ready"
    RETAINED = "retained"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceMark:
    """Written into the domain (metadata element / extraConfig / other_config) and copied into the boot disk's mark."""

    installation: str
    namespace: str
    name: str
    uid: str
    uuid: str
    sequence: int
    hardware: str = ""
    """JSON of status.hardware."""
    volumes: tuple[tuple[str, str, str], ...] = ()
    """(entry name, volume uuid, disk name) of each."""
    addresses: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    """(entry name, MAC, addresses) of each NIC."""
    run_count: int = 0
    starting: int | None = None
    """The run count that is being started, from before the start until after the resume (W6)."""
    last_restart: str = ""
    last_power_request: str = ""
    imported: bool = False
    """Taken over from somebody: released, not destroyed, by default (N3)."""
    started: tuple[tuple[str, str], ...] = ()
    """(what, digest) of that which only a restart changes, as the present run was started with it; and of the
    definition, as we wrote it last (drift)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskMark:
    """Written beside a disk before the disk exists; removed after it (M2)."""

    installation: str
    kind: str
    """Volume, or Template for a cached base image."""
    namespace: str
    name: str
    uid: str
    uuid: str
    n: int
    state: DiskState
    size: int = 0
    """Virtual size in bytes."""
    format: str = "qcow2"
    base: str = ""
    """Disk name of the base image that a thin clone needs (D4)."""
    made_by: str = ""
    """Instance uid for a managed volume."""
    owner: InstanceMark | None = None
    """On a boot disk: copy of its instance's mark."""


def encode(mark: InstanceMark | DiskMark) -> str:
    """Canonical JSON: {"stratiform": version, "kind": …, "mark": {…}, "sha256": …}."""
    kind = "Instance" if isinstance(mark, InstanceMark) else "Disk"
    body = _canonical(asdict(mark))
    return _canonical({"stratiform": FORMAT_VERSION, "kind": kind, "mark": json.loads(body), "sha256": _sum(body)})


def decode(text: str) -> InstanceMark | DiskMark | None:
    """The mark in `text`; None if it is of an unknown format version. Raises Unreadable."""
    try:
        outer = json.loads(text.rstrip("\0 \n"))
        version, body = outer["stratiform"], outer["mark"]
        if version != FORMAT_VERSION:
            return None
        if outer["sha256"] != _sum(_canonical(body)):
            raise Unreadable("the mark's checksum does not match its content")
        return _instance(body) if outer["kind"] == "Instance" else _disk(body)
    except Unreadable:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"not a whole mark: {error}") from error


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _sum(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def _known(cls: type, body: dict[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(cls)}
    return {k: v for k, v in body.items() if k in names}


def _instance(body: dict[str, Any]) -> InstanceMark:
    body = _known(InstanceMark, body)
    body["volumes"] = tuple((v[0], v[1], v[2]) for v in body.get("volumes", ()))
    body["addresses"] = tuple((a[0], a[1], tuple(a[2])) for a in body.get("addresses", ()))
    body["started"] = tuple((s[0], s[1]) for s in body.get("started", ()))
    return InstanceMark(**body)


def _disk(body: dict[str, Any]) -> DiskMark:
    body = _known(DiskMark, body)
    body["state"] = DiskState(body["state"])
    owner = body.get("owner")
    body["owner"] = _instance(owner) if owner else None
    return DiskMark(**body)
