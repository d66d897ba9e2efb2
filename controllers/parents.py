"""What Region, Zone, HostPod and HostCluster have in common: a parent that must be there, what is below counted and
summed up, and ancestors that hear of it.
"""

from typing import Any

from controllers.deletion import release_when_unreferenced
from controllers.engine.base import Again, Key, Obj, Refused, Services, Turn
from controllers.logic.rollup import EVERY, Sum, hosts_below, pools_below, sum_of


async def enter(turn: Turn[Any, Any], services: Services) -> Again | None:
    """Finalizer at first sight; an object that is being deleted goes, or answers when it is to be looked at again.
    After it the turn goes on in any case: what is below is counted until the end."""
    if turn.obj.deleting:
        return await release_when_unreferenced(turn, services)
    await turn.ensure_finalizer()
    return None


def sum_up(turn: Turn[Any, Any], services: Services, above: list[Key], **counts: Any) -> Sum:
    """Compose the status from what is below, and wake those `above`, some seconds later, when it changed."""
    cache, key = services.cache, turn.obj.key
    found = sum_of(hosts_below(cache, key), pools_below(cache, key))
    turn.status = turn.status.model_copy(
        update={
            "state": "Deleting" if turn.obj.deleting else "Ready",
            "hosts": found.hosts,
            "instances": found.instances,
            "capacity": found.capacity,
            "summary": found.summary,
            **counts,
        }
    )
    if turn.status != turn.obj.status:
        for ancestor in above:
            turn.wake(ancestor, after=EVERY)
    return found


def ready(turn: Turn[Any, Any], *below: tuple[int, str]) -> None:
    """Ready, with what is below in words. An object that is being deleted keeps what its deletion says."""
    if not turn.obj.deleting:
        turn.conditions.set("Ready", "True", "Ready", f"{', '.join(_counted(*pair) for pair in below)}.")


def require(services: Services, key: Key, field: str) -> Obj[Any, Any]:
    """The object that `field` names. Raises Refused `<Kind>NotFound`; it may be applied later."""
    found = services.cache.get(key.kind, key.namespace, key.name)
    if found is None:
        raise Refused(f"{key.kind}NotFound", f"{field}: {key.kind} {key.name} does not exist.")
    return found


def _counted(count: int, kind: str) -> str:
    return f"{count or 'no'} {kind}{'' if count == 1 else 's'}"
