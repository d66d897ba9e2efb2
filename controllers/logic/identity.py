"""Who an instance is, on every platform and after every loss (safety.md I1 to I3). Pure.

Everything here derives from the instance's UUID and the name of an entry, so that after a rebuild of the cluster with
`spec.uuid` the guest finds its disks, addresses and SSH keys again. Called by the Instance kind and by whoever has to
find out the UUID of an object.
"""

import hashlib
import uuid
from datetime import datetime

_ROOT = uuid.UUID("5c0f6b7e-2f0d-5d57-9b8e-7a1f3c0a4d11")
"""Root of the names that we derive UUIDs from. Changing it would lose every guest."""


def object_uuid(asked: str | None, uid: str) -> str:
    """I1: the user's word, else UUID5 of metadata.uid. The same for a Volume."""
    return asked or str(uuid.uuid5(_ROOT, uid))


def managed_volume_uuid(instance_uuid: str, entry: str) -> str:
    """I2: UUID of the Volume that an instance makes for one entry of spec.volumes."""
    return str(uuid.uuid5(uuid.UUID(instance_uuid), f"volume/{entry}"))


def mac_address(instance_uuid: str, entry: str, attempt: int = 0) -> str:
    """I2: a unicast, locally administered address for one NIC; `attempt` > 0 gives the next where one is taken."""
    salt = f"/{attempt}" if attempt else ""
    digest = hashlib.sha256(f"{instance_uuid}/nic/{entry}{salt}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))


def platform_name(namespace: str, name: str, instance_uuid: str) -> str:
    """I3: a left-over of the same name never blocks a define."""
    return f"{namespace}.{name}.{instance_uuid[:8]}"


def next_sequence(last: int, now: datetime) -> int:
    """W1: greater than the last one, and never the same one twice even when the status was lost."""
    return max(last + 1, int(now.timestamp()))
