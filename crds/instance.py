"""Instance: a virtual machine. What may be asked of one; what is known of one is in `crds.instancestatus`."""

from typing import Annotated, ClassVar, Literal

from crds.base import (
    AskedQuantity,
    DeletionPolicy,
    Firmware,
    LabelSelector,
    Model,
    NameRef,
    NamespacedRef,
    SecretRef,
    Time,
    at_least,
)
from crds.fields import (
    Address,
    Label,
    Rule,
    ShortLabel,
    Uuid,
    about,
    atomic_list,
    between,
    immutable,
    live,
    map_list,
    on_restart,
    set_list,
    text,
)
from crds.instancestatus import (
    DetachedVolume,
    Explanation,
    GuestCPU,
    GuestState,
    Hardware,
    HardwareLimits,
    InstanceResources,
    InstanceStatus,
    NearMiss,
    NetworkState,
    Placement,
    PlacementTarget,
    PowerRequestDone,
    Rejection,
    Run,
    ScorePart,
    Step,
    Topology,
    VolumeState,
)

__all__ = [
    "CDROM",
    "Affinity",
    "AttachedVolume",
    "CloudInit",
    "DetachedVolume",
    "Explanation",
    "GuestCPU",
    "GuestState",
    "Hardware",
    "HardwareLimits",
    "InstanceFirmware",
    "InstanceNetwork",
    "InstancePlacement",
    "InstanceResources",
    "InstanceSpec",
    "InstanceStatus",
    "InstanceVolume",
    "ManagedVolume",
    "NearMiss",
    "NetworkState",
    "Placement",
    "PlacementTarget",
    "Power",
    "PowerAction",
    "PowerRequestDone",
    "Rejection",
    "Resources",
    "Run",
    "RunStrategy",
    "ScorePart",
    "Shutdown",
    "Step",
    "Topology",
    "VolumeState",
]

SshKey = Annotated[
    str,
    text(
        8192,
        pattern=r"^(ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)|sk-[a-z0-9@.-]+) [A-Za-z0-9+/=]+( .*)?$",
        says="must be a public key as in the file ~/.ssh/id_ed25519.pub: its type, the key, and a comment",
        secret=True,
    ),
]
RunStrategy = Literal["Always", "RerunOnFailure", "Once", "Manual", "Halted"]
PowerAction = Literal["Start", "Stop", "ForceStop", "Restart", "Reset"]


class Resources(Model):
    """CPU and memory without an InstanceType."""

    cpus: Annotated[int, between(1, 512), on_restart("Virtual CPUs of the guest.")]
    memory: Annotated[AskedQuantity, at_least("16Mi"), on_restart("Memory of the guest.")]


class Power(Model):
    """One request, done once."""

    action: Annotated[
        PowerAction,
        live(
            "Start, Stop: with runStrategy Manual only. ForceStop: the power is cut; under Always a Reset. Restart: "
            "shut down and started. Reset: the button."
        ),
    ]
    requested_at: Annotated[
        Time,
        live(
            "When it was asked for: done once, if later than the last one done and than the creation; older: nothing "
            "is done. More than 5 minutes ahead: refused in condition Synced."
        ),
    ]


class ManagedVolume(Model):
    """A Volume that the instance makes and owns, called <instance>-<entry>."""

    template_ref: Annotated[
        NamespacedRef | None, immutable("The Template it is made from, of type Disk. Unset: blank, `size` is needed.")
    ] = None
    size: Annotated[
        AskedQuantity | None, at_least("1Mi"), live("Bytes of the disk; only grows. Unset: as large as the template.")
    ] = None
    volume_type_ref: Annotated[
        NameRef | None, immutable("The VolumeType; the Volume's own may change. Unset: thin, unlimited, on any pool.")
    ] = None
    storage_pool_ref: Annotated[
        NameRef | None, immutable("The StoragePool it is made on. Unset: placement decides.")
    ] = None
    deletion_policy: Annotated[
        DeletionPolicy, live("Whether deleting the instance deletes this Volume.", schema_default=False)
    ] = "Delete"

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("has(self.size) || has(self.templateRef)", "must be set for a volume without a template", field="size"),
        Rule(
            "!has(oldSelf.size) || (has(self.size) && (!isQuantity(string(self.size)) || "
            "quantity(string(self.size)).compareTo(quantity(string(oldSelf.size))) >= 0))",
            "a volume only grows: what is written in it would be lost; make a smaller one and copy",
            field="size",
        ),
    )


class AttachedVolume(Model):
    """A Volume that somebody made."""

    volume_ref: Annotated[NameRef, immutable("The Volume in the own namespace.")]


class CDROM(Model):
    """A drive, with or without a disc."""

    template_ref: Annotated[
        NamespacedRef | None, live("The Template of type ISO in the drive. Unset: the drive is empty.")
    ] = None


class InstanceVolume(Model):
    """One disk or drive of the instance."""

    UNION: ClassVar[dict[str, str]] = {"Managed": "managed", "Volume": "volume", "CDROM": "cdrom"}

    name: Annotated[
        ShortLabel, about("Name of the disk, also its serial in the guest; at most 20 characters. Renaming detaches.")
    ]
    type: Annotated[
        Literal["Managed", "Volume", "CDROM"],
        immutable(
            "Managed: made and owned by the instance; Volume: somebody's; CDROM: a drive. With the member of that name."
        ),
    ]
    managed: Annotated[ManagedVolume | None, live("The Volume that the instance makes. With type Managed.")] = None
    volume: Annotated[AttachedVolume | None, live("The Volume that somebody made. With type Volume.")] = None
    cdrom: Annotated[CDROM | None, live("What is in the drive. With type CDROM.")] = None
    boot_order: Annotated[
        int | None,
        between(1, 32),
        on_restart(
            "The lowest boots; needed when more than one could. Unset: boots only if it is the only one that can."
        ),
    ] = None


class InstanceNetwork(Model):
    """One NIC of the instance."""

    name: Annotated[ShortLabel, about("Name of the NIC, which its MAC address derives from; at most 20 characters.")]
    network_ref: Annotated[NamespacedRef, immutable("The Network it is on, in this namespace or one that shares it.")]
    primary: Annotated[
        bool,
        on_restart(
            "Whether default route, DNS and the ADDRESS column are of this NIC; needed when more than one network has "
            "a gateway. Unset: only if it is the only one."
        ),
    ] = False
    addresses: Annotated[
        tuple[Address, ...],
        set_list(most=8),
        on_restart(
            "Addresses asked for, at most one of each subnet, also outside its ranges. Unset: one of each subnet's "
            "ranges."
        ),
    ] = ()


class InstanceFirmware(Model):
    """What the guest boots with."""

    type: Annotated[Firmware, about("BIOS, or UEFI with variables that are kept beside the boot disk.")]
    secure_boot: Annotated[bool, about("Whether UEFI starts signed code only; refused with BIOS.")] = False

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("!self.secureBoot || self.type == 'UEFI'", "needs firmware of type UEFI", field="secureBoot"),
    )


class CloudInit(Model):
    """What cloud-init in the guest is told, on a NoCloud seed."""

    hostname: Annotated[Label | None, on_restart("Host name of the guest. Unset: the instance's name.")] = None
    ssh_authorized_keys: Annotated[
        tuple[SshKey, ...], atomic_list(most=16), on_restart("Public keys that may log in as the image's user.")
    ] = ()
    user_data_secret_ref: Annotated[
        SecretRef | None,
        on_restart("Secret in the own namespace whose key `userData` goes to cloud-init as it is. Unset: none."),
    ] = None


class Affinity(Model):
    """Near to, or away from, other instances."""

    topology: Annotated[
        Literal["Host", "HostCluster", "HostPod", "Zone"], live("What is shared, or not shared, with those instances.")
    ]
    required: Annotated[bool, live("true: nowhere else is it placed. Unset: false, only preferred by `weight`.")] = (
        False
    )
    weight: Annotated[int | None, between(1, 100), live("How much it counts where it is not required. Unset: 50.")] = (
        None
    )
    instance_selector: Annotated[LabelSelector, live("Labels of those instances, in the own namespace only.")]


class PreferredHosts(Model):
    """Hosts that are better than others."""

    host_selector: Annotated[LabelSelector, live("Labels that such a host has, all of them.")]
    weight: Annotated[int | None, between(1, 100), live("How much better they are. Unset: 50.")] = None


class InstancePlacement(Model):
    """Where the instance may run."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.ignoreAllocationState) || !self.ignoreAllocationState || has(self.hostRef)",
            "only together with hostRef",
            field="ignoreAllocationState",
        ),
    )

    host_ref: Annotated[
        NameRef | None,
        on_restart("The only Host it may run on; who may set it is a policy on verb `pin`. Unset: placement chooses."),
    ] = None
    ignore_allocation_state: Annotated[
        bool,
        live(
            "With hostRef: also where zone, rack, cluster or host is Disabled. Needs verb `pin`.", schema_default=False
        ),
    ] = False
    host_selector: Annotated[
        LabelSelector | None, on_restart("Labels that the host must have, beside the type's. Unset: any host.")
    ] = None
    preferred_hosts: Annotated[
        tuple[PreferredHosts, ...],
        atomic_list(most=8),
        on_restart("Hosts that it shall rather run on; where none of them fits, another does. Unset: none."),
    ] = ()
    priority: Annotated[
        int,
        between(-1000000, 1000000),
        live("Higher is placed, and restarted after a host's death, first.", schema_default=False),
    ] = 0
    affinity: Annotated[
        tuple[Affinity, ...], atomic_list(most=8), on_restart("Instances it shall be near to. Unset: none.")
    ] = ()
    anti_affinity: Annotated[
        tuple[Affinity, ...], atomic_list(most=8), on_restart("Instances it shall be away from. Unset: none.")
    ] = ()


class Shutdown(Model):
    """How the guest is stopped."""

    grace_period_seconds: Annotated[
        int, between(0, 3600), live("Seconds between pressing the power button and cutting the power.")
    ] = 60


class InstanceSpec(Model):
    """What an instance is told."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.instanceTypeRef) != has(self.resources)",
            "exactly one of instanceTypeRef and resources must be set",
            field="instanceTypeRef",
        ),
        Rule(
            "!has(self.networks) || self.networks.filter(n, has(n.primary) && n.primary).size() <= 1",
            "only one network may be primary",
            field="networks",
        ),
        Rule(
            "!has(self.volumes) || self.volumes.all(v, !has(v.bootOrder) || "
            "self.volumes.exists_one(w, has(w.bootOrder) && w.bootOrder == v.bootOrder))",
            "no two volumes may have the same bootOrder",
            field="volumes",
        ),
    )

    zone_ref: Annotated[NameRef, immutable("The Zone it runs in.")]
    uuid: Annotated[
        Uuid | None,
        immutable(
            "Identity of the machine on its platform. Unset: derived from metadata.uid; set it to take over an "
            "existing machine, or after a rebuild of the cluster."
        ),
    ] = None
    instance_type_ref: Annotated[
        NameRef | None,
        on_restart("The InstanceType that gives CPU and memory. Unset: `resources` does; exactly one of the two."),
    ] = None
    resources: Annotated[
        Resources | None, on_restart("CPU and memory. Unset: `instanceTypeRef` gives them; exactly one of the two.")
    ] = None
    run_strategy: Annotated[
        RunStrategy,
        live(
            "Always: runs, started again whenever it ends; RerunOnFailure: started again after a crash or its host's "
            "death only; Once: never again after it ended; Manual: as `power` asks; Halted: off."
        ),
    ] = "Always"
    power: Annotated[Power | None, live("A request to start, stop or restart, done once. Unset: none.")] = None
    volumes: Annotated[
        tuple[InstanceVolume, ...],
        map_list("name", most=32),
        live("Disks and drives. An entry removed is detached, and its disk is never deleted by that. Unset: none."),
    ] = ()
    networks: Annotated[tuple[InstanceNetwork, ...], map_list("name", most=16), live("NICs. Unset: none.")] = ()
    firmware: Annotated[
        InstanceFirmware | None, immutable("What it boots with. Unset: what its template says, else BIOS.")
    ] = None
    cloud_init: Annotated[
        CloudInit | None,
        on_restart("What cloud-init in the guest is told. Unset: host name and addresses only."),
    ] = None
    placement: Annotated[InstancePlacement | None, live("Where it may run. Unset: on any host that fits.")] = None
    drift_policy: Annotated[
        Literal["Correct", "Report"],
        live("Correct: what somebody changed on the platform is changed back; Report: it is only shown in Drifted."),
    ] = "Correct"
    shutdown: Annotated[Shutdown, live("How the guest is stopped.")] = Shutdown()
    deletion_protection: Annotated[
        bool, live("true: deleting the instance, and its namespace, is refused until this is false.")
    ] = False
    deletion_policy: Annotated[
        Literal["Delete", "Release"] | None,
        live(
            "Delete: the machine goes with this object; Release: it runs on, without our mark. Unset: Delete; of an "
            "imported machine Release."
        ),
    ] = None
