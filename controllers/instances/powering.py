"""Power requests and ends of runs: what is asked now, what was done, and how the last run ended. No driver calls."""

from datetime import datetime, timedelta

from controllers.instances import placing
from controllers.instances.work import Work
from controllers.logic import power, records, runstrategy
from controllers.logic.runstrategy import STOPPING, Aim
from crds.instancestatus import PowerRequestDone, Run
from drivers.base import Power

QUICK = timedelta(seconds=60)
"""A run that ended sooner counts towards the back-off of restarts."""
LONGEST = timedelta(seconds=300)


def decide_aim(work: Work) -> None:
    """Sets `work.aim` and `work.request`, having noted the end of a run. Level-triggered."""
    _judge(work)
    is_active = runstrategy.active(work.facts)
    restarted = _restarted(work)
    strategy = work.spec.run_strategy
    _keep_run(work)
    if work.memory.strategy != strategy:
        work.memory.strategy, work.memory.quick_ends, work.memory.not_before = strategy, 0, None
    if work.seen and not is_active:
        asked = runstrategy.aim(strategy, work.request, _past(work), is_active=True, restarted=restarted)
        _note_end(work, stopping=asked in STOPPING)
    work.aim = runstrategy.aim(strategy, work.request, _past(work), is_active=is_active, restarted=restarted)


def _judge(work: Work) -> None:
    found = power.judge(
        work.spec.power, work.spec.run_strategy,
        created_at=work.obj.created_at, last_done=work.status.last_power_request, now=work.now,
    )  # fmt: skip
    work.request = ""
    if found.standing is power.Standing.PENDING:
        assert work.spec.power is not None
        work.request = work.spec.power.action
    elif found.standing is not power.Standing.NONE:
        work.turn.conditions.set("Synced", "False", found.standing.value, found.message)


def _past(work: Work) -> runstrategy.Past:
    run, done = work.status.last_run, work.status.last_power_request
    on_request = bool(run and done and done.action in ("Stop", "ForceStop") and done.done_at >= run.started_at)
    ended = (run.reason or "") if run and run.ended_at else ""
    return runstrategy.Past(runs=records.runs(work.status, work.facts), ended=ended, on_request=on_request)


def _restarted(work: Work) -> bool:
    """Whether the present run was started for the pending Restart: its mark says so."""
    mark, asked = (work.facts.mark if work.facts else None), work.spec.power
    return bool(mark and mark.last_restart and asked and records.moment(mark.last_restart) >= asked.requested_at)


def _keep_run(work: Work) -> None:
    """A run of which the status knows nothing (it was lost, or the machine taken over running) counts from now on."""
    facts = work.facts
    settled = facts is not None and facts.mark is not None and facts.mark.starting is None
    if work.status.last_run is None and settled and facts is not None and runstrategy.active(facts):
        work.update(last_run=Run(started_at=work.now, host=facts.host))


def _note_end(work: Work, *, stopping: bool) -> None:
    """A run that was going on, as the status knows, and is not any more."""
    run, runs = work.status.last_run, records.runs(work.status, work.facts)
    if run is None and runs > 0:
        run = Run(started_at=work.now)
    if run is None or run.ended_at is not None:
        return
    reason = runstrategy.how_it_ended(work.facts, stopping=stopping)
    if work.facts is None and placing.freed(work):
        reason = "HostLost"
    now = work.now
    work.update(
        last_run=run.model_copy(update={"ended_at": now, "reason": reason}), applied_generation=None, run_count=runs,
        steps=tuple(s for s in work.status.steps if s.name not in ("StopRequested", "Started", "AgentConnected")),
    )  # fmt: skip
    quick = reason in ("GuestShutdown", "Crashed", "Unknown") and now - run.started_at < QUICK
    work.memory.quick_ends = work.memory.quick_ends + 1 if quick else 0
    work.memory.not_before = None
    if work.memory.quick_ends > 1:
        delay = min(timedelta(seconds=10 * 2 ** min(work.memory.quick_ends - 2, 6)), LONGEST)
        work.memory.not_before = now + delay
    _tell(work, reason)


def _tell(work: Work, reason: str) -> None:
    host = work.host
    removed = work.facts is None
    match reason:
        case "GuestShutdown":
            work.turn.event("GuestPoweredOff", f"The guest powered itself off on {host}.")
        case "Crashed":
            work.turn.event("Crashed", f"The guest crashed on {host}.", warning=True)
        case "HostLost":
            work.turn.event("HostLost", f"Host {host} lost its power; the guest's run ended with it.", warning=True)
        case "Unknown" if removed:
            work.turn.event("Removed", f"Somebody removed the machine from {host}.", warning=True)
        case "Unknown":
            work.turn.event("PoweredOff", f"Somebody powered the machine off on {host}.", warning=True)


def note_done(work: Work) -> None:
    """Record the pending request once its effect is seen. A Reset is recorded where the button is pressed."""
    asked, facts = work.spec.power, work.facts
    if not work.request or asked is None:
        return
    running = bool(facts and facts.power is Power.RUNNING and facts.mark and facts.mark.starting is None)
    off = work.seen and not runstrategy.active(facts)
    match work.request:
        case "Start":
            done = running
        case "Restart":
            done = running and _restarted(work)
        case "Stop":
            done = off
        case "ForceStop" if work.spec.run_strategy != "Always":
            done = off or not work.seen
        case _:
            done = not runstrategy.active(facts) and work.aim is not Aim.RESET
    if done:
        record(work)


def record(work: Work) -> None:
    """The pending request is done: once, and never again."""
    asked = work.spec.power
    assert asked is not None
    work.update(
        last_power_request=PowerRequestDone(action=asked.action, requested_at=asked.requested_at, done_at=work.now)
    )
    work.request = ""
    work.turn.event(
        f"{asked.action}Done", f"The {asked.action} requested at {asked.requested_at:%H:%M:%S} UTC is done."
    )


def stop_asked_at(work: Work) -> datetime | None:
    """When the guest was first asked to shut down for the present reason."""
    return next((s.at for s in work.status.steps if s.name == "StopRequested"), None)


def forget_stop(work: Work) -> None:
    """It shall run on after all."""
    if stop_asked_at(work) is not None:
        work.update(steps=tuple(s for s in work.status.steps if s.name != "StopRequested"))
