"""The one place where what a reconcile raised becomes conditions and the moment of the next try.

| raised           | Synced                          | Ready                            | next try             |
|------------------|---------------------------------|----------------------------------|----------------------|
| nothing          | True, unless set                | as set                           | `Again`, else resync |
| Refused          | True, or False (`synced` False) | False with its reason            | `after`, else resync |
| Retryable        | False with its reason           | as set or as it was (see below)  | back-off             |
| Rejected         | False with its reason           | as set, else False, its reason   | slow back-off        |
| ApiError         | False, APIRefused               | as set or as it was              | back-off             |
| Conflict         | nothing is written              |                                  | at once, after a GET |
| Paused           | as set or as it was             | as set or as it was              | resync               |
| NotYet           | nothing is written              |                                  | `after`              |
| NotLeader        | nothing is written              |                                  | back-off             |
| else: a bug      | False, InternalError            | as set or as it was              | back-off, counted    |

"As set" means by the turn before it raised. After a Retryable, an object that nobody has looked at yet is Ready=Unknown
with the error's reason, so that people see what it waits for; one that was looked at keeps what was seen.
A turn that raised may have ended early, so conditions that it did not set stand as they were.
"""

import enum
from dataclasses import dataclass

from controllers.engine.base import ApiError, Conflict, NotLeader, NotYet, Paused, Refused
from controllers.engine.turns import LiveTurn, Released
from drivers.errors import DriverError, Retryable


class Next(enum.Enum):
    DONE = "done"
    """Well: again at `after` or at the resync."""
    RETRY = "retry"
    """Again after the back-off, at least after `after`."""
    CONFLICT = "conflict"
    """Read it again, then at once."""
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Outcome:
    next: Next
    result: str
    """For metrics."""
    after: float | None = None
    write: bool = True
    bug: bool = False


#: A platform's "no" is asked for again no sooner than this many seconds.
SLOW = 30.0


def settle(turn: LiveTurn, error: Exception | None) -> Outcome:
    """Set what the table says on the turn's conditions. Pure but for that."""
    if turn.paused:
        turn.conditions.set(
            "ReconciliationPaused",
            "True",
            "Paused",
            "The object is annotated stratiform.dev/paused: it is not acted on before the annotation is removed.",
        )
    match error:
        case None:
            return _settle_well(turn)
        case Refused():
            return _settle_refused(turn, error)
        case DriverError():
            return _settle_driver_error(turn, error)
        case Paused():
            if turn.obj.deleting:
                waits = "It goes once the annotation stratiform.dev/paused is removed."
                turn.conditions.set("Deleting", "True", "Paused", waits)
            return Outcome(Next.DONE, "Paused")
        case Conflict():
            return Outcome(Next.CONFLICT, "Conflict", write=False)
        case Released():
            return Outcome(Next.RELEASED, "Released", write=False)
        case NotYet():
            return Outcome(Next.DONE, "NotYet", after=error.after, write=False)
        case NotLeader():
            return Outcome(Next.RETRY, "NotLeader", write=False)
        case ApiError():
            turn.conditions.set("Synced", "False", "APIRefused", f"The API server refused a request: {error}")
            # Without an answer, or out of breath, it would not take the status either.
            return Outcome(Next.RETRY, "APIError", write=not error.retryable)
        case _:
            # Its text may hold anything, so only its type is told; the log has the rest.
            turn.conditions.set(
                "Synced",
                "False",
                "InternalError",
                f"The operator failed in a way it does not know ({type(error).__name__}); this object is tried again, "
                "others go on. The operator's log has the details: please report them.",
            )
            return Outcome(Next.RETRY, "Bug", bug=True)


def _settle_well(turn: LiveTurn) -> Outcome:
    if turn.released:
        return Outcome(Next.RELEASED, "Released", write=False)
    if not turn.conditions.is_set("Synced") and not turn.paused:
        turn.conditions.set("Synced", "True", "Reconciled")
    return Outcome(Next.DONE, "OK")


def _settle_refused(turn: LiveTurn, refused: Refused) -> Outcome:
    turn.conditions.set(refused.type_, refused.status, refused.reason, refused.message)
    if refused.type_ != "Ready":
        turn.conditions.set("Ready", "False", refused.reason, refused.message)
    if refused.stalled:
        turn.conditions.set("Stalled", "True", refused.reason, refused.message)
    if not refused.synced and refused.type_ != "Synced":
        turn.conditions.set("Synced", "False", refused.reason, refused.message)
    elif not turn.conditions.is_set("Synced"):
        turn.conditions.set("Synced", "True", "Reconciled")
    return Outcome(Next.DONE, "Refused", after=refused.after)


def _settle_driver_error(turn: LiveTurn, error: DriverError) -> Outcome:
    text = str(error)
    turn.conditions.set("Synced", "False", error.reason, text)
    ready = turn.conditions.get("Ready")
    never_looked = ready is None or ready.get("status") == "Unknown"
    retryable = isinstance(error, Retryable)
    if not turn.conditions.is_set("Ready"):
        if not retryable:
            turn.conditions.set("Ready", "False", error.reason, text)
        elif never_looked:
            turn.conditions.set("Ready", "Unknown", error.reason, text)
    return Outcome(Next.RETRY, error.reason, after=None if retryable else SLOW)
