"""A machine that runs, or rests, as it should: its devices, its mark, its drift, and what its guest says."""

from controllers.engine.base import Refused
from controllers.instances import detaching, leaving, nics, shape, volumes
from controllers.instances.seeds import copy_mark
from controllers.instances.starting import compose_mark, definition, seed_of
from controllers.instances.work import Work
from controllers.logic import devices, drift
from controllers.logic.runstrategy import active
from crds.base import NameRef
from crds.instancestatus import InstanceResources
from drivers.base import Capabilities, Define, WriteMark
from drivers.errors import Busy, DriverError

_EVERYTHING = Capabilities(hypervisor="")
MOST_CHANGES = 8
"""Device changes in one turn; more go on in the next."""


async def tend(work: Work) -> None:
    """Of a running guest; left as it is when the guest ends meanwhile. Sets RestartRequired, Drifted, AgentConnected.
    Raises DriverError."""
    assert work.facts is not None
    await volumes.make_missing(work, {})
    await volumes.carry_over(work)
    disks = await _devices(work)
    found = nics.nics_of(work)
    await _correct(work, disks, found)
    await _keep_mark(work, disks)
    if not active(work.facts):
        return
    reported = await _guest(work, found)
    _show(work, disks, found, reported)
    await nics.give_back_unused(work)
    _restart_required(work, disks)


async def rest(work: Work) -> None:
    """Of one that is off, or was never started, and shall be so: no room is kept for a start that nobody wants now.
    Entries that are gone are detached (D3); its mark is settled (M2)."""
    work.tools.scheduler.forget(work.obj.uid)
    if work.facts is None or not work.facts.mark:
        _show_unseen(work)
        if work.seen:
            await leaving.leave(work)
        return
    await detaching.detach_removed(work)
    disks = shape.disks_of(work)
    if work.facts is not None and work.facts.mark:
        mark = compose_mark(work, disks, starting=None, runs=work.status.run_count, digest=work.facts.digest)
        if mark != work.facts.mark:
            await work.act(WriteMark(mark))
            await copy_mark(work, disks, mark)
    found = nics.nics_of(work)
    _show(work, disks, found, {})
    await nics.give_back_unused(work)
    await leaving.leave(work)


def _show_unseen(work: Work) -> None:
    """Not placed, or its definition is gone: what the spec says, with what is known still."""
    volumes.note_detached(work)
    if work.status.placement is None or not work.status.placement.host:
        names = shape.declared(work.spec)
        work.update(volumes=tuple(v for v in work.status.volumes if v.name in names))
        return
    disks = shape.disks_of(work)
    work.update(volumes=shape.volume_states(work, disks))
    work.update(networks=nics.network_states(work, nics.nics_of(work), {}))


async def _devices(work: Work) -> shape.Disks:
    """Hot changes, one after the other. A guest that does not let go is asked again later."""
    capabilities: Capabilities | None = None
    for _ in range(MOST_CHANGES):
        disks, found = shape.disks_of(work), nics.nics_of(work)
        if not active(work.facts):
            return disks
        ready = await _claimed(work, found)
        if _differences(work, disks, ready, _EVERYTHING).change is None:
            return disks
        if capabilities is None:
            capabilities = await work.call("capabilities", lambda end: end.capabilities, changes=False)
        change = _differences(work, disks, ready, capabilities).change
        if change is None:
            return disks
        # D1: the status says which slot it has before it is there.
        work.update(volumes=shape.volume_states(work, disks), networks=nics.network_states(work, ready, {}))
        try:
            await work.act(change)
        except Busy:
            work.wake.append(5.0)
            return disks
        await _keep_mark(work, shape.disks_of(work), fresh=True)
    return shape.disks_of(work)


async def _claimed(work: Work, found: tuple[nics.Nic, ...]) -> tuple[nics.Nic, ...]:
    """A NIC that is new gets its addresses before it is attached."""
    there = {n.name for n in work.facts.nics} if work.facts else set()
    new = tuple(n for n in found if n.attachment and n.spec.name not in there)
    if new:
        await nics.claim_addresses(work, new)
    return found


def _differences(work: Work, disks: shape.Disks, found: tuple[nics.Nic, ...], can: Capabilities) -> devices.Differences:
    assert work.facts is not None
    return devices.compare(
        work.facts, disks.attachments(), [n.attachment for n in found if n.attachment],
        declared_disks=shape.declared(work.spec), declared_nics=frozenset(n.name for n in work.spec.networks),
        hot_disks=can.hot_disks, hot_nics=can.hot_nics,
    )  # fmt: skip


async def _correct(work: Work, disks: shape.Disks, found: tuple[nics.Nic, ...]) -> None:
    """driftPolicy: what somebody changed by hand is changed back, or only shown."""
    if work.facts is None or not active(work.facts):
        return
    seen = drift.drift(work.facts, disks.attachments(), [n.attachment for n in found if n.attachment], running=True)
    if not seen.message:
        return
    if work.spec.drift_policy == "Report" or work.turn.paused:
        what = f"on {work.facts.host}: {seen.message}. driftPolicy Report: it is left so."
        work.turn.conditions.set("Drifted", "True", "ChangedByHand", what)
        return
    before, mark = work.facts, work.facts.mark
    problems = [e.problem for e in disks.entries if e.problem] + [n.problem for n in found if n.problem]
    if work.status.hardware is None or problems or mark is None:
        what = f"on {before.host}: {seen.message}. It is changed back once everything it names is there."
        work.turn.conditions.set("Drifted", "True", "ChangedByHand", what)
        return
    await work.act(Define(definition(work, disks, found, mark, seed_of(work, disks))))
    await _keep_mark(work, disks, fresh=True)
    work.turn.event("DriftCorrected", f"Changed back on {before.host}: {seen.message}.", warning=True)
    left = drift.drift(work.facts, disks.attachments(), [], running=True) if work.facts else drift.Drift("")
    if left.message:
        what = f"on {before.host}: {left.message}. Its definition is as declared; a restart changes the rest back."
        work.turn.conditions.set("Drifted", "True", "ChangedByHand", what)


async def _keep_mark(work: Work, disks: shape.Disks, *, fresh: bool = False) -> None:
    """The mark says what is so now. `fresh`: the definition was just written by us, its digest is the new measure."""
    facts = work.facts
    if facts is None or facts.mark is None:
        return
    digest = facts.digest if fresh else None
    mark = compose_mark(work, disks, starting=facts.mark.starting, runs=facts.mark.run_count, digest=digest)
    if mark != facts.mark:
        await work.act(WriteMark(mark))


async def _guest(work: Work, found: tuple[nics.Nic, ...]) -> dict[str, tuple[str, ...]]:
    """What the agent reports of NICs that ask the wire for their address."""
    assert work.facts is not None
    if not work.facts.agent_connected:
        return {}
    work.reached("AgentConnected")
    asking = [n.spec.name for n in found if n.network is not None and n.network.spec.ipam is None]
    if len(asking) != 1 or len(found) != 1:
        return {}
    try:
        told = await work.call("guest_addresses", lambda end: end.guest_addresses(work.host, work.uuid), changes=False)
    except DriverError:
        return {}
    return {asking[0]: tuple(sorted(told))[:16]}


def _show(work: Work, disks: shape.Disks, found: tuple[nics.Nic, ...], reported: dict[str, tuple[str, ...]]) -> None:
    facts = work.facts
    work.update(volumes=shape.volume_states(work, disks), networks=nics.network_states(work, found, reported))
    primary = next((n for n in work.status.networks if n.primary), None)
    shown = (primary.addresses or primary.reported) if primary else ()
    work.update(primary_address=shown[0] if shown else None)
    volumes.note_detached(work)
    if facts is not None and active(facts):
        work.update(
            resources=InstanceResources(cpus=facts.cpus, memory=facts.memory, overhead=facts.overhead),
            host_ref=NameRef(name=facts.host),
        )


def _restart_required(work: Work, disks: shape.Disks) -> None:
    """Named field by field; a type that is gone meanwhile changes nothing for a guest that runs."""
    assert work.facts is not None
    try:
        size = shape.size_of(work)
    except Refused:
        return
    waits = list(
        drift.waiting_for_restart(work.spec, work.facts, cpus=size.cpus, memory=size.memory, orders=disks.orders)
    )
    there = {d.name: d for d in work.facts.disks}
    waits += [
        f"spec.volumes[{a.name}]: {'is attached' if a.name not in there else 'has another disk'} at the next start"
        for a in disks.attachments()
        if a.name not in there or (there[a.name].disk != a.disk and a.device != "cdrom")
    ]
    if waits:
        work.turn.conditions.set(
            "RestartRequired", "True", "SpecChanged",
            f"A restart changes: {'; '.join(waits)}. Ask for one by spec.power: {{action: Restart, requestedAt: now}}.",
        )  # fmt: skip
