"""What the index of sightings says is what a look through all hosts says, whatever they have shown in between."""

import random
from datetime import UTC, datetime

import pytest

from controllers.logic.sightings import Sightings
from drivers.base import InstanceFacts, Listing, Power, Why
from drivers.marks import InstanceMark

HOSTS = ("a", "b", "c")
GUESTS = tuple(f"{n}{n}111111-1111-4111-8111-111111111111" for n in range(4))
NAMES = ("web", "db")
UIDS = ("u1", "u2", "u3")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Looking:
    """The book, and beside it what each host showed last, by hand."""

    def __init__(self, seed: int) -> None:
        self.dice, self.now = random.Random(seed), 0.0
        self.book = Sightings(0.0)
        self.shown: dict[str, dict[str, InstanceFacts]] = {}
        self.connected: set[str] = set()

    def facts(self, host: str, uuid: str) -> InstanceFacts:
        mark = InstanceMark(
            installation="i", namespace="n", name=self.dice.choice(NAMES), uid=self.dice.choice(UIDS), uuid=uuid,
            sequence=1,
        )  # fmt: skip
        marked = mark if self.dice.random() < 0.8 else None
        return InstanceFacts(host=host, uuid=uuid, name="g", power=Power.OFF, why=Why.UNKNOWN, mark=marked)

    def step(self) -> None:
        host, uuid = self.dice.choice(HOSTS), self.dice.choice(GUESTS)
        begun, ended = self.now + 1.0, self.now + 2.0
        self.now = ended
        match self.dice.randrange(4):
            case 0 | 1:
                found = [self.facts(host, u) for u in GUESTS if self.dice.random() < 0.5]
                self.book.listed(host, Listing(begun=begun, ended=ended, instances=tuple(found)), NOON, lambda _: None)
                self.shown[host] = {f.uuid: f for f in found}
                self.connected.add(host)
            case 2 if host in self.connected:
                facts = self.facts(host, uuid) if self.dice.random() < 0.6 else None
                self.book.observed(host, uuid, facts, begun, ended, NOON, lambda _: None)
                self.shown[host].pop(uuid, None)
                if facts is not None:
                    self.shown[host][uuid] = facts
            case 3:
                self.book.lost(host, ended)
                self.connected.discard(host)

    def all(self, *, connected: bool = True) -> list[InstanceFacts]:
        hosts = [host for host in sorted(self.shown) if (host in self.connected) is connected]
        return [facts for host in hosts for _, facts in sorted(self.shown[host].items())]


@pytest.mark.parametrize("seed", range(30))
def test_the_index_says_what_all_hosts_show(seed: int) -> None:
    world = Looking(seed)
    for _ in range(60):
        world.step()
        for uuid in GUESTS:
            assert world.book.of(uuid) == {f.host: f for f in world.all() if f.uuid == uuid}
            assert world.book.unheard(uuid) == {f.host: f for f in world.all(connected=False) if f.uuid == uuid}
        for name in NAMES:
            assert world.book.marked("n", name) == [f for f in world.all() if f.mark and f.mark.name == name]
        for uid in UIDS:
            assert world.book.owned(uid) == [f for f in world.all() if f.mark and f.mark.uid == uid]
        assert world.book.marked("other", NAMES[0]) == []


def test_nothing_is_kept_of_what_no_host_shows_any_more() -> None:
    world = Looking(1)
    for _ in range(40):
        world.step()
    for host in HOSTS:
        world.book.listed(host, Listing(begun=world.now + 1, ended=world.now + 2, instances=()), NOON, lambda _: None)
    kept = world.book._whereabouts
    assert (kept._hosts, kept._named, kept._owned) == ({}, {}, {})
