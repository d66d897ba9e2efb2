"""Where the instance is and where it shall be: follow, wait, decide, decide again (safety.md W1, W2, W4, W5, W7,
H1)."""

from controllers.engine.base import NotYet, Refused
from controllers.fleet.base import HostView, Link
from controllers.instances import leaving
from controllers.instances.identify import half_taken, take_or_refuse
from controllers.instances.work import Work
from controllers.logic import host as host_logic
from controllers.logic import location
from controllers.logic.attempts import avoided
from controllers.logic.identity import next_sequence
from controllers.logic.instance import ended_here
from controllers.placement.base import Decision, Refusal
from controllers.placement.requests import overhead, resources
from crds.base import FINALIZER, RESUME, format_time
from crds.instancestatus import Explanation, InstanceResources, Placement
from drivers.base import Destroy, Undefine
from drivers.errors import Busy, NotOurs

LONGEST_WAIT = 300.0
"""Seconds after which an instance that fits nowhere is tried again though the scheduler heard of nothing that helps."""
TOLD_AGAIN = 60.0
"""Seconds after which a refusal's figures are told anew though it is refused for the same reasons."""
SOON = 5.0
"""Seconds after which a new leader looks again for a host that it is being connected to; its answer wakes at once."""
LOST_ROUNDS = "Its status was lost, and it was not found yet"


async def find(work: Work) -> None:
    """Sets `work.facts` to the domain on its own host, having followed it and taken stale copies away; returns with
    `work.seen` False when it is not placed. Raises Refused for everything that has to be waited for."""
    if await _not_known_yet(work):
        return
    if work.ran_twice and work.tools.fleet.unasked(work.spec.zone_ref.name):
        raise NotYet(SOON)  # W4: which of the two is seen first after a start of the operator says nothing.
    verdict = _locate(work)
    while isinstance(verdict, location.Follow):
        await _follow(work, verdict)
        verdict = _locate(work)
    match verdict:
        case location.Hold(reason, message, stalled, after):
            raise Refused(reason, message, stalled=stalled, after=after)
        case location.Unseen(host):
            await _unseen(work, host)
        case location.Lost(None) if leaving.homeless(work):
            work.facts, work.seen = None, False
        case location.Lost(found):
            await _lost(work, found)
        case location.Here(facts, stale):
            work.facts, work.seen = facts, True
            for copy in stale:
                await _take_away(work, copy)


def placed(work: Work) -> bool:
    placement = work.status.placement
    return placement is not None and placement.host is not None


async def _not_known_yet(work: Work) -> bool:
    """True for an instance that was never placed and has nothing on any host that it should take."""
    if placed(work):
        if half_taken(work):
            await take_or_refuse(work)
        return False
    if FINALIZER in work.obj.finalizers:
        return False
    if work.tools.fleet.unasked(work.spec.zone_ref.name):
        raise NotYet(SOON)  # N2: an orphan of its name may be there.
    if await take_or_refuse(work):
        return False
    if work.spec.uuid and not work.obj.deleting:
        # The user names a machine: whether it runs somewhere is known only when everyone has answered (W3c, not a).
        _require_clear(work, "No host has shown the machine of spec.uuid yet", other_than="")
    return True


def _locate(work: Work) -> location.Verdict:
    placement = work.status.placement
    key = (placement.host, placement.sequence) if placement and placement.host else None
    view = work.tools.fleet.view(key[0]) if key else None
    return location.locate(
        location.Owner(uid=work.obj.uid, installations=work.tools.services.installations),
        key,
        work.tools.fleet.sightings(work.uuid),
        work.tools.fleet.unheard(work.uuid),
        # After a call of ours whose end is unknown it is looked first.
        listed=view is not None and view.instances is not None and not work.tools.fleet.unknown(view.host, work.uuid),
        resume=RESUME in work.obj.annotations,
    )


async def _follow(work: Work, follow: location.Follow) -> None:
    """The API learns where it is; nothing is touched."""
    work.place(follow.host, follow.sequence)
    work.turn.conditions.set("Scheduled", "True", "Followed", f"It is on {follow.host}: {follow.why}.")
    work.turn.event("Followed", f"{follow.why[0].upper()}{follow.why[1:]}.")
    await work.turn.save()
    await work.turn.ensure_finalizer()


async def _unseen(work: Work, host: str) -> None:
    """W5: it waits for its host, unless that is validly out of service (H1): then it is free."""
    if freed(work):
        work.facts, work.seen = None, True
        work.update(host_ref=None)
        return
    obj = work.cache.get("Host", "", host)
    view = work.tools.fleet.view(host)
    if obj is not None and obj.is_true("Ready") and (view is None or view.link in (Link.CONNECTING, Link.UP)):
        raise NotYet(SOON)
    _bear(work, view)
    if not work.obj.deleting:
        work.update(state="Unknown")
    since = f" since {view.since:%H:%M:%S} UTC" if view else ""
    why = f" ({view.error})" if view and view.error else ""
    if obj is None:
        why = " (its Host object does not exist)"
    raise Refused(
        "HostUnreachable",
        f"Host {host} has not answered{since}{why}: the guest may run there, so it is not {_what(work)}. It goes on "
        f"when {host} answers again. {_advice(work, host)}",
    )


def _bear(work: Work, view: HostView | None) -> None:
    """A line that breaks is mostly back at once: it costs guests that are well no write. Raises NotYet."""
    if view is None or view.last_contact is None or work.obj.deleting or not work.obj.is_true("Ready"):
        return
    patience, silent = work.tools.fleet.patience, (work.now - view.last_contact).total_seconds()
    if 0 <= silent < patience:  # Below: the clock was set back.
        raise NotYet(patience - silent)


def _what(work: Work) -> str:
    """What its host holds up."""
    return "deleted yet" if work.obj.deleting else "started elsewhere"


def _advice(work: Work, host: str) -> str:
    """What a person can do about a host that does not answer (H1)."""
    found = work.cache.get("Host", "", host)
    declared = found.spec.out_of_service if found is not None and not found.problem else None
    if declared is None:
        then = "deleted" if work.obj.deleting else "started elsewhere"
        return f"If {host} is powered off for good, say so by its spec.outOfService: then it is {then}."
    return (
        f"spec.outOfService of {host} says {format_time(declared.declared_at)}: {host} has answered since then, or "
        f"this instance was placed there later. If {host} is powered off now, declare it again with the present time."
    )


def freed(work: Work) -> bool:
    """H1: its host was validly declared off after this placement was decided."""
    return host_logic.frees(work.tools.fleet.out_of_service(work.host), work.placement.decided_at)


async def _lost(work: Work, found: location.Follow | None) -> None:
    """W2: only when no other can run is a quiet copy adopted, or a lost instance placed again. Every host has answered
    then, so that the machine of an adopted UUID is found by its mark too (N2)."""
    _require_clear(work, LOST_ROUNDS, other_than=found.host if found else "")
    adopted = [] if found else work.tools.fleet.owned(work.obj.uid)
    if adopted:
        work.uuid = adopted[0].uuid
        work.update(uuid=work.uuid)
        await find(work)
    elif found is not None:
        await _follow(work, found)
        work.facts, work.seen = work.tools.fleet.sightings(work.uuid).get(found.host), True


def _require_clear(work: Work, what: str, *, other_than: str) -> None:
    zone = work.spec.zone_ref.name
    hosts = [h for h in work.tools.fleet.hosts_in_zone(zone) if h != other_than]
    clearance = work.tools.fleet.clearance(work.uuid, hosts)
    if clearance.clear:
        return
    work.tools.fleet.request_rounds(zone)
    raise Refused(
        "LocationUnknown",
        f"{what}: waiting for {', '.join(clearance.waiting_for)} to answer twice. A host that is powered off for "
        "good: say "
        "so by its spec.outOfService.",
        type_="Scheduled",
        status="Unknown",
    )


async def _take_away(work: Work, copy: location.Stale) -> None:
    """W4: by its own sequence, so that a newer copy is never hit. A migration is left alone."""
    fleet, uid = work.tools.fleet, work.obj.uid
    action = Destroy() if copy.destroy else Undefine()
    try:
        await fleet.act(copy.host, work.uuid, action, uid=uid, sequence=copy.sequence)
    except (Busy, NotOurs):
        return
    if copy.host == work.host:
        work.facts = None
    work.turn.event("StaleCopyRemoved", f"A stale copy on {copy.host} (sequence {copy.sequence}) was taken away.")


# ---------------------------------------------------------------- deciding


async def decide(work: Work, *, but: frozenset[str] = frozenset()) -> dict[str, str]:
    """The first placement, or another one, on none of the hosts `but`: decided, saved, then the finalizer (W1). Answers
    the pools of its volumes. Raises Refused with the explanation in the status."""
    decision = await choose(work, but)
    await work.turn.give_way()
    await work.turn.ensure_finalizer()
    work.facts, work.seen = None, True
    work.turn.event("Scheduled", decision.explanation.summary)
    return dict(decision.pools)


async def choose(work: Work, but: frozenset[str] = frozenset()) -> Decision:
    """The first half of `decide`, and all of it that makes a placement: decided and saved."""
    scheduler, fleet = work.tools.scheduler, work.tools.fleet
    _check_pin(work)
    first = not placed(work) and FINALIZER not in work.obj.finalizers and not work.spec.uuid
    last = work.status.placement.sequence if work.status.placement else 0
    decision = scheduler.decide(work.obj, avoid=_avoided(work) | but)
    if isinstance(decision, Refusal):
        raise _no_host(work, decision)
    work.place(decision.host, next_sequence(last, work.now), decision.explanation)
    work.update(resources=_resources(work), uuid=work.uuid, steps=())
    work.reached("Scheduled")
    work.turn.conditions.set("Scheduled", "True", "Scheduled", decision.explanation.summary)
    work.update(state="Scheduling")
    try:
        await work.turn.save()
    except Exception:
        scheduler.forget(work.obj.uid)
        raise
    if first:
        fleet.note_first_decision(work.uuid)
    return decision


def _check_pin(work: Work) -> None:
    pin = work.spec.placement.host_ref if work.spec.placement else None
    if pin is not None and work.cache.get("Host", "", pin.name) is None:
        missing = f"spec.placement.hostRef: Host {pin.name} does not exist."
        raise Refused("HostNotFound", missing, type_="Scheduled", after=10.0)


def _explain(work: Work, explanation: Explanation) -> Explanation:
    """Why none, written when it changes: at once with the reasons, else (figures alone) at most once a minute, so that
    it makes no write storm. Answers what is told now."""
    old = work.status.placement
    told = old.explanation if old is not None else None
    if told is not None and _reasons(told) == _reasons(explanation):
        at = told.decided_at
        same = told.model_dump(exclude={"decided_at"}) == explanation.model_dump(exclude={"decided_at"})
        if same or at is None or (work.now - at).total_seconds() < TOLD_AGAIN:
            return told
    fresh = explanation.model_copy(update={"decided_at": work.now.replace(microsecond=0)})
    work.update(placement=(old or Placement()).model_copy(update={"explanation": fresh}))
    return fresh


def _reasons(explanation: Explanation) -> object:
    return explanation.winner, tuple(r.reason for r in explanation.rejected), tuple(n.host for n in explanation.nearest)


def _resources(work: Work) -> InstanceResources:
    """As it counts from now on; what it really takes is known once it runs."""
    cpus, memory = resources(work.cache, work.obj)
    known = work.status.resources
    return InstanceResources(
        cpus=cpus, memory=memory, overhead=known.overhead if known and known.overhead else overhead(cpus, memory)
    )


async def settle_before_start(work: Work) -> dict[str, str]:
    """W7: a stopped one starts where it is, if that still fits; else its old domain goes first, then it is decided
    anew. Also for one whose host is out of service, or where it is missing and does not fit any more. Answers pools."""
    if not placed(work):
        return await decide(work)
    host = work.host
    if work.facts is None and freed(work):
        return await decide(work)
    if host in _avoided(work):
        if work.facts is not None:
            await work.act(Undefine())
        return await _decide_elsewhere(work)
    refusal = work.tools.scheduler.fits(work.obj, host)
    if refusal is None:
        work.update(resources=_resources(work))
        work.turn.conditions.set("Scheduled", "True", "Scheduled", _summary(work))
        return {}
    elsewhere = work.tools.scheduler.decide(work.obj, avoid=_avoided(work) | {host})
    if isinstance(elsewhere, Refusal):
        await leaving.leave(work)
        # It waits in the queue for its own host too.
        anywhere = work.tools.scheduler.decide(work.obj, avoid=_avoided(work))
        if isinstance(anywhere, Refusal):
            raise _no_host(work, anywhere)
        return await settle_before_start(work)
    work.tools.scheduler.forget(work.obj.uid)
    if work.facts is not None:
        if ended_here(work.facts, work.placement.sequence):
            # Before the call: a sign that comes meanwhile takes it back.
            work.tools.fleet.note_first_decision(work.uuid)
        await work.act(Undefine())
        work.turn.event("Moved", f"It does not fit on {host} any more: {refusal.message}")
    return await decide(work, but=frozenset({host}))


async def _decide_elsewhere(work: Work) -> dict[str, str]:
    """Of one whose start just failed on its host. Where no other fits, what it was to take there is free for others
    until it is tried again."""
    try:
        return await decide(work)
    except Refused:
        if work.facts is None:
            work.update(resources=None)
        raise


def _avoided(work: Work) -> frozenset[str]:
    return avoided(work.status.failed_starts, work.now)


def _no_host(work: Work, refusal: Refusal) -> Refused:
    """With the explanation in the status. The scheduler wakes it when something changed that lets it in; asked again by
    itself ever more seldom. Where a host that refused its start would fit, Ready says why that refused."""
    before = work.status.placement.explanation if work.status.placement else None
    told = _explain(work, refusal.explanation)
    failed = work.status.failed_starts
    last = max(failed, key=lambda f: f.at, default=None)
    said = f" Tried before: {last.host}: {last.message}" if last else ""
    work.memory.refused += 1
    after = min(4.0 * 2.0**work.memory.refused, LONGEST_WAIT)
    # A host that is avoided no longer is no news to anybody: it looks again by itself.
    ends = [(f.until - work.now).total_seconds() for f in failed if f.until > work.now]
    after = max(min(after, *ends), 1.0) if ends else after
    was = work.turn.conditions.was("Scheduled") or {}
    if before is not None and _reasons(before) != _reasons(told) and was.get("reason") == refusal.reason:
        # The condition stays as it was, so its change tells nobody.
        work.turn.event(refusal.reason, told.summary + said, warning=True)
    work.turn.conditions.set("Scheduled", "False", refusal.reason, told.summary + said)
    waits_for_start = any(lost.reason == "FailedToStart" for lost in refusal.explanation.rejected)
    reason = last.reason if last is not None and waits_for_start else None
    return Refused(reason or refusal.reason, told.summary + said, after=after)


def _summary(work: Work) -> str:
    explanation = work.status.placement.explanation if work.status.placement else None
    won = explanation is not None and explanation.winner == work.host
    return explanation.summary if explanation is not None and won else f"It is placed on {work.host}."


def clearance(work: Work) -> tuple[bool, tuple[str, ...]]:
    """W3(c): all other hosts of the zone, and its own if it is missing there."""
    hosts = work.tools.fleet.hosts_in_zone(work.spec.zone_ref.name)
    asked = [h for h in hosts if h != work.host or work.facts is None]
    found = work.tools.fleet.clearance(work.uuid, asked)
    return found.clear, found.waiting_for
