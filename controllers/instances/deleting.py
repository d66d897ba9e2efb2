"""The end of an instance: the guest is shut down, its machine goes, then its addresses and volumes, then the object.

An imported machine is released instead (N3). Nothing destructive is called while the CRD itself is going (N4).
"""

from datetime import timedelta

from controllers.engine.base import Again, Key, Refused
from controllers.instances import nics, placing, powering, volumes
from controllers.instances.work import Work
from controllers.logic.instance import REPEAT
from drivers.base import Destroy, Power, Release, Shutdown, Why

STILL_THERE = 2.0
"""Seconds until a machine that was said to be gone and is not is removed again."""


async def delete(work: Work) -> Again | None:
    """Raises Refused for everything that has to be waited for: its host first of all (W5)."""
    conditions = work.turn.conditions
    work.update(state="Deleting")
    conditions.set("Deleting", "True", "Deleting", "The machine goes first, then its addresses and volumes.")
    conditions.set("Ready", "False", "Deleting", "The instance is being deleted.")
    await work.turn.may_destroy()
    try:
        await placing.find(work)
    except Refused as refused:
        conditions.set("Deleting", "True", refused.reason, refused.message)
        raise
    if work.facts is not None and _releases(work):
        conditions.set("Deleting", "True", "Releasing", f"The machine stays on {work.host}; our mark is taken off it.")
        await work.act(Release())
        work.turn.event("Released", f"The machine runs on on {work.host}, and is not ours any more.")
    elif work.facts is not None:
        waits = await _stop(work)
        if waits is not None:
            return waits
        if await work.act(Destroy()) is not None:
            raise Refused(
                "StillThere",
                f"Host {work.host} says that the machine was removed, and still shows it: that is asked for again.",
                type_="Deleting", status="True", after=STILL_THERE,
            )  # fmt: skip
    await nics.give_back(work, lambda interface, address: True)
    await volumes.delete_made(work)
    await work.turn.release()
    work.tools.scheduler.forget(work.obj.uid)
    for rival in work.cache.indexed("uuid", work.uuid):
        work.tools.services.enqueue(rival.key)
    for host in work.tools.fleet.sightings(work.uuid):
        # A copy that somebody made there is an orphan from now on, and nothing else tells its host so.
        work.tools.services.enqueue(Key("Host", "", host))
    return None


def _releases(work: Work) -> bool:
    policy = work.spec.deletion_policy or ("Release" if work.status.imported else "Delete")
    return policy == "Release"


async def _stop(work: Work) -> Again | None:
    """The guest has its grace period here too; None once it is off, or out of time."""
    facts = work.facts
    if facts is None or facts.power is not Power.RUNNING or (facts.mark and facts.mark.starting is not None):
        return None
    if facts.why is Why.MIGRATING:
        work.turn.conditions.set("Deleting", "True", "Migrating", f"Somebody migrates it from or to {facts.host}.")
        return Again(5.0)
    asked, now = powering.stop_asked_at(work), work.now
    end = (asked or now) + timedelta(seconds=work.spec.shutdown.grace_period_seconds)
    if now >= end:
        return None
    last = work.memory.asked_last
    if asked is None or last is None or now - last >= REPEAT:
        facts = await work.act(Shutdown())
        work.reached("StopRequested")
        work.memory.asked_last = now
        if facts is None or facts.power is not Power.RUNNING:
            return None
    work.turn.conditions.set(
        "Deleting", "True", "Stopping", f"The guest was asked to shut down; its power is cut at {end:%H:%M:%S} UTC."
    )
    return Again(min((end - now).total_seconds(), REPEAT.total_seconds()))
