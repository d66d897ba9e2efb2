"""W7: a host that is deleted, or emptied for maintenance, keeps no machine that is off: its definition goes once its
record is safe beside the boot disk, and the instance gets another host at its next start.

Called where an instance rests, and where it should start and fits nowhere else. Afterwards `status.placement` has the
sequence and no host. Where that instance is started next, W3(c) asks all hosts, as for one that was removed by hand.
"""

from controllers.instances import nics, shape
from controllers.instances.seeds import copy_mark
from controllers.instances.work import Work
from drivers.base import Power, Undefine

AGAIN = 10.0


def homeless(work: Work) -> bool:
    """Whether it was taken off its host on purpose; without a sequence the status was lost, or it was never placed."""
    placement = work.status.placement
    return placement is not None and placement.host is None and placement.sequence > 0


async def leave(work: Work) -> bool:
    """Take it off its host if that leaves. False: it stays, or it has to be asked again. Idempotent. Raises
    DriverError and Refused while its record cannot be written."""
    placement, facts = work.status.placement, work.facts
    if placement is None or placement.host is None or not _leaves(work, placement.host):
        return False
    if facts is not None:
        disks = shape.disks_of(work)
        boot = disks.boot()
        safe = boot is None or boot.attachment is not None
        if facts.power not in (Power.OFF, Power.CRASHED) or facts.mark is None or not safe:
            work.wake.append(AGAIN)
            return False
        await copy_mark(work, disks, facts.mark)
        await work.act(Undefine())
        if work.facts is not None:
            work.wake.append(AGAIN)
            return False
        found = nics.nics_of(work)
        work.update(volumes=shape.volume_states(work, disks), networks=nics.network_states(work, found, {}))
    host = placement.host
    work.update(placement=placement.model_copy(update={"host": None, "decided_at": None}), host_ref=None)
    work.turn.event("TakenOffHost", f"Host {host} leaves: the stopped machine was taken off it, and starts elsewhere.")
    return True


def _leaves(work: Work, host: str) -> bool:
    """A deleted host once it says that it waits for its instances: what goes with its CRD says otherwise (N4)."""
    obj = work.cache.get("Host", "", host)
    if obj is None or obj.problem:
        return False
    said = obj.condition("Deleting") or {}
    return bool(obj.spec.maintenance) or (obj.deleting and said.get("reason") == "InUse")
