"""Snapshot: of a volume, or of a whole instance."""

from typing import Annotated, ClassVar, Literal

from crds.base import DeletionPolicy, Model, NameRef, Quantity, StatusModel, Time
from crds.fields import Label, Name, Uuid, Word, about, between, immutable, live, map_list


class SnapshotOf(Model):
    """What is kept."""

    UNION: ClassVar[dict[str, str]] = {"Volume": "volume_ref", "Instance": "instance_ref"}

    type: Annotated[
        Literal["Volume", "Instance"],
        about("Volume: one disk; Instance: all of its disks at one moment, and its hardware."),
    ]
    volume_ref: Annotated[NameRef | None, about("The Volume in the own namespace. With type Volume.")] = None
    instance_ref: Annotated[NameRef | None, about("The Instance in the own namespace. With type Instance.")] = None


class SnapshotSpec(Model):
    """What a snapshot is told."""

    source: Annotated[SnapshotOf, immutable("What is kept.")]
    image_store_ref: Annotated[
        NameRef | None,
        immutable("The ImageStore that keeps it, so that it outlives the volume. Unset: on the volume's pool alone."),
    ] = None
    quiesce: Annotated[
        Literal["IfPossible", "Required", "Never"],
        immutable(
            "IfPossible: the guest's agent stills its file systems where there is one; Required: else it fails; "
            "Never: as after a power cut."
        ),
    ] = "IfPossible"
    deletion_policy: Annotated[
        DeletionPolicy, live("Delete: the bytes go with this object; Retain: they stay on the image store.")
    ] = "Delete"


class SnapshotDisk(Model):
    """One disk of the snapshot."""

    name: Annotated[Label, about("Name of the disk in the instance, or of the Volume.")]
    volume_uuid: Annotated[Uuid, about("Identity of the volume it is of.")]
    size: Annotated[Quantity, about("Bytes of the disk inside.")] = 0
    stored: Annotated[Quantity, about("Bytes that it takes where it lies.")] = 0
    pool: Annotated[Name | None, about("StoragePool it lies on. Unset: none.")] = None
    image_store: Annotated[Name | None, about("ImageStore it lies on. Unset: none.")] = None


class SnapshotStatus(StatusModel):
    """What is known of a snapshot."""

    uuid: Annotated[Uuid | None, about("Identity of the snapshot. Unset: not decided yet.")] = None
    taken_at: Annotated[Time | None, about("The moment that it shows. Unset: not taken yet.")] = None
    quiesced: Annotated[Word | None, about("Yes, No or Failed. Unset: not taken yet.")] = None
    percent: Annotated[int | None, between(0, 100), about("Progress of the copy. Unset: none under way.")] = None
    size: Annotated[Quantity | None, about("Bytes that it takes in all. Unset: not taken yet.")] = None
    disks: Annotated[tuple[SnapshotDisk, ...], map_list("name", most=32), about("What it holds of each disk.")] = ()
