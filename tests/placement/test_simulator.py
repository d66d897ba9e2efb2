"""The simulator: what it counts adds up, and the default weights keep their place on small traces."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from controllers.placement import simulate
from controllers.placement.core.planner import Planner
from controllers.placement.simulate import (
    HOSTS,
    MIX,
    REFERENCES,
    by_engine,
    cloud,
    density,
    filling,
    living,
    replay,
)
from controllers.placement.trace import Event, events, read

MIXED = Path(__file__).parents[2] / "examples" / "traces" / "mixed.jsonl"


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


# ------------------------------------------------------------ traces as files


def trace(*lines: dict[str, Any]) -> list[Event]:
    return list(events(map(json.dumps, lines), "Balanced"))


ROOM: list[dict[str, Any]] = [
    {"pool": "nfs-1", "capacity": "100Gi", "tags": ["ssd"]},
    {"type": "small", "cpus": 2, "memory": "4Gi"},
    {"host": "a", "cpus": 8, "memory": "32Gi", "pools": ["nfs-1"]},
    {"host": "b", "cpus": 8, "memory": "32Gi", "pools": ["nfs-1"]},
]


def test_volumes_of_a_trace_take_room_of_pools_and_give_it_back() -> None:
    volumes = [{"size": "60Gi", "tags": ["ssd"]}]
    asked = [
        {"time": 1, "name": "first", "type": "small", "volumes": volumes, "lifetime": 10},
        {"time": 2, "name": "no room", "type": "small", "volumes": volumes},
        {"time": 12, "name": "second", "type": "small", "volumes": volumes},
    ]
    for choose in (by_engine, *REFERENCES.values()):
        planner = Planner()
        report = replay(planner, trace(*ROOM, *asked), choose)
        assert (report.asked, report.rejected) == (3, 1)
        assert planner.claims["second"].volumes == {"nfs-1": 60 * 2**30}


def test_a_volume_stays_on_its_pool_when_the_host_is_lost() -> None:
    local = [*ROOM[:2], {**ROOM[2], "pools": ["nfs-1"]}, {**ROOM[3], "pools": []}]
    arrival = {"time": 1, "name": "one", "type": "small", "volumes": [{"size": "10Gi"}]}
    report = replay(Planner(), trace(*local, arrival, {"time": 2, "lost": "a"}))
    assert (report.moves, report.homeless) == (0, 1)
    planner = Planner()
    report = replay(planner, trace(*ROOM, arrival, {"time": 2, "lost": "a"}))
    assert (report.moves, report.homeless) == (1, 0)
    assert planner.claims["one"].hosts == ("b",) and planner.claims["one"].volumes == {"nfs-1": 10 * 2**30}


def test_members_that_keep_apart_do_so_under_every_policy_and_reference() -> None:
    group = [
        {"time": n, "name": f"web-{n}", "cpus": 1, "memory": "1Gi", "labels": {"app": "web"}, "apart": ["Host"]}
        for n in range(3)
    ]
    for choose in (by_engine, *REFERENCES.values()):
        planner = Planner()
        report = replay(planner, trace(*ROOM, *group), choose)
        assert report.rejected == 1
        assert {claim.hosts for claim in planner.claims.values()} == {("a",), ("b",)}


def test_a_host_may_come_later_or_come_back() -> None:
    asked = [{"time": n, "name": f"vm-{n}", "cpus": 8, "memory": "1Gi"} for n in (1, 3, 5)]
    report = replay(
        Planner(), trace(*ROOM[:3], asked[0], {"time": 2, "lost": "a"}, asked[1], {**ROOM[2], "time": 4}, asked[2])
    )
    assert (report.asked, report.rejected, report.homeless) == (3, 1, 1)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 5: Expecting property name"),
        ('{"time": 1}', "line 5: has none of the keys host, pool, lost, name, type"),
        ('{"name": "a", "cpus": 1, "memory": "1Gi", "disk": 3}', "line 5: disk: Extra inputs are not permitted"),
        ('{"name": "a", "cpus": 1, "memory": "lots"}', "line 5: memory: Value error, 'lots' is not a quantity"),
        ('{"name": "a", "type": "big"}', "line 5: type big is not defined by an earlier line"),
        ('{"name": "a"}', "line 5: a has neither a type nor CPUs and memory"),
        ('{"time": 2, "name": "a", "type": "small"}\n{"time": 1, "lost": "a"}', "line 6: time 1 is before 2"),
        (
            '{"name": "a", "type": "small"}\n{"name": "a", "type": "small"}',
            "line 6: a was asked for by an earlier line",
        ),
    ],
)
def test_a_line_that_makes_no_sense_is_named(line: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        list(events([*map(json.dumps, ROOM), *line.split("\n")], "Balanced"))


def test_the_command_replays_a_trace_through_every_policy_and_reference(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate.main(["--trace", str(MIXED)]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name, *_ in simulate.contenders())
    assert simulate.main(["--trace", "nowhere.jsonl"]) == 2
    assert "cannot be replayed" in capsys.readouterr().err


def test_the_shipped_trace_has_volumes_groups_departures_and_a_lost_host() -> None:
    found = list(read(MIXED, "Balanced"))
    asks = [event.ask for event in found if event.ask]
    assert len(asks) == 340 and sum(bool(ask.shape.volumes) for ask in asks) > 300
    assert any(ask.terms for ask in asks) and [event.host for event in found if event.host] == ["node-3"]
    assert 0 < replay(Planner(), found).rejected < len(asks) / 10
