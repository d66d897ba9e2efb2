"""What was seen of each instance on each host, and whether no copy of it can run anywhere (safety.md W3).

Pure bookkeeping: no clock, no I/O; every moment is handed in, `mono` from time.monotonic() and `wall` from the wall
clock. Fed and asked by `controllers.fleet`. The words are those of safety.md: a *sign* shows that an instance may run,
a *round* is one listing of every host of a zone, a host is *clear* when nothing of the instance can run there.

A sign starts the counting of rounds again. Only a sign that shows the instance alive at one known place says anything
about hosts that do not answer: while it ran here it was not there, and nobody moves it to a host reported not Ready.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from controllers.logic.whereabouts import Place, Whereabouts
from drivers.base import InstanceFacts, Listing, Power

KEPT_ROUNDS = 8
OURS_GRACE = 2.0
"""Seconds after a call of ours within which an event about the same domain is taken for its echo."""
ATTEMPT_FRESH = 20.0
"""Seconds for which a failed attempt to reach a host counts as made now."""
REPORT_MARGIN = timedelta(seconds=1)
"""lastTransitionTime has whole seconds."""

OFF = frozenset({Power.OFF, Power.CRASHED})
Home = Callable[[str], str | None]
"""uuid → the host of its placement, None when it has none."""


@dataclass(frozen=True, slots=True)
class Round:
    """One whole round: every host of the zone was asked between `begun` and `ended`, these answered."""

    begun: float
    ended: float
    answered: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostWord:
    """What the API says of a host."""

    out_of_service: bool = False
    """Validly declared (H1), or fenced."""
    not_ready_since: datetime | None = None
    """Since when its Ready condition has not been True; None while it is."""


@dataclass(frozen=True, slots=True)
class Alive:
    """The last sign that showed the instance alive at one known place."""

    mono: float
    wall: datetime


@dataclass(slots=True)
class _Host:
    """What is remembered of one host. Moments are monotonic; dictionaries are by UUID."""

    seen: dict[str, InstanceFacts] | None = None
    """As last known; kept over reconnections to notice what changed meanwhile. None: never listed in this term."""
    connected: bool = False
    """Whether the present connection was listed."""
    valid_from: float = -1.0
    """Rounds that began before it count for nothing here: the connection was lost then."""
    answered: float = -1.0
    failed: float | None = None
    """When the last attempt began that got no answer."""
    unknown: dict[str, float] = field(default_factory=dict)
    """Calls of ours that may or may not have happened, and nobody has looked since."""
    began: dict[str, float] = field(default_factory=dict)
    """When the newest single observation began: two that overlap end in any order."""
    touched: dict[str, float] = field(default_factory=dict)
    """Single observations newer than the last listing."""
    calls: dict[str, int] = field(default_factory=dict)
    """Calls of ours that are out."""
    echo_until: dict[str, float] = field(default_factory=dict)

    def state(self, uuid: str) -> object:
        """What of a domain is a sign when it changes: that it is there, whose it is, and its power."""
        return _state((self.seen or {}).get(uuid))

    def missing_or_off(self, uuid: str) -> bool:
        if not self.connected or self.seen is None or uuid in self.unknown or uuid in self.calls:
            return False
        facts = self.seen.get(uuid)
        return facts is None or facts.power in OFF

    def counts_in(self, round_: Round, name: str, uuid: str) -> bool:
        floor = max(self.valid_from, self.unknown.get(uuid, -1.0))
        return name in round_.answered and round_.begun > floor


class Sightings:
    """Lives as long as the term of the leader: a new leader begins with nothing (W3)."""

    def __init__(self, start: float) -> None:
        self._start = start
        self._hosts: defaultdict[str, _Host] = defaultdict(_Host)
        self._whereabouts = Whereabouts()
        """Of what each of them has `seen`."""
        self._signs: dict[str, float] = {}
        self._alive: dict[str, Alive] = {}
        self._first: set[str] = set()
        self._rounds: dict[str, deque[Round]] = {}

    # ------------------------------------------------------------ what is known

    def instances(self, host: str) -> Mapping[str, InstanceFacts] | None:
        """As the present connection was listed, with later single observations; None until it was listed."""
        record = self._hosts[host]
        return record.seen if record.connected else None

    def of(self, uuid: str) -> dict[str, InstanceFacts]:
        """host → facts, over the hosts whose present connection was listed."""
        records = ((host, self._hosts[host]) for host in sorted(self._whereabouts.hosts(uuid)))
        return {
            host: record.seen[uuid]
            for host, record in records
            if record.connected and record.seen is not None and uuid not in record.unknown
        }

    def marked(self, namespace: str, name: str) -> list[InstanceFacts]:
        """Whatever bears a mark with that name, over the same hosts."""
        return self._shown(self._whereabouts.named(namespace, name))

    def owned(self, uid: str) -> list[InstanceFacts]:
        """Whatever bears a mark of the object with that uid, over the same hosts."""
        return self._shown(self._whereabouts.owned(uid))

    def _shown(self, places: Iterable[Place]) -> list[InstanceFacts]:
        records = ((self._hosts[host], uuid) for host, uuid in sorted(places))
        return [record.seen[uuid] for record, uuid in records if record.connected and record.seen is not None]

    def unheard(self, uuid: str) -> dict[str, InstanceFacts]:
        """host → facts as last seen, over the hosts that were listed once and are not connected."""
        records = ((host, self._hosts[host]) for host in self._whereabouts.hosts(uuid))
        return {host: r.seen[uuid] for host, r in records if r.seen is not None and not r.connected}

    def unknown(self, host: str, uuid: str) -> bool:
        """Whether a call of ours may or may not have happened, and nobody has looked since."""
        return uuid in self._hosts[host].unknown

    # ------------------------------------------------------------ what was seen

    def listed(self, host: str, listing: Listing, wall: datetime, home: Home) -> set[str]:
        """A whole listing of `host`. Answers the UUIDs of which anything differs from what `of` answered: also those
        seen again over a new connection whose home is elsewhere (those at home are told when the host is up again).

        What was touched by a call of ours after the listing began keeps the newer, single observation.
        """
        record = self._hosts[host]
        old = record.seen
        new = {facts.uuid: facts for facts in listing.instances}
        for uuid in {*record.calls, *(u for u, at in record.touched.items() if at >= listing.begun)}:
            new.pop(uuid, None)
            if old is not None and uuid in old:
                new[uuid] = old[uuid]
        # A listing often has the very facts of the one before: most of 10,000 at rest, every five seconds.
        changed = {u for u, facts in new.items() if old is None or ((was := old.get(u)) is not facts and was != facts)}
        changed.update(u for u in old or () if u not in new)
        for uuid in changed:
            self._whereabouts.changed(host, uuid, old.get(uuid) if old is not None else None, new.get(uuid))
        for uuid in changed if old is not None else ():
            if uuid not in record.unknown and record.state(uuid) != _state(new.get(uuid)):
                self.sign(uuid, listing.ended)
        if not record.connected:
            changed.update(u for u in new if home(u) != host)
        unknown = {u: at for u, at in record.unknown.items() if at >= listing.begun or u in record.calls}
        changed.update(u for u in record.unknown if u not in unknown)
        record.unknown = unknown
        record.touched = {u: at for u, at in record.touched.items() if at >= listing.begun}
        record.began = {u: at for u, at in record.began.items() if u in record.touched}
        record.echo_until = {u: at for u, at in record.echo_until.items() if at >= listing.begun}
        record.seen, record.connected, record.answered = new, True, listing.ended
        now = Alive(listing.ended, wall)
        for facts in new.values():
            self._note_power(host, facts, now, home)
        return changed

    def observed(
        self, host: str, uuid: str, facts: InstanceFacts | None, begun: float, ended: float, wall: datetime, home: Home,
        *, ours: bool = False,
    ) -> bool:  # fmt: skip
        """A single observation over the present connection; `ours`: right after a call of ours, so that the difference
        is our own doing. Answers whether anything differs. An observation older than the newest one is dropped."""
        record = self._hosts[host]
        if record.seen is None or not record.connected or begun < record.began.get(uuid, -1.0):
            return False
        record.began[uuid] = begun
        old = record.seen.get(uuid)
        was_unknown = record.unknown.pop(uuid, None) is not None
        if not ours and not was_unknown and uuid not in record.calls and _state(old) != _state(facts):
            self.sign(uuid, ended)
        if facts is None:
            record.seen.pop(uuid, None)
        else:
            record.seen[uuid] = facts
            self._note_power(host, facts, Alive(ended, wall), home)
        self._whereabouts.changed(host, uuid, old, facts)
        record.touched[uuid] = record.answered = ended
        return old != facts or was_unknown

    def lost(self, host: str, mono: float) -> None:
        """The connection is gone. What was seen stays for comparison; rounds before it count for nothing here."""
        record = self._hosts[host]
        record.connected, record.valid_from = False, mono

    def attempt_failed(self, host: str, begun: float) -> None:
        """An attempt to reach the host that began then got no answer."""
        self._hosts[host].failed = begun

    def event(self, host: str, uuid: str, mono: float) -> bool:
        """A lifecycle event. A sign, unless it echoes a call of ours. Answers whether it was one."""
        record = self._hosts[host]
        if uuid in record.calls or mono <= record.echo_until.get(uuid, -1.0):
            return False
        self.sign(uuid, mono)
        return True

    # ------------------------------------------------------------ what we do ourselves

    def acting(self, host: str, uuid: str) -> bool:
        """Whether a call of ours about this domain is out."""
        return uuid in self._hosts[host].calls

    def begin(self, host: str, uuid: str) -> None:
        """A call of ours about this domain goes out."""
        calls = self._hosts[host].calls
        calls[uuid] = calls.get(uuid, 0) + 1

    def end(self, host: str, uuid: str, mono: float, *, known: bool) -> None:
        """It came back. `known` False: nobody can say whether it took effect, so this host counts as not yet seen."""
        record = self._hosts[host]
        left = record.calls.pop(uuid, 1) - 1
        if left > 0:
            record.calls[uuid] = left
        record.echo_until[uuid] = mono + OURS_GRACE
        if not known:
            record.unknown[uuid] = mono

    def resumed(self, uuid: str, mono: float, wall: datetime, *, answered: bool) -> None:
        """A resume of ours: always a sign; one that was answered shows the instance alive."""
        self.sign(uuid, mono)
        if answered:
            self._alive[uuid] = Alive(mono, wall)

    def sign(self, uuid: str, mono: float) -> None:
        """It may run: counting starts again, and what W3 (a) and (b) allowed ends."""
        self._signs[uuid] = max(mono, self._signs.get(uuid, mono))
        self._first.discard(uuid)

    def last_sign(self, uuid: str) -> float:
        """When it last showed that it may run; the beginning of our term if it has not since."""
        return self._signs.get(uuid, self._start)

    def note_first(self, uuid: str) -> None:
        """W3a, or a start where it ended (W3b)."""
        self._first.add(uuid)

    def decided_first(self, uuid: str) -> bool:
        return uuid in self._first

    def old(self, before: float) -> list[str]:
        """UUIDs whose last sign is older: those of instances that are gone may be forgotten."""
        return [uuid for uuid, at in self._signs.items() if at < before]

    def forget(self, uuid: str) -> None:
        """The object is gone: drop what is only remembered for it."""
        self._signs.pop(uuid, None)
        self._alive.pop(uuid, None)
        self._first.discard(uuid)

    # ------------------------------------------------------------ rounds and clearance

    def round_ended(self, zone: str, round_: Round) -> None:
        """Rounds of one zone come one after the other: each begins after the one before has ended."""
        rounds = self._rounds.setdefault(zone, deque(maxlen=KEPT_ROUNDS))
        if rounds and round_.begun < rounds[-1].ended:
            raise ValueError(f"round of zone {zone} began before the previous one ended")
        rounds.append(round_)

    def not_clear(
        self, uuid: str, zone: str, hosts: Iterable[str], words: Callable[[str], HostWord], now: float,
        *, home: str | None = None, contact: datetime | None = None,
    ) -> tuple[str, ...]:  # fmt: skip
        """Those of `hosts` (all of `zone`) on which a copy may run, as far as is known; () when all are clear (W3c).

        `contact` is the last contact with `home` that was recorded before this term: for a new leader it stands for the
        last sign, if the instance is seen at home.
        """
        alive = self._alive.get(uuid)
        if alive is None and home is not None and contact is not None and uuid in (self.instances(home) or ()):
            alive = Alive(self._start, contact)
        answering = [
            host
            for host in hosts
            if not (word := words(host)).out_of_service and not self._silent(host, uuid, alive, word, now)
        ]
        floor = self._signs.get(uuid, self._start)
        rounds = [r for r in self._rounds.get(zone, ()) if r.begun > floor]
        present = {h for h in answering if not self._hosts[h].missing_or_off(uuid)}
        whole = [r for r in rounds if all(self._hosts[h].counts_in(r, h, uuid) for h in answering)]
        if not present and (len(whole) >= 2 or not answering):
            return ()
        late = {h for h in answering if sum(self._hosts[h].counts_in(r, h, uuid) for r in rounds) < 2}
        return tuple(sorted(present | late or answering))

    def _silent(self, host: str, uuid: str, alive: Alive | None, word: HostWord, now: float) -> bool:
        """Clear without an answer: reported not Ready before the last sign of life, and does not answer now."""
        record = self._hosts[host]
        if alive is None or word.not_ready_since is None or record.connected or uuid in record.unknown:
            return False
        return (
            word.not_ready_since + REPORT_MARGIN < alive.wall
            and record.answered < alive.mono
            and record.failed is not None
            and record.failed >= max(self._signs.get(uuid, self._start), now - ATTEMPT_FRESH)
        )

    def _note_power(self, host: str, facts: InstanceFacts, seen: Alive, home: Home) -> None:
        if facts.power is Power.RUNNING:
            self.sign(facts.uuid, seen.mono)
            self._alive[facts.uuid] = seen
        elif facts.power is Power.PAUSED and home(facts.uuid) not in (host, None):
            self.sign(facts.uuid, seen.mono)  # Without a home (W2) its coming was a sign: it waits for the others.


def _state(facts: InstanceFacts | None) -> object:
    return None if facts is None else (facts.mark.sequence if facts.mark else -1, facts.power, facts.why)
