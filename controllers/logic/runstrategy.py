"""What an instance shall do now, by its run strategy, its power request and how its last run ended. Pure.

The table in docs/instances.md is this module in words.
"""

import enum
from dataclasses import dataclass

from drivers.base import InstanceFacts, Power, Why


class Aim(enum.StrEnum):
    RUN = "Run"
    STOP = "Stop"
    """Ask the guest to shut down; cut its power after the grace period."""
    FORCE_OFF = "ForceOff"
    RESTART = "Restart"
    RESET = "Reset"
    LEAVE = "Leave"
    """As it is: what runs, runs on; what is off stays off."""


STOPPING = frozenset({Aim.STOP, Aim.FORCE_OFF, Aim.RESTART})

ENDED = frozenset({Why.SHUTDOWN, Why.DESTROYED, Why.CRASHED})
"""W3(b): the reasons that say that a run ended on that host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What is known of the runs so far."""

    runs: int = 0
    ended: str = ""
    """status.lastRun.reason: GuestShutdown, Crashed, Stopped, HostLost, Unknown; "" while it runs or never ran."""
    on_request: bool = False
    """The last run was stopped by a power request (not by the strategy)."""


def active(facts: InstanceFacts | None) -> bool:
    return facts is not None and facts.power in (Power.RUNNING, Power.PAUSED)


def aim(strategy: str, request: str, past: Past, *, is_active: bool, restarted: bool) -> Aim:
    """`request`: action of a pending power request, "" for none. `restarted`: the present run was started for it."""
    if request:
        asked = _asked(strategy, request, is_active, restarted)
        if asked is not None:
            return asked
    match strategy:
        case "Always":
            return Aim.RUN
        case "Halted":
            return Aim.STOP
        case "Manual":
            return Aim.LEAVE
        case "Once":
            return Aim.RUN if is_active or past.runs == 0 else Aim.LEAVE
    if is_active or past.runs == 0:
        return Aim.RUN
    stays = past.ended in ("", "GuestShutdown") or (past.ended == "Stopped" and past.on_request)
    return Aim.LEAVE if stays else Aim.RUN


def _asked(strategy: str, request: str, is_active: bool, restarted: bool) -> Aim | None:
    match request:
        case "Start":
            return Aim.RUN
        case "Stop":
            return Aim.STOP
        case "ForceStop" if strategy == "Always":
            return Aim.RESET if is_active else None
        case "ForceStop":
            return Aim.FORCE_OFF
        case "Restart":
            return Aim.RESTART if is_active and not restarted else Aim.RUN
        case "Reset" if is_active:
            return Aim.RESET
    return None


def how_it_ended(facts: InstanceFacts | None, *, stopping: bool) -> str:
    """Why a run ended, as status.lastRun.reason. `stopping`: we had been asking for that (level-triggered: the aim
    that holds now says so, also after a restart of the operator)."""
    if facts is None:
        return "Stopped" if stopping else "Unknown"
    if facts.power is Power.CRASHED or facts.why is Why.CRASHED:
        return "Crashed"
    if stopping and facts.why in ENDED:
        return "Stopped"
    if facts.why is Why.SHUTDOWN:
        return "GuestShutdown"
    return "Unknown" if facts.why in (Why.DESTROYED, Why.MIGRATED) else "HostLost"
