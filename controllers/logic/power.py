"""Whether a power request is to be done: once, in time, and only what the run strategy allows. Pure.

The controller judges, not the schema: CEL has no clock, and `spec.power` outlives its use (api.md).
"""

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

from crds.instance import Power
from crds.instancestatus import PowerRequestDone

AHEAD = timedelta(minutes=5)
"""How far in the future a request may lie: clocks differ, wishes for tomorrow are refused."""

UNKNOWN_ACTION = "Unknown"
"""Of a request that only a mark tells of: it keeps the time alone."""

ALLOWED = {
    "Always": frozenset({"ForceStop", "Restart", "Reset"}),
    "RerunOnFailure": frozenset({"ForceStop", "Restart", "Reset"}),
    "Once": frozenset({"ForceStop", "Reset"}),
    "Manual": frozenset({"Start", "Stop", "ForceStop", "Restart", "Reset"}),
    "Halted": frozenset({"ForceStop"}),
}
_INSTEAD = {
    ("Start", "Halted"): "set spec.runStrategy to Always, or to Manual and ask again",
    ("Restart", "Halted"): "it is declared stopped: set spec.runStrategy to Always",
    ("Reset", "Halted"): "it is declared stopped: set spec.runStrategy to Always",
    ("Restart", "Once"): "it runs once: set spec.runStrategy to Always, RerunOnFailure or Manual",
}


class Standing(enum.StrEnum):
    """What is to be made of `spec.power`."""

    NONE = "None"
    """Nothing asked, or done already, or older than the last one done or than the instance."""
    PENDING = "Pending"
    REFUSED = "PowerRequestRefused"
    AHEAD = "PowerRequestAhead"


@dataclass(frozen=True, slots=True)
class Judgement:
    standing: Standing
    message: str = ""


NOTHING = Judgement(Standing.NONE)


def judge(
    request: Power | None, strategy: str, *, created_at: datetime, last_done: PowerRequestDone | None, now: datetime
) -> Judgement:
    """`last_done` comes from the status or else from the mark."""
    if request is None or request.requested_at <= created_at or (last_done and _was_done(request, last_done)):
        return NOTHING
    if request.requested_at > now + AHEAD:
        return Judgement(
            Standing.AHEAD,
            f"spec.power.requestedAt: {_text(request.requested_at)} is more than 5 minutes ahead of now "
            f"({_text(now)}): write the present time in UTC; nothing was done.",
        )
    if request.action not in ALLOWED[strategy]:
        start_stop = "Start and Stop are for runStrategy Manual: set spec.runStrategy to Always or Halted instead"
        advice = _INSTEAD.get((request.action, strategy), start_stop)
        return Judgement(
            Standing.REFUSED,
            f"spec.power.action: {request.action} is not possible with spec.runStrategy {strategy}: {advice}.",
        )
    return Judgement(Standing.PENDING)


def _was_done(request: Power, last: PowerRequestDone) -> bool:
    """Another action of the same second is another request: scripts ask for Start and ForceStop within one."""
    if request.requested_at == last.requested_at:
        return last.action in (request.action, UNKNOWN_ACTION)
    return request.requested_at < last.requested_at


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
