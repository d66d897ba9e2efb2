"""Applies one step after the other until nothing is left to do or something must be waited for."""

from collections import Counter
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from datetime import timedelta

from controllers.engine.base import Refused
from controllers.instances import placing, powering, starting, tending
from controllers.instances.work import Work
from controllers.logic import instance as logic
from controllers.logic.attempts import avoided
from controllers.logic.location import runs
from controllers.logic.location import starting as is_starting
from controllers.logic.runstrategy import STOPPING, Aim, active
from drivers.base import ForceOff, Power, Reset, Shutdown
from drivers.errors import Rejected, Retryable

MOST_STEPS = 24
"""No honest way from any state to any other is longer; more is a bug, and another turn is harmless."""

EFFECTS: Mapping[type[logic.Step], str] = {
    logic.DefineForStart: "was defined for its start",
    logic.Start: "was started",
    logic.LetRun: "was resumed",
    logic.FinishStart: "was marked as started",
    logic.CutPower: "was powered off",
}
"""What a host affirms by its answer to a step's call. The next look shows it, or the host lies."""
MOST_TRIES = 2


async def drive(work: Work) -> logic.Step:
    """Returns Tend, Rest or Wait. Raises Refused (a start waits for something) and DriverError."""
    prepared = defined = False
    tried: Counter[tuple[type[logic.Step], str]] = Counter()
    if placing.placed(work):
        await work.turn.ensure_finalizer()
    for _ in range(MOST_STEPS):
        _look(work)
        powering.decide_aim(work)
        step = logic.plan(work.facts, _situation(work, prepared, defined))
        attempt = type(step), work.host if placing.placed(work) else ""
        tried[attempt] += 1
        if type(step) in EFFECTS and tried[attempt] > MOST_TRIES:
            _no_effect(work, EFFECTS[type(step)])
        match step:
            case logic.Prepare():
                prepared = await _or_elsewhere(work, starting.prepare(work))
            case logic.DefineForStart(run):
                prepared = defined = await _or_elsewhere(work, starting.define_for_start(work, run))
            case logic.Start():
                prepared = defined = await _or_elsewhere(work, starting.start_paused(work))
            case logic.FinishStart():
                await starting.finish(work)
                prepared = defined = False
            case logic.Tend() | logic.Rest() | logic.Wait():
                if await _settled(work, step):
                    return step
            case _:
                await _power(work, step)
    raise Refused("Working", "It is on its way and is looked at again at once.", after=0.5)


def _no_effect(work: Work, what: str) -> None:
    """A host that affirms and does nothing is asked again ever more seldom. Raises Retryable."""
    power = work.facts.power if work.facts else "not there"
    text = (
        f"Host {work.host} says that the guest {what}, and shows it as {power} all the same. That is asked for again "
        "ever more seldom; the hypervisor's own log on the host may tell why."
    )
    work.turn.conditions.set("Ready", "False", "NoEffect", text)
    raise Retryable(text)


async def _or_elsewhere(work: Work, attempt: Awaitable[None]) -> bool:
    """Whether it went well. A first start that its host refuses goes on with the choice of another one."""
    try:
        await attempt
    except Rejected:
        if work.host not in avoided(work.status.failed_starts, work.now):
            raise
        return False
    return True


async def _power(work: Work, step: logic.Step) -> None:
    match step:
        case logic.LetRun():
            await starting.let_run(work)
        case logic.Ask():
            await work.act(Shutdown())
            work.reached("StopRequested")
            work.memory.asked_last = work.now
        case logic.CutPower(why):
            work.turn.event("PowerCut", f"The power was cut: {why}.", warning=True)
            await work.act(ForceOff())
        case logic.PressReset():
            await work.act(Reset())
            powering.record(work)


async def _settled(work: Work, step: logic.Tend | logic.Rest | logic.Wait) -> bool:
    """Whether the turn ends with this step. A machine that ends, is paused, or starts while it is tended may be seen by
    the look after one of our own calls alone, which wakes nobody: then the turn goes on."""
    match step:
        case logic.Tend():
            powering.note_done(work)
            powering.forget_stop(work)
            await tending.tend(work)
            return work.facts is not None and work.facts.power is Power.RUNNING
        case logic.Rest():
            powering.note_done(work)
            await tending.rest(work)
            return not active(work.facts)
        case logic.Wait():
            return await _waits(work, step)


async def _waits(work: Work, step: logic.Wait) -> bool:
    """Whether the turn ends here. A wish to shut down is repeated while it is waited for."""
    if step.rounds:
        work.tools.fleet.request_rounds(work.spec.zone_ref.name)
    if step.until:
        work.again(step.until)
    last = work.memory.asked_last
    if step.reason == "Stopping" and (last is None or work.now - last >= logic.REPEAT):
        await work.act(Shutdown())
        work.memory.asked_last = work.now
        return active(work.facts)
    return True


def _look(work: Work) -> None:
    """What is known of the domain now: an event may have changed it while something was awaited."""
    if not placing.placed(work):
        work.facts, work.seen = None, False
        return
    view = work.tools.fleet.view(work.host)
    if view is not None and view.instances is not None:
        work.facts, work.seen = view.instances.get(work.uuid), True
        return
    if not placing.freed(work):
        work.update(state="Unknown")
        raise Refused("HostUnreachable", f"Host {work.host} does not answer any more: it is asked again.", after=5.0)
    work.facts, work.seen = None, True


def _situation(work: Work, prepared: bool, defined: bool) -> logic.Situation:
    situation = logic.Situation(
        aim=work.aim,
        now=work.now,
        sequence=work.placement.sequence if placing.placed(work) else 0,
        placed=placing.placed(work),
        ran_twice=work.ran_twice,
        decided_first=work.tools.fleet.decided_first(work.uuid),
        runs=max(work.status.run_count, work.facts.mark.run_count if work.facts and work.facts.mark else 0),
        prepared=prepared,
        defined=defined,
        asked_at=powering.stop_asked_at(work) if work.aim in STOPPING else None,
        grace=timedelta(seconds=work.spec.shutdown.grace_period_seconds),
        not_before=work.memory.not_before if work.aim is Aim.RUN else None,
        quick_ends=work.memory.quick_ends,
    )
    if not situation.placed or not _starts(work):
        return situation
    copies = work.tools.fleet.sightings(work.uuid).items()
    seen = next((host for host, facts in copies if host != work.host and runs(facts)), "")
    situation = replace(situation, elsewhere=seen)
    if logic.may_run(work.facts, situation):
        return situation
    clear, waiting = placing.clearance(work)
    return replace(situation, clear=clear, waiting_for=waiting)


def _starts(work: Work) -> bool:
    """Whether a start or a resume is next. Where else it was seen is asked for that alone, and so is clearance, which
    costs rounds of listings (W3c), if nothing else allows it."""
    wanted = work.aim in (Aim.RUN, Aim.RESTART, Aim.RESET)
    return wanted and (not active(work.facts) or is_starting(work.facts))
