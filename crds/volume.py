"""Volume: a disk, which is never replaced by an empty one and never has two writers."""

from typing import Annotated, ClassVar, Literal

from crds.base import (
    AskedQuantity,
    DeletionPolicy,
    Model,
    NameRef,
    NamespacedRef,
    ObjectRef,
    Quantity,
    StatusModel,
    Time,
    at_least,
)
from crds.fields import (
    Identifier,
    Label,
    Name,
    Rule,
    Uuid,
    Word,
    about,
    between,
    immutable,
    live,
    map_list,
    set_list,
    when_empty,
)


class FromTemplate(Model):
    """A copy of a template."""

    template_ref: Annotated[NamespacedRef, about("The Template, of type Disk; may be in a namespace that shares it.")]


class FromSnapshot(Model):
    """A snapshot made whole again."""

    snapshot_ref: Annotated[NameRef, about("The Snapshot in the own namespace.")]
    disk: Annotated[
        Label | None, about("Name of the disk in a snapshot of an instance. Unset: the only one, or the boot disk.")
    ] = None


class FromVolume(Model):
    """A copy of a volume."""

    volume_ref: Annotated[NameRef, about("The Volume in the own namespace, which must be quiet meanwhile.")]


class FromExisting(Model):
    """A disk that is there already."""

    storage_pool_ref: Annotated[NameRef, about("The StoragePool it lies on.")]
    disk: Annotated[
        Identifier | None,
        about("Name of an unmarked disk on the pool, if that allows imports. Unset: the retained disk with spec.uuid."),
    ] = None


class VolumeOrigin(Model):
    """What is on the disk at first."""

    UNION: ClassVar[dict[str, str]] = {
        "Blank": "",
        "Template": "template",
        "Snapshot": "snapshot",
        "Volume": "volume",
        "Existing": "existing",
    }

    type: Annotated[
        Literal["Blank", "Template", "Snapshot", "Volume", "Existing"],
        about("Blank: nothing, zeros; else exactly the member of that name goes with it."),
    ]
    template: Annotated[FromTemplate | None, about("A template. With type Template.")] = None
    snapshot: Annotated[FromSnapshot | None, about("A snapshot. With type Snapshot.")] = None
    volume: Annotated[FromVolume | None, about("Another volume. With type Volume.")] = None
    existing: Annotated[FromExisting | None, about("A disk that is there already. With type Existing.")] = None


BLANK = VolumeOrigin(type="Blank")


class VolumeSpec(Model):
    """What a volume is told."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("has(self.size) || self.source.type != 'Blank'", "must be set for a blank volume", field="size"),
        Rule(
            "!has(oldSelf.size) || (has(self.size) && (!isQuantity(string(self.size)) || "
            "quantity(string(self.size)).compareTo(quantity(string(oldSelf.size))) >= 0))",
            "a volume only grows: what is written in it would be lost; make a smaller one and copy",
            field="size",
        ),
        Rule(
            "self.source.type != 'Existing' || has(self.source.existing.disk) || has(self.uuid)",
            "must be set to take a retained disk again, or name an unmarked one in source.existing.disk",
            field="uuid",
        ),
    )

    zone_ref: Annotated[NameRef, immutable("The Zone the disk lies in.")]
    uuid: Annotated[
        Uuid | None,
        immutable(
            "Identity of the disk on its pool. Unset: derived from metadata.uid; set it to take a disk over, or after "
            "a rebuild of the cluster."
        ),
    ] = None
    size: Annotated[
        AskedQuantity | None,
        at_least("1Mi"),
        live("Bytes of the disk, as the guest sees it; only grows. Unset: as large as its source."),
    ] = None
    volume_type_ref: Annotated[
        NameRef | None, live("The VolumeType. Unset: thin, unlimited, on any pool of the zone.")
    ] = None
    source: Annotated[VolumeOrigin, immutable("What is on the disk at first.")] = BLANK
    storage_pool_ref: Annotated[
        NameRef | None, live("The StoragePool it shall lie on; a change moves it. Unset: placement decides.")
    ] = None
    shareable: Annotated[
        bool, when_empty("true: several instances may have it, and write to it, at once; the guests must know how.")
    ] = False
    made_by: Annotated[
        ObjectRef | None,
        immutable("The Instance that it was made for, set by the controllers. Unset: made by somebody."),
    ] = None
    deletion_policy: Annotated[
        DeletionPolicy,
        live(
            "Delete: the disk goes with this object. Retain: the disk stays, marked retained, and the same namespace "
            "may take it again by a source of type Existing."
        ),
    ] = "Delete"


class Disk(Model):
    """A copy of the volume on a pool: it is called <uuid>-<n> there."""

    pool: Annotated[Name, about("The StoragePool it lies on.")]
    n: Annotated[int, between(1, 2**31), about("Number of the copy; each move, restore or conversion makes the next.")]


class Attachment(Model):
    """One instance that has the disk, or is about to."""

    instance: Annotated[Name, about("The Instance, in the same namespace.")]
    uid: Annotated[Uuid, about("metadata.uid of the Instance.")]
    hosts: Annotated[
        tuple[Name, ...],
        set_list(most=2),
        about("Hosts it may be open on: one, or two during a migration. Empty: off."),
    ] = ()
    access: Annotated[Literal["ReadWrite", "ReadOnly"], about("What the guest may do.")] = "ReadWrite"


class Origin(Model):
    """What the disk was made from, as it was then; the object may be gone since."""

    type: Annotated[Word, about("Blank, Template, Snapshot, Volume or Existing.")]
    namespace: Annotated[Label | None, about("Namespace of that object. Unset: it has none.")] = None
    name: Annotated[Name | None, about("Name of that object. Unset: there is none.")] = None
    uid: Annotated[Uuid | None, about("metadata.uid of that object. Unset: there is none.")] = None
    checksum: Annotated[Identifier | None, about("Digest of the template's bytes. Unset: no template.")] = None


class VolumeStatus(StatusModel):
    """What is known of a volume."""

    uuid: Annotated[Uuid | None, about("Identity of the disk. Unset: not decided yet.")] = None
    disk: Annotated[Disk | None, about("The current copy. Unset: none was made yet.")] = None
    pending: Annotated[Disk | None, about("The copy being made. Unset: none.")] = None
    percent: Annotated[int | None, between(0, 100), about("Progress of `pending`. Unset: none, or not known.")] = None
    size: Annotated[Quantity | None, about("Bytes of the disk as it is. Unset: none was made yet.")] = None
    used: Annotated[Quantity | None, about("Bytes it takes on the pool, to 1 %. Unset: not known.")] = None
    format: Annotated[Word | None, about("Format on the pool. Unset: none was made yet.")] = None
    attachments: Annotated[
        tuple[Attachment, ...],
        map_list("uid", most=16),
        about("Who has the disk; written before it is attached and taken away after it is detached."),
    ] = ()
    made_from: Annotated[Origin | None, about("What the disk was made from. Unset: none was made yet.")] = None
    ready_at: Annotated[
        Time | None, about("When the disk was first ready: from then on its absence is a loss. Unset: not yet.")
    ] = None
