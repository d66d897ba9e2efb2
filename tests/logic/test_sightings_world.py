"""W3 as a property: whatever hosts, network and administrators do, when every host is clear, no copy runs anywhere.

The world is that of the protocol's search: an administrator moves a running guest by hand, only onto a host that answers
and is not reported not Ready; whoever is connected to one of the two hosts gets the event. One leader, no calls of ours
but resumes. Thousands of random walks with fixed seeds; each rule of W3 that is named below, left out, is noticed.
"""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from controllers.logic.sightings import HostWord, Round, Sightings
from drivers.base import InstanceFacts, Listing, Power, Why
from drivers.marks import InstanceMark

GUEST = "11111111-1111-4111-8111-111111111111"
HOSTS = ("a", "b")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MARK = InstanceMark(installation="i", namespace="n", name="g", uid="u", uuid=GUEST, sequence=1)
WALKS, STEPS = 1500, 30


class World:
    """`power` is what really is on each host; `answers` whether we reach it; `reported` since when it is not Ready."""

    def __init__(self, dice: random.Random, make: Callable[[float], Sightings]) -> None:
        self.dice = dice
        self.now = 100.0
        self.book = make(self.now)
        self.power: dict[str, Power | None] = {"a": Power.RUNNING, "b": None}
        self.answers = dict.fromkeys(HOSTS, True)
        self.connected = dict.fromkeys(HOSTS, False)
        self.reported: dict[str, datetime | None] = dict.fromkeys(HOSTS)
        self.left: list[str] = []
        self.heard: set[str] = set()
        self.begun = self.now
        self.story: list[str] = []

    def tick(self, seconds: float = 1.5) -> float:
        self.now += seconds
        return self.now

    def wall(self) -> datetime:
        return NOON + timedelta(seconds=self.now)

    def home(self, uuid: str) -> str:
        return "a"

    def waits(self) -> tuple[str, ...]:
        return self.book.not_clear(
            GUEST, "z", HOSTS, lambda name: HostWord(not_ready_since=self.reported[name]), self.now, home="a"
        )

    def running(self) -> list[str]:
        return [name for name, power in self.power.items() if power is Power.RUNNING]

    # ------------------------------------------------------------ what happens

    def list(self, name: str) -> bool:
        begun = self.tick()
        if not self.answers[name]:
            if self.connected[name]:
                self.connected[name] = False
                self.book.lost(name, self.tick())
            self.book.attempt_failed(name, begun)
            return False
        self.connected[name], self.reported[name] = True, None
        power = self.power[name]
        found = InstanceFacts(host=name, uuid=GUEST, name="g", power=power or Power.OFF, why=Why.UNKNOWN, mark=MARK)
        listing = Listing(begun=begun, ended=self.tick(), instances=(found,) if power is not None else ())
        self.book.listed(name, listing, self.wall(), self.home)
        return True

    def round_goes_on(self, name: str) -> None:
        """One more listing of the round that is under way, or of the next; other things happen in between."""
        if not self.left:
            self.left, self.begun, self.heard = self.dice.sample(HOSTS, len(HOSTS)), self.tick(), set()
        name = self.left.pop()
        if self.list(name):
            self.heard.add(name)
        if not self.left:
            self.book.round_ended("z", Round(self.begun, self.tick(), frozenset(self.heard)))

    def regular_listing(self, name: str) -> None:
        self.list(name)

    def report(self, name: str) -> None:
        if not self.connected[name] and self.reported[name] is None:
            self.reported[name] = self.wall()

    def cut(self, name: str) -> None:
        self.answers[name] = False

    def mend(self, name: str) -> None:
        self.answers[name] = True

    def move_by_hand(self, name: str) -> None:
        origin = next(iter(self.running()), name)
        if origin == name or not (self.answers[origin] and self.answers[name]) or self.reported[name] is not None:
            return
        self.power[origin], self.power[name] = self.dice.choice((None, Power.OFF)), Power.RUNNING
        for host in (origin, name):
            if self.connected[host]:
                self.book.event(host, GUEST, self.tick(0.1))

    def guest_powers_off(self, name: str) -> None:
        if self.power[name] is Power.RUNNING:
            self.power[name] = Power.OFF

    def remove_by_hand(self, name: str) -> None:
        self.power[name] = None

    def resume_where_all_is_clear(self, name: str) -> None:
        """Ours, and only as W3 allows it."""
        if self.answers[name] and self.connected[name] and self.waits() == ():
            self.book.resumed(GUEST, self.tick(), self.wall(), answered=False)
            self.power[name] = Power.RUNNING
            self.book.resumed(GUEST, self.tick(), self.wall(), answered=True)

    def step(self) -> None:
        name = self.dice.choice(HOSTS)
        (act,) = self.dice.choices(ACTS, WEIGHTS)
        self.story.append(f"{act.__name__} {name}")
        act(self, name)


ACTS: tuple[Callable[[World, str], None], ...] = (
    World.round_goes_on, World.regular_listing, World.report, World.cut, World.mend, World.move_by_hand,
    World.guest_powers_off, World.remove_by_hand, World.resume_where_all_is_clear,
)  # fmt: skip
WEIGHTS = (12, 2, 2, 2, 3, 6, 1, 1, 2)


def walk(make: Callable[[float], Sightings], walks: int) -> str:
    """The story that led to a copy running where every host is clear; "" when there is none."""
    for seed in range(walks):
        world = World(random.Random(seed), make)
        for _ in range(STEPS):
            world.step()
            if world.running() and world.waits() == ():
                return "\n".join(world.story)
    return ""


def test_w3_when_every_host_is_clear_no_copy_runs() -> None:
    assert walk(Sightings, WALKS) == ""


class AnySilence(Sightings):
    def _silent(self, host: str, *rest: object) -> bool:
        return not self._hosts[host].connected


class EveryRound(Sightings):
    """Rounds count whatever sign came after they began."""

    def sign(self, uuid: str, mono: float) -> None:
        self._first.discard(uuid)


class NoEvents(Sightings):
    """A lifecycle event is no sign."""

    def event(self, host: str, uuid: str, mono: float) -> bool:
        return False


@pytest.mark.parametrize("without", [AnySilence, EveryRound, NoEvents])
def test_w3_the_walks_notice_a_rule_that_is_left_out(without: type[Sightings]) -> None:
    assert walk(without, 20 * WALKS) != ""


def test_w3_the_walks_reach_hosts_that_are_clear() -> None:
    reached = 0
    for seed in range(200):
        world = World(random.Random(seed), Sightings)
        for _ in range(STEPS):
            world.step()
            reached += world.waits() == ()
    assert reached > 100
