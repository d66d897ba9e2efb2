"""Which disk is a Volume's, and what its annotations allow it to take (safety.md I1, I4, N2, N3). Pure.

Used by the Volume kind, and by whoever has to name a Volume's disk.
"""

from dataclasses import dataclass
from typing import Any

from controllers.engine.base import Obj
from controllers.logic.identity import managed_volume_uuid, object_uuid
from crds.base import ADOPT, IGNORE_ORPHAN
from crds.volume import VolumeSpec, VolumeStatus
from drivers.marks import DiskMark

VolumeObj = Obj[VolumeSpec, VolumeStatus]


@dataclass(frozen=True, slots=True)
class Adoption:
    """`stratiform.dev/adopt: <uuid>`, or `<namespace>/<name>/<uuid>` for what another object has left behind."""

    uuid: str
    namespace: str
    name: str


def adoption(obj: VolumeObj) -> Adoption | None:
    """What somebody said this Volume shall adopt."""
    parts = obj.annotations.get(ADOPT, "").split("/")
    if len(parts) == 3 and all(parts):
        return Adoption(uuid=parts[2], namespace=parts[0], name=parts[1])
    return Adoption(parts[0], obj.namespace, obj.name) if len(parts) == 1 and parts[0] else None


def volume_uuid(obj: VolumeObj) -> str:
    """I1. Of an adopted disk its own: the status keeps it, or the annotation says it while there is no disk yet."""
    if obj.spec.uuid:
        return obj.spec.uuid
    if obj.status.disk is not None and obj.status.uuid:
        return obj.status.uuid
    adopted = adoption(obj)
    return adopted.uuid if adopted else object_uuid(None, obj.uid)


def made_by(volume: VolumeObj, instance: Obj[Any, Any]) -> bool:
    """Whether the instance made that Volume, or adopted the machine for which it was made (N2, I2): spec.madeBy is
    immutable and names the uid of an object that is gone, but its UUID derives from the machine's."""
    made = volume.spec.made_by
    if made is None or volume.namespace != instance.namespace:
        return False
    machine = instance.spec.uuid or instance.status.uuid
    prefix = f"{instance.name}-"
    if made.uid == instance.uid or made.name != instance.name or not machine or not volume.name.startswith(prefix):
        return made.uid == instance.uid
    return volume_uuid(volume) == managed_volume_uuid(machine, volume.name.removeprefix(prefix))


def may_take(obj: VolumeObj, mark: DiskMark) -> bool:
    """Whether a mark of another uid, whose object is gone, may become this Volume's: its namesake's, or the one that
    it was told to adopt."""
    adopted = adoption(obj)
    names = {(obj.namespace, obj.name)}
    if adopted is not None and adopted.uuid == mark.uuid:
        names.add((adopted.namespace, adopted.name))
    return (mark.namespace, mark.name) in names


def ignores(obj: VolumeObj, uuid: str) -> bool:
    """N2: somebody said that the orphan of that UUID stays where it is."""
    return obj.annotations.get(IGNORE_ORPHAN) == uuid
