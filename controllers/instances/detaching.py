"""D3: what is no entry of the spec any more is taken off a machine that does not run.

Called where an instance rests, and before each start: who waits for what it had shall not wait for its start too.
"""

from collections.abc import Collection

from controllers.instances import nics, shape
from controllers.instances.work import Work
from controllers.logic.devices import SEED
from controllers.logic.runstrategy import active
from drivers.base import DetachDisk, DetachNic, InstanceFacts


async def detach_removed(work: Work) -> None:
    """Off the definition, then out of the status, also when there is no definition any more. Idempotent. Raises
    DriverError; does nothing while its host does not answer, nor to a definition that has no mark yet. What NICs that
    stay have claimed stays: before a first start the status may not say yet which addresses were given to it."""
    if not work.seen or (work.facts is not None and work.facts.mark is None):
        return
    disks, networks = shape.declared(work.spec), {n.name for n in work.spec.networks}
    for disk in _removed(work.facts, disks):
        await work.act(DetachDisk(disk))
    for nic in [n.name for n in work.facts.nics] if work.facts else ():
        if nic and nic not in networks:
            await work.act(DetachNic(nic))
    await _from_copies(work, disks)
    if work.facts:  # What did not let go yet.
        disks |= {d.name for d in work.facts.disks}
        networks |= {n.name for n in work.facts.nics}
    work.update(
        volumes=tuple(v for v in work.status.volumes if v.name in disks),
        networks=tuple(n for n in work.status.networks if n.name in networks),
    )
    await nics.give_back(work, lambda interface, address: interface not in networks)


async def _from_copies(work: Work, disks: Collection[str]) -> None:
    """A definition that somebody copied to another host stays until ours runs (W4); a removed disk does not wait."""
    for host, facts in list(work.tools.fleet.sightings(work.uuid).items()):
        ours = facts.mark is not None and facts.mark.sequence == work.placement.sequence
        if host != work.host and ours and not active(facts):
            for disk in _removed(facts, disks):
                act = work.tools.fleet.act
                await act(host, work.uuid, DetachDisk(disk), uid=work.obj.uid, sequence=work.placement.sequence)


def _removed(facts: InstanceFacts | None, disks: Collection[str]) -> list[str]:
    return [d.name for d in facts.disks if d.name and d.name != SEED and d.name not in disks] if facts else []
