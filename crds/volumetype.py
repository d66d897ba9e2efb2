"""VolumeType: a disk offering, which says where a disk may lie, how it is provisioned and how fast it may be."""

from typing import Annotated, Literal

from crds.base import AskedQuantity, Model, StatusModel, at_least
from crds.fields import Tag, about, between, live, set_list

Rate = Annotated[AskedQuantity, at_least("1Ki")]


class VolumeLimits(Model):
    """How much a guest may do with the disk."""

    read_iops: Annotated[int | None, between(1, 10**7), live("Reads a second. Unset: unlimited.")] = None
    write_iops: Annotated[int | None, between(1, 10**7), live("Writes a second. Unset: unlimited.")] = None
    read_bytes_per_second: Annotated[Rate | None, live("Bytes read a second, such as 200Mi. Unset: unlimited.")] = None
    write_bytes_per_second: Annotated[Rate | None, live("Bytes written a second, such as 200Mi. Unset: unlimited.")] = (
        None
    )


class VolumeTypeSpec(Model):
    """What the offering gives."""

    storage_tags: Annotated[
        tuple[Tag, ...],
        set_list(most=32),
        live("Tags that a pool must all have; disks that lie elsewhere already stay. Unset: any pool."),
    ] = ()
    provisioning: Annotated[
        Literal["Thin", "Thick"],
        live("Thin: bytes are taken as they are written; Thick: all at once. For disks made from now on."),
    ] = "Thin"
    limits: Annotated[VolumeLimits | None, live("How fast the disk may be. Unset: unlimited.")] = None


class VolumeTypeStatus(StatusModel):
    """What is known of the offering."""

    volumes: Annotated[int | None, about("Volumes that refer to it. Unset: not counted yet.")] = None
