"""The simulator: what it counts adds up, and the default weights keep their place on small traces."""

import random

from controllers.placement.simulate import (
    HOSTS,
    MIX,
    REFERENCES,
    Event,
    by_engine,
    cloud,
    density,
    filling,
    living,
    replay,
)


def test_the_mix_of_sizes_is_whole() -> None:
    assert abs(sum(share for *_, share in MIX) - 1) < 1e-9
    assert sum(share for *_, share in HOSTS) == 5


def test_what_leaves_gives_its_room_back() -> None:
    planner = cloud(5, "Balanced")
    events = [event for event in living(5, 0.3, 200, seed=1) if event.ask]
    report = replay(planner, [*events, Event(1e9)])
    assert (report.asked, report.rejected) == (200, 0)
    assert density(planner) == 0


def test_a_lost_host_moves_what_was_on_it() -> None:
    planner = cloud(5, "Spread")
    (first, *_) = events = list(filling(10, seed=2))
    assert first.ask is not None
    report = replay(planner, [*events, Event(20.0, host="host-00001")])
    assert report.homeless == 0
    assert report.moves > 0
    assert all("host-00001" not in claim.hosts for claim in planner.claims.values())


def test_a_full_cloud_rejects_and_says_at_which_density() -> None:
    report = replay(cloud(3, "Packed"), filling(200, seed=3))
    assert report.rejected > 0
    assert 0.4 < report.first_rejection < 1


def test_every_policy_and_reference_places_what_fits() -> None:
    for choose in (by_engine, *REFERENCES.values()):
        report = replay(cloud(10, "Balanced"), filling(30, seed=4), choose)
        assert report.rejected == 0


def test_spread_is_emptier_and_packed_is_denser_than_chance() -> None:
    seeds = random.Random(5).sample(range(1000), 4)
    packed = [replay(cloud(15, "Packed", s), filling(500, s)).first_rejection for s in seeds]
    spread = [replay(cloud(15, "Spread", s), filling(500, s)).first_rejection for s in seeds]
    assert sum(packed) > sum(spread)
