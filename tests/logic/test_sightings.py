"""safety.md W3 as tables: which signs start the counting again, when a host is clear, and what (a) allows how long."""

from datetime import UTC, datetime, timedelta

import pytest

from controllers.logic.sightings import ATTEMPT_FRESH, OURS_GRACE, HostWord, Round, Sightings
from drivers.base import InstanceFacts, Listing, Power, Why
from drivers.marks import InstanceMark

GUEST = "11111111-1111-4111-8111-111111111111"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
READY = HostWord()
OUT = HostWord(out_of_service=True)


def domain(host: str, power: Power, *, sequence: int = 1, why: Why = Why.UNKNOWN) -> InstanceFacts:
    mark = InstanceMark(installation="i", namespace="n", name="g", uid="u", uuid=GUEST, sequence=sequence)
    return InstanceFacts(host=host, uuid=GUEST, name="n.g", power=power, why=why, mark=mark)


class World:
    """A zone of hosts a, b and c with a clock; the instance's placement is a."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = hosts or ("a", "b", "c")
        self.now = 100.0
        self.book = Sightings(self.now)
        self.words = dict.fromkeys(self.hosts, READY)

    def tick(self, seconds: float = 1.0) -> float:
        self.now += seconds
        return self.now

    def wall(self) -> datetime:
        return NOON + timedelta(seconds=self.now)

    def home(self, uuid: str) -> str:
        return "a"

    def list(self, host: str, *found: InstanceFacts, begun: float | None = None) -> None:
        begun = self.tick() if begun is None else begun
        self.book.listed(host, Listing(begun=begun, ended=self.tick(), instances=found), self.wall(), self.home)

    def round(self, *answered: str, **found: InstanceFacts) -> None:
        """All of `answered` (default: all hosts) are listed; `found` is what one of them shows."""
        begun = self.tick()
        for host in answered or self.hosts:
            self.list(host, *([found[host]] if host in found else []))
        self.book.round_ended("z", Round(begun, self.tick(), frozenset(answered or self.hosts)))

    def waits_for(self, *hosts: str, contact: datetime | None = None) -> tuple[str, ...]:
        return self.book.not_clear(
            GUEST, "z", hosts or self.hosts, self.words.__getitem__, self.now, home="a", contact=contact
        )


def test_w3c_hosts_are_clear_after_two_whole_rounds_that_show_it_nowhere() -> None:
    world = World()
    assert world.waits_for() == ("a", "b", "c")
    world.round()
    assert world.waits_for() == ("a", "b", "c")
    world.round()
    assert world.waits_for() == ()


def test_w3c_a_host_where_it_is_defined_and_off_is_clear() -> None:
    world = World()
    for _ in range(2):
        world.round(b=domain("b", Power.OFF))
    assert world.waits_for() == ()


def test_w3c_a_round_that_a_host_did_not_answer_is_no_whole_round() -> None:
    world = World()
    world.round()
    world.round("a", "b")
    assert world.waits_for() == ("c",)
    world.round()
    assert world.waits_for() == ()


def test_w3c_regular_listings_are_no_rounds() -> None:
    world = World()
    for _ in range(5):
        for host in world.hosts:
            world.list(host)
    assert world.waits_for() == ("a", "b", "c")


SIGNS = {
    "seen running": lambda w: w.list("b", domain("b", Power.RUNNING)),
    "seen paused on another host": lambda w: w.list("b", domain("b", Power.PAUSED)),
    "a lifecycle event": lambda w: w.book.event("b", GUEST, w.tick()),
    "a resume of ours": lambda w: w.book.resumed(GUEST, w.tick(), w.wall(), answered=True),
    "a resume of ours without an answer": lambda w: w.book.resumed(GUEST, w.tick(), w.wall(), answered=False),
    "a change between two listings": lambda w: w.list("b", domain("b", Power.OFF)),
    "it is gone between two listings": lambda w: (w.list("b", domain("b", Power.OFF)), w.list("b")),
    "a change that a single observation shows": lambda w: w.book.observed(
        "b", GUEST, domain("b", Power.OFF), w.tick(), w.tick(), w.wall(), w.home
    ),
    "a sign that somebody tells of": lambda w: w.book.sign(GUEST, w.tick()),
}


@pytest.mark.parametrize("sign", SIGNS.values(), ids=SIGNS.keys())
def test_w3c_a_sign_starts_the_counting_of_rounds_again(sign: object) -> None:
    world = World()
    world.round()
    world.round()
    world.book.note_first(GUEST)
    assert world.waits_for() == ()
    sign(world)  # type: ignore[operator]
    assert world.waits_for() != ()
    assert not world.book.decided_first(GUEST)  # W3: what (a) and (b) allow ends with a sign.
    world.list("b")
    world.round()
    assert world.waits_for() != ()
    world.round()
    assert world.waits_for() == ()


def test_w3_paused_on_its_own_host_is_no_sign() -> None:
    world = World()
    world.list("a", domain("a", Power.PAUSED))
    for _ in range(2):
        world.round(a=domain("a", Power.PAUSED))
    assert world.waits_for("b", "c") == ()
    assert world.waits_for() == ("a",)


def test_w3_while_it_is_seen_running_no_number_of_rounds_clears_anything() -> None:
    world = World()
    for _ in range(4):
        world.round(a=domain("a", Power.RUNNING))
    assert "a" in world.waits_for()
    assert world.waits_for("b", "c") == ("b", "c")


def test_w3_what_we_changed_ourselves_is_no_sign() -> None:
    world = World()
    world.round()
    world.round()
    world.book.note_first(GUEST)
    world.book.begin("a", GUEST)
    assert not world.book.event("a", GUEST, world.tick())
    off = domain("a", Power.OFF)
    world.book.end("a", GUEST, world.tick(), known=True)
    world.book.observed("a", GUEST, off, world.tick(0.1), world.tick(0.1), world.wall(), world.home, ours=True)
    assert not world.book.event("a", GUEST, world.tick(OURS_GRACE / 2))
    world.list("a", off)
    assert world.book.decided_first(GUEST)
    assert world.waits_for() == ()
    assert world.book.event("a", GUEST, world.tick(OURS_GRACE))
    assert not world.book.decided_first(GUEST)


def test_w3_a_listing_begun_before_our_call_does_not_undo_what_we_saw_after_it() -> None:
    world = World()
    world.list("a")
    begun = world.tick()
    world.book.begin("a", GUEST)
    world.book.end("a", GUEST, world.tick(), known=True)
    world.book.observed(
        "a", GUEST, domain("a", Power.OFF), world.tick(), world.tick(), world.wall(), world.home, ours=True
    )
    world.list("a", begun=begun)
    assert GUEST in world.book.of(GUEST)["a"].uuid
    world.list("a")
    assert world.book.of(GUEST) == {}


def test_w6_a_call_without_an_answer_makes_its_host_count_as_unseen() -> None:
    world = World()
    world.round()
    world.round()
    world.book.note_first(GUEST)
    world.book.begin("a", GUEST)
    world.book.end("a", GUEST, world.tick(), known=False)
    assert world.book.unknown("a", GUEST)
    assert world.waits_for() == ("a",)
    world.list("a", domain("a", Power.PAUSED))
    assert not world.book.unknown("a", GUEST)
    assert world.book.decided_first(GUEST)  # What the call did is no change by somebody else.


def test_w3c_rounds_before_a_connection_was_lost_count_for_nothing() -> None:
    world = World()
    world.round()
    world.round()
    world.book.lost("b", world.tick())
    assert world.waits_for() == ("b",)
    world.list("b")
    assert world.waits_for() == ("b",)
    world.round()
    world.round()
    assert world.waits_for() == ()


def test_w3c_a_change_while_the_connection_was_lost_is_a_sign() -> None:
    world = World()
    world.round()
    world.round(b=domain("b", Power.OFF))
    world.book.note_first(GUEST)
    world.book.lost("b", world.tick())
    world.list("b")
    assert not world.book.decided_first(GUEST)


def test_h1_a_host_validly_out_of_service_is_clear_without_an_answer() -> None:
    world = World()
    world.words["b"] = OUT
    world.round("a", "c")
    world.round("a", "c")
    assert world.waits_for() == ()


class Silent:
    """Host b is down and reported so; a runs the guest, then shows it off."""

    def __init__(self, *, reported_before: bool = True, attempt: bool = True) -> None:
        self.world = world = World("a", "b")
        report = world.wall() + timedelta(seconds=0 if reported_before else 60)
        world.words["b"] = HostWord(not_ready_since=report)
        world.tick(10)
        world.list("a", domain("a", Power.RUNNING))
        world.list("a", domain("a", Power.OFF))
        if attempt:
            world.book.attempt_failed("b", world.tick())
        for _ in range(2):
            world.round("a", a=domain("a", Power.OFF))


def test_w3c_a_host_reported_not_ready_before_it_was_last_seen_alive_is_clear_while_it_does_not_answer() -> None:
    assert Silent().world.waits_for() == ()


def test_w3c_a_host_reported_not_ready_only_after_it_was_last_seen_alive_is_waited_for() -> None:
    assert Silent(reported_before=False).world.waits_for() == ("b",)


def test_w3c_a_silent_host_must_fail_an_attempt_made_now() -> None:
    assert Silent(attempt=False).world.waits_for() == ("b",)
    world = Silent().world
    world.tick(ATTEMPT_FRESH + 1)
    assert world.waits_for() == ("b",)


def test_w3c_a_host_that_answered_since_is_not_silent() -> None:
    world = Silent().world
    world.list("b")
    world.book.lost("b", world.tick())
    world.book.attempt_failed("b", world.tick())
    assert world.waits_for() == ("b",)


def test_w3c_for_a_new_leader_the_recorded_contact_stands_for_the_last_sign_if_it_is_seen_at_home() -> None:
    world = World("a", "b")
    world.words["b"] = HostWord(not_ready_since=NOON)
    later, earlier = NOON + timedelta(minutes=1), NOON - timedelta(minutes=1)
    world.book.attempt_failed("b", world.tick())
    for _ in range(2):
        world.round("a", a=domain("a", Power.OFF))
    assert world.waits_for(contact=later) == ()
    assert world.waits_for(contact=earlier) == ("b",)
    assert world.waits_for(contact=None) == ("b",)
    for _ in range(2):
        world.round("a")
        world.book.attempt_failed("b", world.tick())
    assert "b" in world.waits_for(contact=later)


def test_a_round_that_began_before_the_previous_one_ended_is_refused() -> None:
    book = Sightings(0.0)
    book.round_ended("z", Round(1.0, 3.0, frozenset()))
    with pytest.raises(ValueError, match="began before"):
        book.round_ended("z", Round(2.0, 4.0, frozenset()))


def test_only_what_differs_is_told_of() -> None:
    world = World()
    listing = Listing(begun=world.tick(), ended=world.tick(), instances=(domain("a", Power.OFF),))
    assert world.book.listed("a", listing, world.wall(), world.home) == {GUEST}
    again = Listing(begun=world.tick(), ended=world.tick(), instances=(domain("a", Power.OFF),))
    assert world.book.listed("a", again, world.wall(), world.home) == set()
    gone = Listing(begun=world.tick(), ended=world.tick(), instances=())
    assert world.book.listed("a", gone, world.wall(), world.home) == {GUEST}


def test_w2_a_paused_copy_of_one_whose_status_was_lost_lets_the_others_become_clear() -> None:
    """Found: each listing that showed it was a sign, so that the rounds never counted and it waited for ever."""
    world = World()
    world.home = lambda uuid: None  # type: ignore[assignment,method-assign,return-value]
    for _ in range(3):
        world.round(b=domain("b", Power.PAUSED))
    assert world.waits_for("a", "c") == ()


def test_a_copy_away_from_home_is_told_of_again_when_its_host_is_connected_anew() -> None:
    """Found: it was not looked at while that host was away, and nobody was told when it could be seen again."""
    world = World()
    for host, told in (("b", {GUEST}), ("a", set())):
        world.list(host, domain(host, Power.RUNNING))
        world.book.lost(host, world.tick())
        again = Listing(begun=world.tick(), ended=world.tick(), instances=(domain(host, Power.RUNNING),))
        assert world.book.listed(host, again, world.wall(), world.home) == told
