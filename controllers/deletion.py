"""How an object of any kind leaves: it waits while others refer to it, then what it stands for is undone, then it goes.

Called by the reconcilers of all kinds that others refer to.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from controllers.engine.base import Again, Obj, Services, Turn
from controllers.logic.references import in_use

LOOK_AGAIN = 60.0
"""The last referrer's going wakes the object; this only mends what was missed."""


def held_by_referrers(
    turn: Turn[Any, Any],
    services: Services,
    *,
    but: Callable[[Obj[Any, Any]], bool] | None = None,
    ready: bool = True,
) -> bool:
    """Whether something refers to the turn's object still: then `Deleting=True, InUse` says what, with count and
    names. `but`: referrers that do not hold it (references of origin, D4). `ready` False leaves Ready to the caller."""
    holders = [obj.key for obj in services.cache.referrers(turn.obj.key) if but is None or not but(obj)]
    text = in_use(turn.obj.key, holders)
    if text:
        turn.conditions.set("Deleting", "True", "InUse", text)
        if ready:
            turn.conditions.set("Ready", "False", "Deleting", "It is being deleted and takes nothing new.")
    return bool(text)


async def release_when_unreferenced(
    turn: Turn[Any, Any], services: Services, undo: Callable[[], Awaitable[Again | None]] | None = None
) -> Again | None:
    """Let the object go once nothing refers to it. `undo` takes away what it stands for outside the API first; it may
    raise, or answer when to look again because it is not done. Idempotent. Raises Refused CRDTerminating (N4)."""
    if held_by_referrers(turn, services):
        return Again(LOOK_AGAIN)
    if undo is not None:
        turn.conditions.set("Ready", "False", "Deleting", "It is being deleted.")
        await turn.may_destroy()
        again = await undo()
        if again is not None:
            return again
    await turn.release()
    return None
