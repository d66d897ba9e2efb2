"""What people read: the state, Ready, Scheduled and GuestPaused, from what was seen and what is waited for."""

from datetime import timedelta

from controllers.instances.work import Work
from controllers.logic import instance as logic
from controllers.logic.runstrategy import Aim, active
from drivers.base import InstanceFacts, Power
from drivers.errors import DriverError

BOOTING = timedelta(minutes=2)
"""How long after its start a guest's agent is not missed."""


def first_state(work: Work) -> None:
    """Before anything is done: what is seen. Whatever raises later leaves this, or what was set on the way."""
    facts = work.facts
    if facts is None:
        if work.status.state not in ("Provisioning", "Starting", "Scheduling", "Stopped"):
            work.update(state="Pending")
        return
    work.update(state=_state(facts))


def _state(facts: InstanceFacts) -> str:
    if facts.power is Power.RUNNING:
        return "Running"
    if facts.power is Power.PAUSED:
        return "Starting" if facts.mark and facts.mark.starting is not None else "Paused"
    return "Failed" if facts.power is Power.CRASHED else "Stopped"


def report(work: Work, step: logic.Step) -> None:
    """Ready and what goes with it, once the steps have come to their end."""
    match step:
        case logic.Tend():
            _running(work)
        case logic.Rest():
            _resting(work)
        case logic.Wait():
            _waiting(work, step)


def failed(work: Work, error: Exception) -> None:
    """A step did not go through: Ready of before does not stand where what is seen is not what shall be."""
    conditions, facts = work.turn.conditions, work.facts
    if not isinstance(error, DriverError) or conditions.is_set("Ready") or not work.seen:
        return
    runs = facts is not None and facts.power is Power.RUNNING
    if not runs and work.aim in (Aim.RUN, Aim.RESTART):
        conditions.set("Ready", "False", error.reason, f"It does not run, and could not be started: {error}")
    elif runs and work.aim in (Aim.STOP, Aim.FORCE_OFF):
        conditions.set("Ready", "False", error.reason, f"It runs still, and could not be stopped: {error}")


def _running(work: Work) -> None:
    conditions, facts = work.turn.conditions, work.facts
    assert facts is not None
    work.update(state="Running")
    scheduled(work)
    _agent(work, facts)
    missing = [v.message for v in work.status.volumes if v.message and not v.attached and v.name in _declared(work)]
    if missing:
        conditions.set("Ready", "False", "WaitingForVolume", f"Runs on {facts.host}, but {missing[0]}")
        return
    nics = sorted({n.name for n in work.spec.networks} - {n.name for n in facts.nics})
    if nics:
        what = f"Runs on {facts.host}, but without {', '.join(f'spec.networks[{n}]' for n in nics)}."
        conditions.set("Ready", "False", "WaitingForNetwork", what)
        return
    conditions.set("Ready", "True", "Running", f"Runs on {facts.host}.")


def _agent(work: Work, facts: InstanceFacts) -> None:
    """Said only once the guest has had the time to boot."""
    run = work.status.last_run
    boots_until = (run.started_at if run else work.now) + BOOTING
    if facts.agent_connected:
        work.turn.conditions.set("AgentConnected", "True", "Connected")
    elif work.now < boots_until:
        work.again(boots_until)
    else:
        work.turn.conditions.set(
            "AgentConnected",
            "False",
            "NotConnected",
            "No guest agent answers: addresses that the guest got by DHCP are not shown, and it is shut down by "
            "its power "
            "button.",
        )


def _declared(work: Work) -> set[str]:
    return {v.name for v in work.spec.volumes}


def _resting(work: Work) -> None:
    conditions, run, strategy = work.turn.conditions, work.status.last_run, work.spec.run_strategy
    work.update(state="Stopped", applied_generation=None)
    scheduled(work)
    reason = run.reason if run and run.ended_at else None
    if strategy == "Once" and reason not in (None, "GuestShutdown", "Stopped"):
        work.update(state="Failed")
        conditions.set(
            "Ready", "False", "Failed",
            f"The only run ended by {_words(reason)}; runStrategy Once does not start it again: set Always or "
            "RerunOnFailure.",
        )  # fmt: skip
    elif strategy == "Manual" and reason in ("Crashed", "HostLost", "Unknown"):
        conditions.set(
            "Ready", "False", "Ended",
            f"The run ended by {_words(reason)}; with runStrategy Manual it is started by spec.power: "
            "{action: Start, requestedAt: now}.",
        )  # fmt: skip
    elif strategy in ("Once", "RerunOnFailure"):
        conditions.set("Ready", "True", "Completed", f"The run ended by {_words(reason)}; it is not started again.")
    else:
        by = "declared so" if work.aim is Aim.STOP else "as asked for, or never started"
        conditions.set("Ready", "True", "Stopped", f"Stopped, {by}.")


def _words(reason: str | None) -> str:
    return {
        "GuestShutdown": "the guest's own shutdown",
        "Crashed": "a crash",
        "Stopped": "a power request",
        "HostLost": "a restart of its host",
        None: "an unknown cause",
    }.get(reason, "somebody's hand on the host")


def _waiting(work: Work, step: logic.Wait) -> None:
    conditions = work.turn.conditions
    scheduled(work)
    message = step.message[0].upper() + step.message[1:]
    conditions.set("Ready", "False", step.reason, message)
    match step.reason:
        case "GuestPaused":
            work.update(state="Paused")
            conditions.set("GuestPaused", "True", "PausedByHand", message)
        case "Stopping":
            work.update(state="Stopping")
        case "Migrating":
            work.update(state="Migrating")
        case "LocationUnknown":
            conditions.set("Scheduled", "Unknown", "LocationUnknown", message)
        case "CrashLoopBackOff":
            work.update(state="Failed")


def scheduled(work: Work) -> None:
    """Where it was placed stays said, with the words of the decision."""
    conditions, placement = work.turn.conditions, work.status.placement
    if conditions.is_set("Scheduled"):
        return
    if placement is None or placement.host is None:
        conditions.set("Scheduled", "Unknown", "NotStarted", "It gets its host when it is next started.")
        return
    old = conditions.was("Scheduled") or {}
    summary = placement.explanation.summary if placement.explanation else f"Placed on {placement.host}."
    if old.get("status") == "True":
        conditions.set("Scheduled", "True", str(old["reason"]), str(old.get("message", "")) or summary)
    else:
        conditions.set("Scheduled", "True", "Scheduled", summary)


def observed(work: Work) -> None:
    """Of a paused object: what is seen, and nothing is done."""
    facts = work.facts
    first_state(work)
    scheduled(work)
    if facts is not None and active(facts) and facts.power is Power.RUNNING:
        work.turn.conditions.set("Ready", "True", "Running", f"Runs on {facts.host}; the object is paused.")
    else:
        what = f"is {facts.power} on {facts.host}" if facts else "is not there"
        work.turn.conditions.set("Ready", "False", "Paused", f"The machine {what}, and the object is paused.")
