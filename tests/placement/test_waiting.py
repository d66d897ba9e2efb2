"""Those who wait: who is asked first, who is let in, and that nobody starves."""

import random
from dataclasses import replace

import pytest

from controllers.engine.base import Key
from controllers.placement.core.asks import Ask, Claim, Shape, TermKey, TermWant, VolumeWant
from controllers.placement.core.hosts import HostRecord
from controllers.placement.core.planner import Planner
from controllers.placement.core.pools import PoolRecord
from controllers.placement.core.story import Placed, Unplaced
from controllers.placement.waiting import STARVES_AFTER, Place, Waiter, Waiting, reasons_of

GI = 2**30


def _root(size: int) -> tuple[VolumeWant, ...]:
    return (VolumeWant(entry="root", size=size),) if size else ()


class Desk:
    """A planner of hosts with 4 CPUs each, and the queue before it."""

    def __init__(self, hosts: int = 1) -> None:
        self.planner = Planner()
        for n in range(hosts):
            self.planner.put_host(HostRecord(name=f"node-{n + 1}", zone="z", cpus=4, memory=64 * GI))
        self.waiting = Waiting(self.planner)
        self.let_in: list[str] = []
        self.told: list[str] = []

    def wait(
        self, uid: str, *, cpus: int = 1, priority: int = 0, since: float = 0.0, asked: float = 0.0, disk: int = 0,
        **ask: object,
    ) -> None:  # fmt: skip
        shape = Shape(namespace="n", zone="z", cpus=cpus, memory=GI, volumes=_root(disk))
        asks = Ask(uid=uid, shape=shape, **ask)  # type: ignore[arg-type]
        result = self.planner.decide(asks)
        assert isinstance(result, Unplaced)
        waiter = Waiter(
            key=Key("Instance", "n", uid),
            ask=asks,
            place=Place(-priority, since, uid),
            asked=asked,
            reasons=reasons_of(result),
        )
        self.waiting.put(waiter)

    def occupy(self, uid: str, cpus: int, host: str = "node-1") -> None:
        self.planner.claim(uid, Claim(namespace="n", hosts=(host,), cpus=cpus, memory=GI))

    def grant(self, waiter: Waiter, placed: Placed) -> None:
        self.planner.claim(waiter.ask.uid, self.planner.claim_of(waiter.ask, placed))
        self.let_in.append(waiter.ask.uid)

    def settle(self, now: float = 0.0) -> list[str]:
        self.let_in, self.told = [], []
        self.waiting.settle(now, self.grant, lambda waiter: self.told.append(waiter.ask.uid))
        return self.let_in


def test_priority_comes_before_age_and_age_before_the_rest() -> None:
    desk = Desk()
    desk.occupy("old", 4)
    desk.wait("young", since=30)
    desk.wait("aged", since=10)
    desk.wait("urgent", since=50, priority=5)
    assert desk.settle() == []
    desk.planner.release("old")
    assert desk.settle() == ["urgent", "aged", "young"]


def test_only_as_many_are_let_in_as_fit() -> None:
    desk = Desk()
    desk.occupy("old", 4)
    for n in range(10):
        desk.wait(f"u{n}", since=n)
    desk.occupy("old", 1)
    assert desk.settle() == ["u0", "u1", "u2"]
    assert len(desk.waiting) == 7


def test_one_that_is_kept_away_by_affinity_does_not_hold_back_others_of_its_shape() -> None:
    desk = Desk()
    desk.planner.claim(
        "web", Claim(namespace="n", labels=frozenset({("app", "web")}), hosts=("node-1",), cpus=4, memory=GI)
    )
    away = TermWant(TermKey("n", frozenset({("app", "web")}), "Host"), anti=True)
    desk.wait("shy", since=1, terms=(away,))
    desk.wait("plain", since=2)
    desk.planner.claim("web", replace(desk.planner.claims["web"], cpus=1))
    assert desk.settle() == ["plain"]


def test_who_comes_later_is_behind_those_who_wait() -> None:
    desk = Desk()
    desk.occupy("old", 4)
    desk.wait("first", since=10, priority=0)
    assert desk.waiting.ahead_of(Place(0, 20, "later"))
    assert not desk.waiting.ahead_of(Place(0, 5, "older"))
    assert not desk.waiting.ahead_of(Place(-1, 20, "urgent"))


def test_the_first_in_the_queue_is_known_after_any_coming_and_going() -> None:
    desk, dice = Desk(), random.Random(1)
    desk.occupy("old", 4)
    there: dict[str, tuple[int, float]] = {}
    for step in range(400):
        uid = f"u{dice.randint(0, 30)}"
        if dice.random() < 0.4:
            desk.waiting.drop(uid)
            there.pop(uid, None)
        else:
            there[uid] = (dice.randint(0, 3), float(dice.randint(0, 9)))
            desk.wait(uid, priority=there[uid][0], since=there[uid][1])
        priority, since = dice.randint(0, 3), float(dice.randint(0, 9))
        before = any((-p, s) < (-priority, since) for p, s in there.values())
        assert desk.waiting.ahead_of(Place(-priority, since, "")) == before, step
        assert len(desk.waiting) == len(there)


@pytest.mark.parametrize("hosts", [1, 3])
def test_a_big_one_is_placed_though_small_ones_come_for_ever(hosts: int) -> None:
    desk = Desk(hosts)
    held = []
    for n in range(4 * hosts):
        desk.occupy(f"small-{n}", 1, f"node-{n % hosts + 1}")
        held.append(f"small-{n}")
    desk.wait("big", cpus=4, asked=0.0)
    for step in range(40 * hosts):
        now = step * 10.0
        desk.planner.release(held.pop(0))
        if "big" in desk.settle(now):
            break
        # A new small one takes what became free, unless it is kept.
        ask = Ask(uid=f"new-{step}", shape=Shape(namespace="n", zone="z", cpus=1, memory=GI))
        result = desk.planner.decide(ask)
        if isinstance(result, Placed):
            desk.planner.claim(ask.uid, desk.planner.claim_of(ask, result))
            held.append(ask.uid)
        elif not held:
            break
    assert "big" in desk.let_in
    assert now >= STARVES_AFTER
    assert not any(uid.endswith("/kept") for uid in desk.planner.claims)


def test_a_big_disk_gets_its_pool_though_small_ones_come_for_ever() -> None:
    desk, held = Desk(), [f"small-{n}" for n in range(4)]
    desk.planner.put_host(HostRecord(name="node-1", zone="z", cpus=400, memory=999 * GI, pools=frozenset({"p"})))
    desk.planner.put_pool(PoolRecord(name="p", free=4 * GI, capacity=4 * GI))
    for uid in held:
        desk.planner.claim(uid, Claim(namespace="n", volumes={"p": GI}))
    desk.wait("big", disk=4 * GI)
    for step in range(40):
        desk.planner.release(held.pop(0))
        if desk.settle(step * 10.0):
            break
        ask = Ask(uid=f"new-{step}", shape=Shape(namespace="n", zone="z", cpus=1, memory=GI, volumes=_root(GI)))
        result = desk.planner.decide(ask)
        if isinstance(result, Placed):
            desk.planner.claim(ask.uid, Claim(namespace="n", volumes={"p": GI}))
            held.append(ask.uid)
    assert desk.let_in == ["big"]
    assert STARVES_AFTER <= step * 10.0 <= STARVES_AFTER + 60.0
    assert not any(uid.endswith("/kept") for uid in desk.planner.claims)


def test_no_pool_is_kept_for_a_disk_that_it_could_not_hold_empty_nor_on_a_host_that_lacks_more() -> None:
    desk = Desk(hosts=2)
    for name, cpus in (("node-1", 4), ("node-2", 0)):
        pools = frozenset({f"of-{name}"})
        desk.planner.put_host(HostRecord(name=name, zone="z", cpus=cpus, memory=64 * GI, pools=pools))
    desk.planner.put_pool(PoolRecord(name="of-node-1", free=0, capacity=4 * GI))
    desk.planner.put_pool(PoolRecord(name="of-node-2", free=0, capacity=9 * GI))
    desk.wait("huge", disk=5 * GI)
    desk.settle(STARVES_AFTER)
    assert not desk.planner.claims


def test_what_is_kept_is_given_back_when_it_goes() -> None:
    desk = Desk()
    desk.occupy("old", 1)
    desk.wait("big", cpus=4)
    desk.settle(STARVES_AFTER)
    assert "big/kept" in desk.planner.claims
    assert desk.waiting.drop("big")
    assert set(desk.planner.claims) == {"old"}


def test_for_whom_nothing_is_kept_frees_nothing() -> None:
    desk = Desk()
    desk.occupy("old", 1)
    desk.wait("big", cpus=4)
    desk.wait("other", cpus=4)
    desk.settle(STARVES_AFTER)
    assert not desk.waiting.drop("other")
    assert not desk.waiting.frees(lambda uid: uid == "other")
    assert desk.waiting.frees(lambda uid: uid == "big")
    assert set(desk.planner.claims) == {"old"}


def test_no_host_is_kept_for_one_that_it_could_not_hold_empty() -> None:
    desk = Desk(hosts=2)
    desk.wait("huge", cpus=5)
    desk.settle(STARVES_AFTER)
    assert not desk.planner.claims


@pytest.mark.parametrize("goes", [False, True])
def test_a_host_that_takes_nothing_any_more_is_kept_for_nobody(goes: bool) -> None:
    desk = Desk(hosts=2)
    desk.occupy("one", 1, "node-1")
    desk.occupy("two", 1, "node-2")
    desk.wait("big", cpus=4)
    desk.settle(STARVES_AFTER)
    (kept,) = desk.planner.claims["big/kept"].hosts
    other = "node-2" if kept == "node-1" else "node-1"
    if goes:
        desk.planner.remove_host(kept)
    else:
        desk.planner.put_host(HostRecord(name=kept, zone="z", cpus=4, memory=64 * GI, disabled="disabled"))
    desk.settle(STARVES_AFTER + 1)
    assert desk.planner.claims["big/kept"].hosts == (other,)


def test_who_is_gone_waits_no_longer_and_nothing_is_kept_for_it() -> None:
    desk = Desk()
    desk.occupy("old", 1)
    desk.wait("gone", cpus=4)
    desk.wait("there", cpus=4)
    desk.settle(STARVES_AFTER)
    desk.waiting.drop_those(lambda uid: uid == "gone")
    assert "gone" not in desk.waiting
    assert "gone/kept" not in desk.planner.claims
    assert "there" in desk.waiting


def test_room_that_is_kept_is_not_kept_from_one_whose_turn_comes_first() -> None:
    desk = Desk()
    desk.occupy("old", 4)
    desk.wait("first", cpus=4, since=1)
    desk.wait("second", cpus=4, since=2)
    desk.planner.release("old")
    assert desk.settle(STARVES_AFTER) == ["first"]
    assert "second/kept" in desk.planner.claims
    # It decides for itself now, and is not counted meanwhile.
    desk.planner.release("first")
    ask = Ask(uid="first", shape=Shape(namespace="n", zone="z", cpus=4, memory=GI))
    with desk.waiting.giving_way(Place(0, 1.0, "first")):
        assert isinstance(desk.planner.decide(ask), Placed)
    assert isinstance(desk.planner.decide(ask), Unplaced)


def test_it_is_told_anew_when_the_reasons_change() -> None:
    desk = Desk()
    desk.occupy("old", 4)
    desk.wait("one")
    desk.settle()
    assert desk.told == []
    desk.planner.put_host(replace(desk.planner.hosts.records[0], closed="is in maintenance"))
    desk.settle()
    assert desk.told == ["one"]
    desk.settle()
    assert desk.told == []
