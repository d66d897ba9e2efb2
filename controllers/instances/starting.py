"""A start: everything it needs, then the definition, the paused start, the last look and the resume (W1, W6).

Every part is idempotent and chosen from what is seen, so that a process that is killed in between goes on.
"""

from datetime import datetime

from controllers.engine.base import NotYet, Obj, Refused
from controllers.instances import detaching, nics, placing, shape, volumes
from controllers.instances.identify import identity_of
from controllers.instances.seeds import write_seed
from controllers.instances.work import Work
from controllers.logic import drift, hardware, records
from controllers.logic.attempts import with_failure
from controllers.logic.devices import SEED
from controllers.logic.identity import platform_name
from controllers.logic.inheritance import lineage
from controllers.logic.instance import ended_here
from controllers.logic.volumes import volume_uuid
from crds.base import NameRef
from crds.hostcluster import HostClusterSpec, HostClusterStatus
from crds.instancestatus import InstanceResources, Run
from drivers.base import Define, DiskAttachment, InstanceDefinition, Resume, StartPaused, WriteMark
from drivers.errors import Rejected
from drivers.marks import InstanceMark

UNSAID = 1.0
"""Seconds after its placement in which it says nothing of what is being made for it: most is ready by then, and each
news would be a write."""
BASELINE_AGAIN = 0.2
"""Seconds between looks for a baseline: it is computed once in a cluster's life."""


async def prepare(work: Work) -> None:
    """Placement that fits, volumes granted and ready, addresses claimed, hardware chosen. Raises Refused and, of the
    hardware, DriverError."""
    await detaching.detach_removed(work)
    pools = await placing.settle_before_start(work)
    await work.turn.ensure_finalizer()
    await volumes.make_missing(work, pools)
    await volumes.carry_over(work)
    disks, found = shape.disks_of(work), nics.nics_of(work)
    work.update(volumes=shape.volume_states(work, disks), networks=nics.network_states(work, found, {}))
    problem = next((e.problem for e in disks.entries if e.problem), None) or shape.lost(disks)
    if problem:
        if problem[0] == "Provisioning" and _just_placed(work):
            raise NotYet(UNSAID)
        work.update(state="Provisioning")
        raise Refused(*problem)
    work.reached("VolumesReady")
    problem = next((n.problem for n in found if n.problem), None)
    if problem:
        raise Refused(*problem)
    nics.check_primary(work, found)
    await nics.claim_addresses(work, found)
    work.reached("AddressesReady")
    await _choose_hardware(work, disks)
    work.update(state="Starting")


async def _choose_hardware(work: Work, disks: shape.Disks) -> None:
    host = work.cache.get("Host", "", work.host)
    above = lineage(work.cache, host) if host else None
    if above is None or above.cluster is None:
        raise Refused("HostNotFound", f"Host {work.host}, where it is placed, or its HostCluster does not exist.")
    _require_baseline(work, above.cluster)
    template = shape.boot_template(work, disks)
    wanted = hardware.wanted(
        work.spec, template.spec if template else None, work.status.hardware, above.cluster.spec, above.cluster.status
    )
    try:
        chosen = await work.call("choose_hardware", lambda end: end.choose_hardware(work.host, wanted), changes=False)
    except Rejected as error:
        _avoid(work, error)
        raise
    size = shape.size_of(work)
    architecture = above.cluster.spec.architecture
    work.update(
        hardware=hardware.state(chosen, cpus=size.cpus, memory=size.memory, architecture=architecture),
        platform_name=work.status.platform_name or platform_name(work.obj.namespace, work.obj.name, work.uuid),
    )


def _just_placed(work: Work) -> bool:
    decided = work.placement.decided_at
    return decided is not None and (work.now - decided).total_seconds() < UNSAID


def _require_baseline(work: Work, cluster: Obj[HostClusterSpec, HostClusterStatus]) -> None:
    """A guest that is started before the baseline is known would see another CPU than at every later start."""
    if not hardware.cpu_known(cluster.spec, cluster.status):
        if _just_placed(work):
            raise NotYet(BASELINE_AGAIN)
        raise Refused(
            "WaitingForBaseline",
            f"{cluster.key} has not computed yet which CPU its guests see (status.cpu, spec.cpu.mode Baseline): that "
            "is done as soon as each of its hosts was asked once, and the start goes on by itself.",
            after=BASELINE_AGAIN,
        )


async def define_for_start(work: Work, run: int) -> None:
    """The seed, then the definition with `starting` in its mark, also beside the boot disk (M2). Raises DriverError."""
    disks, found = shape.disks_of(work), nics.nics_of(work)
    mark = compose_mark(work, disks, starting=run, runs=run - 1)
    seed = await write_seed(work, disks, mark)
    try:
        await work.act(Define(definition(work, disks, found, mark, seed)))
    except Rejected as error:
        _avoid(work, error)
        raise
    work.reached("Defined")


def definition(
    work: Work, disks: shape.Disks, found: tuple[nics.Nic, ...], mark: InstanceMark, seed: DiskAttachment | None
) -> InstanceDefinition:
    """Everything the host needs to know, from the status and the objects."""
    size = shape.size_of(work)
    kept = work.status.hardware
    assert kept is not None
    boot = disks.boot()
    nvram = None
    if kept.firmware == "UEFI" and boot and boot.attachment:
        nvram = (boot.attachment.pool, f"{boot.attachment.disk}.nvram")
    return InstanceDefinition(
        title=work.status.platform_name or platform_name(work.obj.namespace, work.obj.name, work.uuid),
        mark=mark,
        cpus=size.cpus,
        memory=size.memory,
        max_cpus=size.cpus,
        max_memory=size.memory,
        hardware=hardware.driver(kept),
        disks=disks.attachments(),
        nics=tuple(n.attachment for n in found if n.attachment),
        seed_disk=seed,
        nvram=nvram,
    )


def seed_of(work: Work, disks: shape.Disks) -> DiskAttachment | None:
    """The seed as it lies beside the boot disk, for a definition that is written again without a start."""
    boot = disks.boot()
    there = work.facts and next((d for d in work.facts.disks if d.name == SEED), None)
    if boot is None or boot.attachment is None or not there:
        return None
    return DiskAttachment(
        name=SEED, slot=0, pool=boot.attachment.pool, disk=there.disk, format="raw", device="cdrom", read_only=True
    )


def compose_mark(
    work: Work, disks: shape.Disks, *, starting: int | None, runs: int, digest: str | None = None
) -> InstanceMark:
    """`digest`: of the definition as it is now; None keeps what the mark says."""
    old = work.facts.mark if work.facts else None
    if starting is not None or old is None:
        started = drift.started_with(work.spec, disks.orders)
    else:
        started = {k: v for k, v in old.started if k != drift.DEFINITION}
    kept = dict(old.started).get(drift.DEFINITION) if old and starting is None else None
    shown = digest or kept
    if shown:
        started[drift.DEFINITION] = shown
    return records.compose(
        identity_of(work), work.status, sequence=work.placement.sequence, disks=volume_records(work, disks),
        starting=starting, runs=runs, restart=_restart(work, starting), started=started.items(),
    )  # fmt: skip


def _restart(work: Work, starting: int | None) -> datetime | None:
    """A start while a Restart is pending is that restart; afterwards the record stays."""
    power = work.spec.power
    if starting is not None and work.request == "Restart" and power:
        return power.requested_at
    old = work.facts.mark.last_restart if work.facts and work.facts.mark else ""
    return records.moment(old) if old else work.status.last_restart


def volume_records(work: Work, disks: shape.Disks) -> tuple[tuple[str, str, str], ...]:
    """(entry, volume uuid, disk) of every disk that it has or is about to have; drives are none."""
    found = {
        e.spec.name: (e.spec.name, volume_uuid(e.volume), e.attachment.disk)
        for e in disks.entries
        if e.volume is not None and e.attachment is not None
    }
    old = {v[0]: v for v in work.facts.mark.volumes} if work.facts and work.facts.mark else {}
    there = {d.name for d in work.facts.disks} if work.facts else set()
    return tuple(sorted({**{n: v for n, v in old.items() if n in there}, **found}.values()))


async def start_paused(work: Work) -> None:
    """W3(b) becomes (a) here: what allowed the start allows its resume, until a change that we did not make."""
    if ended_here(work.facts, work.placement.sequence):
        work.tools.fleet.note_first_decision(work.uuid)
    try:
        await work.act(StartPaused())
    except Rejected as error:
        _avoid(work, error)
        raise


def _avoid(work: Work, error: Rejected) -> None:
    """A first start that this host refuses is tried on another one (where W3 asks all hosts again, unless this process
    decided it first); kept in the status, so that a restart of the operator does not forget it. What never ran is not
    bound to the hardware that this host chose; an imported machine is."""
    if work.status.run_count == 0:
        failed = with_failure(work.status.failed_starts, work.host, work.now, error.reason, str(error))
        work.update(failed_starts=failed, hardware=work.status.hardware if work.status.imported else None)


async def let_run(work: Work) -> None:
    """The Lease is looked at by the fleet, W3 was looked at by the plan, with nothing awaited in between."""
    await work.act(Resume())


async def finish(work: Work) -> None:
    """Take `starting` out of the mark, count the run, say so. Idempotent."""
    facts = work.facts
    assert facts is not None and facts.mark is not None
    run = facts.mark.starting or work.status.run_count or 1
    restart = records.moment(facts.mark.last_restart) if facts.mark.last_restart else None
    last = work.status.last_run
    begun = last is None or last.ended_at is not None or work.status.run_count < run
    if begun:
        work.update(
            run_count=run,
            last_run=Run(started_at=work.now, host=facts.host),
            applied_generation=work.obj.generation,
            last_restart=restart or work.status.last_restart,
        )
        if run > 1:  # Of the first, Ready's change tells.
            work.turn.event("Started", f"Run {run} began on {facts.host}.")
    size = InstanceResources(cpus=facts.cpus, memory=facts.memory, overhead=facts.overhead)
    work.update(resources=size, host_ref=NameRef(name=facts.host))
    work.reached("Started")
    work.memory.asked_last = None
    work.memory.refused = 0
    if work.status.failed_starts:
        work.update(failed_starts=())
    disks = shape.disks_of(work)
    await work.act(WriteMark(compose_mark(work, disks, starting=None, runs=run, digest=facts.digest)))
