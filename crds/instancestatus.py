"""What is known of an instance: where it was placed and why, what it is made of, what happened to it."""

from typing import Annotated, Literal

from crds.base import Model, NameRef, Quantity, StatusModel, Time
from crds.fields import (
    Address,
    Identifier,
    Label,
    Name,
    Sentence,
    ShortLabel,
    Uuid,
    Word,
    about,
    atomic_list,
    between,
    map_list,
    set_list,
    text,
)
from crds.hostcluster import CPUFeature

MacAddress = Annotated[str, text(17, least=17, pattern=r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$")]
Sequence = Annotated[int, between(0, 2**53)]


class Rejection(Model):
    """Hosts lost to one filter."""

    reason: Annotated[Word, about("Why: the filter's reason.")]
    count: Annotated[int, between(1, 2**31), about("How many hosts were lost to it.")]
    hosts: Annotated[tuple[Name, ...], set_list(most=8), about("Some of them, by name.")] = ()
    message: Annotated[Sentence | None, about("What one of them lacked. Unset: the reason says it all.")] = None


class NearMiss(Model):
    """A host that nearly fitted."""

    host: Annotated[Name, about("Name of the Host that nearly fitted.")]
    reason: Annotated[Word, about("The one filter that it failed.")]
    shortfall: Annotated[Sentence, about("How much was missing, such as 2.8Gi memory.")]


class ScorePart(Model):
    """One part of the winner's score."""

    name: Annotated[Word, about("The weigher.")]
    score: Annotated[int, between(-1000, 1000), about("Weighted score, in thousandths.")]


class Explanation(Model):
    """Who won and why, who lost and why."""

    winner: Annotated[Name | None, about("The Host chosen. Unset: none fits.")] = None
    summary: Annotated[Sentence, about("The decision in one sentence.")]
    candidates: Annotated[int, between(0, 2**31), about("Hosts that were looked at.")]
    rejected: Annotated[
        tuple[Rejection, ...], atomic_list(most=16), about("Hosts lost, by filter in their order.")
    ] = ()
    nearest: Annotated[
        tuple[NearMiss, ...], atomic_list(most=3), about("Hosts that nearly fitted, nearest first.")
    ] = ()
    helps: Annotated[
        tuple[Sentence, ...], atomic_list(most=5), about("What would make it fit, such as free 2Gi memory on node-2.")
    ] = ()
    scores: Annotated[tuple[ScorePart, ...], atomic_list(most=16), about("Parts of the winner's score.")] = ()
    decided_at: Annotated[Time | None, about("When this was first said. Unset: with the placement.")] = None


class PlacementTarget(Model):
    """Where a migration leads."""

    host: Annotated[Name, about("The Host it moves to.")]
    sequence: Annotated[Sequence, about("Number of that decision.")]
    decided_at: Annotated[Time, about("When it was decided.")]


class Placement(Model):
    """The decision where it runs, written before anything is made there."""

    host: Annotated[Name | None, about("The Host chosen. Unset: none yet.")] = None
    sequence: Annotated[Sequence, about("Number of the decision; higher is newer.")] = 0
    decided_at: Annotated[Time | None, about("When it was decided. Unset: not yet.")] = None
    explanation: Annotated[Explanation | None, about("Why this host, or why none. Unset: not looked at yet.")] = None
    target: Annotated[PlacementTarget | None, about("Where a migration leads. Unset: none under way.")] = None


class GuestCPU(Model):
    """The CPU that the guest sees."""

    mode: Annotated[Word, about("Baseline, HostPassthrough or Named, as its cluster said when it started.")]
    model: Annotated[Identifier | None, about("CPU model. Unset: the host's own.")] = None
    features: Annotated[tuple[CPUFeature, ...], set_list(most=512), about("Features beyond those of the model.")] = ()
    disabled_features: Annotated[
        tuple[CPUFeature, ...], set_list(most=512), about("Features of the model that it lacks.")
    ] = ()


class Topology(Model):
    """How its CPUs are laid out: one socket, many cores."""

    sockets: Annotated[int, between(1, 512), about("Sockets.")] = 1
    cores: Annotated[int, between(1, 512), about("Cores of a socket.")]
    threads: Annotated[int, between(1, 16), about("Threads of a core.")] = 1


class HardwareLimits(Model):
    """How far it may grow without a restart."""

    cpus: Annotated[int, between(1, 512), about("CPUs it can have while it runs.")]
    memory: Annotated[Quantity, about("Memory it can have while it runs.")]


class Hardware(Model):
    """Chosen at the first start, repeated in the mark, kept for life; only cpu is chosen anew at a cold start."""

    machine: Annotated[Identifier, about("Machine type with its version, such as pc-q35-7.2.")]
    architecture: Annotated[Word | None, about("CPU architecture. Unset: x86_64.")] = None
    firmware: Annotated[Word, about("BIOS or UEFI.")]
    secure_boot: Annotated[bool, about("Whether UEFI starts signed code only.")] = False
    cpu: Annotated[GuestCPU | None, about("The CPU that it sees. Unset: never started.")] = None
    topology: Annotated[Topology | None, about("How its CPUs are laid out. Unset: never started.")] = None
    clock: Annotated[Word, about("What its hardware clock shows: UTC or LocalTime.")] = "UTC"
    os_info: Annotated[Identifier | None, about("libosinfo's id of its system. Unset: none was known.")] = None
    limits: Annotated[HardwareLimits | None, about("How far it may grow while running. Unset: never started.")] = None


class InstanceResources(Model):
    """What it really takes."""

    cpus: Annotated[int, between(0, 4096), about("Its virtual CPUs.")]
    memory: Annotated[Quantity, about("Its memory.")]
    overhead: Annotated[Quantity, about("What the hypervisor takes beside it.")] = 0


class NetworkState(Model):
    """One NIC as it is."""

    name: Annotated[ShortLabel, about("Name of the NIC in spec.networks.")]
    network_ref: Annotated[NameRef | None, about("The Network it is on. Unset: not resolved yet.")] = None
    network_namespace: Annotated[Label | None, about("Namespace of that Network. Unset: our own.")] = None
    mac_address: Annotated[MacAddress | None, about("Its MAC address, for life. Unset: not decided yet.")] = None
    addresses: Annotated[tuple[Address, ...], set_list(most=16), about("Addresses it was given.")] = ()
    reported: Annotated[
        tuple[Word, ...], set_list(most=16), about("Addresses that the guest's agent reports on it.")
    ] = ()
    primary: Annotated[bool, about("Whether default route and the ADDRESS column are of it.")] = False
    attached: Annotated[bool, about("Whether the machine has it now.")] = False
    slot: Annotated[int | None, between(0, 255), about("Slot it sits in, kept for life. Unset: none yet.")] = None


class VolumeState(Model):
    """One disk or drive as it is."""

    name: Annotated[ShortLabel, about("Name of the disk in spec.volumes.")]
    type: Annotated[Word, about("Managed, Volume or CDROM.")]
    volume_ref: Annotated[NameRef | None, about("The Volume. Unset: a drive.")] = None
    template_ref: Annotated[NameRef | None, about("The disc in the drive. Unset: none.")] = None
    attached: Annotated[bool, about("Whether the machine has it now.")] = False
    bootable: Annotated[bool, about("Whether the machine boots from it.")] = False
    slot: Annotated[int | None, between(0, 255), about("Slot it sits in, kept for life. Unset: none yet.")] = None
    message: Annotated[Sentence | None, about("What it waits for. Unset: nothing.")] = None


class DetachedVolume(Model):
    """A disk that was in spec.volumes: it stays when the instance is deleted."""

    name: Annotated[ShortLabel, about("Its name when it was in spec.volumes.")]
    volume_ref: Annotated[NameRef, about("The Volume, which is there still.")]
    detached_at: Annotated[Time, about("When the entry was seen gone.")]


class PowerRequestDone(Model):
    """The last power request that was done."""

    action: Annotated[Word, about("What was asked.")]
    requested_at: Annotated[Time, about("When it was asked; older requests are not done any more.")]
    done_at: Annotated[Time, about("When its effect was seen.")]


class Run(Model):
    """One run of the guest."""

    started_at: Annotated[Time, about("When it was started.")]
    ended_at: Annotated[Time | None, about("When it was seen to have ended. Unset: it runs.")] = None
    reason: Annotated[
        Literal["GuestShutdown", "Crashed", "Stopped", "HostLost", "Unknown"] | None,
        about(
            "GuestShutdown: it powered itself off; Crashed; Stopped: we did; HostLost: its host died. Unset: it runs."
        ),
    ] = None
    host: Annotated[Name | None, about("The Host it ran on. Unset: not known.")] = None


class FailedStart(Model):
    """A host that would not start it."""

    host: Annotated[Name, about("Name of the Host that refused its hardware, its definition or its start.")]
    at: Annotated[Time, about("When it last did.")]
    times: Annotated[int, between(1, 2**31), about("How often, in this attempt to start it.")] = 1
    until: Annotated[Time, about("Until when placement avoids this host: twice as long each time, at most an hour.")]
    reason: Annotated[Word | None, about("Why, as in the Ready condition, such as Unsupported. Unset: not known.")] = (
        None
    )
    message: Annotated[Sentence | None, about("What the host said. Unset: nothing.")] = None


class Step(Model):
    """When something was first reached, counted anew with each placement."""

    name: Annotated[Word, about("Scheduled, VolumesReady, AddressesReady, Defined, Started or AgentConnected.")]
    at: Annotated[Time, about("When it was reached.")]


class GuestState(Model):
    """What the guest's agent reports."""

    host_name: Annotated[Identifier | None, about("What the guest calls itself. Unset: not reported.")] = None
    os: Annotated[Identifier | None, about("Name and version of its system. Unset: not reported.")] = None
    agent: Annotated[Word | None, about("Version of the agent. Unset: not reported.")] = None


class InstanceStatus(StatusModel):
    """What is known of an instance."""

    uuid: Annotated[Uuid | None, about("Identity of the machine. Unset: not decided yet.")] = None
    platform_id: Annotated[Identifier | None, about("The platform's own id, where it differs. Unset: it does not.")] = (
        None
    )
    platform_name: Annotated[Identifier | None, about("Name of the machine on its platform. Unset: never made.")] = None
    imported: Annotated[bool, about("Whether the machine was there before this object and is released with it.")] = (
        False
    )
    placement: Annotated[Placement | None, about("The decision where it runs. Unset: not looked at yet.")] = None
    host_ref: Annotated[NameRef | None, about("The Host where it was last seen. Unset: never seen.")] = None
    hardware: Annotated[
        Hardware | None, about("Chosen at the first start and kept for life. Unset: never started.")
    ] = None
    resources: Annotated[InstanceResources | None, about("What it takes. Unset: never placed.")] = None
    networks: Annotated[tuple[NetworkState, ...], map_list("name", most=16), about("Its NICs as they are.")] = ()
    primary_address: Annotated[Word | None, about("The address that the column shows. Unset: none.")] = None
    volumes: Annotated[tuple[VolumeState, ...], map_list("name", most=32), about("Its disks as they are.")] = ()
    detached_volumes: Annotated[
        tuple[DetachedVolume, ...],
        atomic_list(most=32),
        about("Volumes it made whose entries are gone: they stay when it is deleted."),
    ] = ()
    failed_starts: Annotated[
        tuple[FailedStart, ...],
        map_list("host", most=16),
        about("Hosts that would not start it, until it runs: placement avoids them for a time, also after a restart."),
    ] = ()
    run_count: Annotated[int, between(0, 2**31), about("How often it was started.")] = 0
    last_run: Annotated[Run | None, about("Its present or last run. Unset: never started.")] = None
    last_power_request: Annotated[PowerRequestDone | None, about("The last request done. Unset: none.")] = None
    last_restart: Annotated[Time | None, about("When it was last started anew by us. Unset: never.")] = None
    applied_generation: Annotated[
        int | None, between(0, 2**53), about("Generation that the running machine was started with. Unset: it is off.")
    ] = None
    steps: Annotated[
        tuple[Step, ...], atomic_list(most=16), about("When each step on the way to running was reached.")
    ] = ()
    guest: Annotated[GuestState | None, about("What the guest's agent reports. Unset: nothing.")] = None
