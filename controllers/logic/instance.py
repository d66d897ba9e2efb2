"""One next step towards what an instance shall be on its own host. Pure: the table of the product's heart.

Called by `controllers.instances.running` until the step is Done or something must be waited for. Every step is
chosen from observed facts alone, so that a process that is killed between any two of them goes on where it was.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from controllers.logic.location import starting
from controllers.logic.runstrategy import ENDED, Aim
from drivers.base import InstanceFacts, Power, Why


@dataclass(frozen=True, slots=True)
class Prepare:
    """Everything a start needs: volumes granted and ready, addresses claimed, seed written, hardware chosen."""


@dataclass(frozen=True, slots=True)
class DefineForStart:
    """Write the definition, with `starting` in its mark."""

    run: int


@dataclass(frozen=True, slots=True)
class Start:
    """Start it paused."""


@dataclass(frozen=True, slots=True)
class LetRun:
    """The last look was had: resume it (W6)."""


@dataclass(frozen=True, slots=True)
class FinishStart:
    """It runs: take `starting` out of its mark and count the run."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the guest to shut down."""


@dataclass(frozen=True, slots=True)
class CutPower:
    """Force it off. `why` is for the event."""

    why: str


@dataclass(frozen=True, slots=True)
class PressReset:
    pass


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be done before something happens, or `until`. Ready=False with reason and message."""

    reason: str
    message: str
    until: datetime | None = None
    rounds: bool = False
    """Ask for two whole rounds of listings (W3c)."""


@dataclass(frozen=True, slots=True)
class Tend:
    """It runs as it should: devices, marks and drift are looked after."""


@dataclass(frozen=True, slots=True)
class Rest:
    """It is off as it should be."""


Step = Prepare | DefineForStart | Start | LetRun | FinishStart | Ask | CutPower | PressReset | Wait | Tend | Rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What the next step depends on besides the facts of the domain."""

    aim: Aim
    now: datetime
    sequence: int
    """Of the persisted placement."""
    placed: bool = True
    """A placement was decided; without one, the preparation decides it."""
    elsewhere: str = ""
    """A host on which another copy is seen running."""
    ran_twice: bool = False
    """As its status says still: that one copy ended tells nothing of the other (W4)."""
    decided_first: bool = False
    """W3(a)."""
    clear: bool = False
    """W3(c) for all other hosts of the zone; for its own too where it is missing there."""
    waiting_for: tuple[str, ...] = ()
    """Hosts that have not answered in two whole rounds."""
    runs: int = 0
    prepared: bool = False
    defined: bool = False
    """Defined for this start by this turn."""
    asked_at: datetime | None = None
    """When the guest was first asked to shut down for the present reason."""
    grace: timedelta = timedelta(seconds=60)
    not_before: datetime | None = None
    """Back-off of restarts."""
    quick_ends: int = 0
    """Runs in a row that ended within a minute."""


REPEAT = timedelta(seconds=5)
"""How often the wish to shut down is repeated: a guest that still boots does not hear it."""


def ended_here(facts: InstanceFacts | None, sequence: int) -> bool:
    """W3(b): off on its own host under the current sequence, with a reason that says that it ended there."""
    return bool(
        facts and facts.mark and facts.mark.sequence == sequence and facts.power in (Power.OFF, Power.CRASHED)
        and facts.why in ENDED
    )  # fmt: skip


def may_run(facts: InstanceFacts | None, s: Situation) -> bool:
    """W3: this process knows that no other copy can run. Of one that is not placed, whoever decides knows (W2, N3)."""
    ended = ended_here(facts, s.sequence) and not s.ran_twice
    return not s.placed or (not s.elsewhere and (s.decided_first or s.clear or ended))


def plan(facts: InstanceFacts | None, s: Situation) -> Step:
    """The next step; `facts` is the domain on the placement's host, None when it is known to be missing there."""
    if facts is not None and facts.why is Why.MIGRATING:
        who = f"the instance is being migrated by somebody from or to {facts.host}"
        return Wait("Migrating", f"{who}: it is left alone until then.")
    if facts is None or facts.power in (Power.OFF, Power.CRASHED):
        return _off(facts, s)
    if facts.power is Power.PAUSED:
        return _paused(facts, s)
    if facts.mark and facts.mark.starting is not None:
        return FinishStart()
    return _running(facts, s)


def _off(facts: InstanceFacts | None, s: Situation) -> Step:
    if s.aim not in (Aim.RUN, Aim.RESTART):
        return Rest()
    if not may_run(facts, s):
        return _not_yet(s, "started")
    if s.not_before and s.now < s.not_before:
        return Wait(
            "CrashLoopBackOff",
            f"the guest ended {s.quick_ends} times in a row within a minute of its start; it is started again at "
            f"{s.not_before:%H:%M:%S} UTC. Its console and spec.runStrategy Manual help to find out why.",
            until=s.not_before,
        )
    if not s.prepared:
        return Prepare()
    marked = facts is not None and facts.mark is not None and facts.mark.starting == s.runs + 1
    # W6: without `starting` in its mark, it would stay paused as an administrator's (a host that affirmed a Define).
    return Start() if s.defined and marked else DefineForStart(s.runs + 1)


def _paused(facts: InstanceFacts, s: Situation) -> Step:
    if starting(facts):
        if s.aim in (Aim.STOP, Aim.FORCE_OFF, Aim.LEAVE):
            return CutPower("its start was called off")
        if not may_run(facts, s):
            return _not_yet(s, "resumed")
        return LetRun()
    if s.aim in (Aim.STOP, Aim.FORCE_OFF, Aim.RESTART):
        return _stop(s, paused=True)
    if facts.why is Why.IO_ERROR:
        return Wait(
            "GuestPaused",
            f"the guest was paused by the hypervisor on {facts.host} after an I/O error of a disk: look at the "
            "storage pool, then resume it on the host or request a Reset after ForceStop.",
        )
    return Wait(
        "GuestPaused",
        f"the guest was paused by an administrator on {facts.host}: it is left alone. Resume it there, or stop "
        "it through this object.",
    )


def _running(facts: InstanceFacts, s: Situation) -> Step:
    if s.aim in (Aim.STOP, Aim.FORCE_OFF, Aim.RESTART):
        return _stop(s)
    return PressReset() if s.aim is Aim.RESET else Tend()


def _stop(s: Situation, *, paused: bool = False) -> Step:
    if s.aim is Aim.FORCE_OFF:
        return CutPower("asked to force it off")
    if s.asked_at is None:
        return Ask()
    end = s.asked_at + s.grace
    if s.now >= end:
        heard = "it was paused and could not shut down" if paused else "the guest did not shut down"
        return CutPower(f"{heard} within {int(s.grace.total_seconds())} s")
    return Wait(
        "Stopping",
        f"the guest was asked to shut down at {s.asked_at:%H:%M:%S} UTC; its power is cut at {end:%H:%M:%S} UTC.",
        until=min(end, s.now + REPEAT),
    )


def _not_yet(s: Situation, verb: str) -> Wait:
    if s.elsewhere:
        return Wait("LocationUnknown", f"it runs on {s.elsewhere}, and is {verb} once that is settled.", rounds=True)
    hosts = ", ".join(s.waiting_for) or "the hosts of its zone"
    return Wait(
        "LocationUnknown",
        f"the instance is {verb} once it is certain that it runs nowhere else: waiting for {hosts} to answer "
        "twice. A host that is powered off for good: say so by its spec.outOfService.",
        rounds=True,
    )
