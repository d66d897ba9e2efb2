"""D3: what is no entry of the spec any more is taken off a machine that does not run.

Called where an instance rests, and before each start: who waits for what it had shall not wait for its start too.
"""

from controllers.instances import shape
from controllers.instances.work import Work
from controllers.logic.devices import SEED
from drivers.base import DetachDisk, DetachNic


async def detach_removed(work: Work) -> None:
    """Off the definition, then out of the status, also when there is no definition any more. Idempotent. Raises
    DriverError; does nothing while its host does not answer, nor to a definition that has no mark yet. Addresses stay
    claimed: before a first start the status may not say yet which were given to it."""
    if not work.seen or (work.facts is not None and work.facts.mark is None):
        return
    disks, networks = shape.declared(work.spec), {n.name for n in work.spec.networks}
    for disk in [d.name for d in work.facts.disks] if work.facts else ():
        if disk and disk != SEED and disk not in disks:
            await work.act(DetachDisk(disk))
    for nic in [n.name for n in work.facts.nics] if work.facts else ():
        if nic and nic not in networks:
            await work.act(DetachNic(nic))
    if work.facts:  # What did not let go yet.
        disks |= {d.name for d in work.facts.disks}
        networks |= {n.name for n in work.facts.nics}
    work.update(
        volumes=tuple(v for v in work.status.volumes if v.name in disks),
        networks=tuple(n for n in work.status.networks if n.name in networks),
    )
