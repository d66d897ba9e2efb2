"""The engine says what the slow reference says: reasons, counts, winner, pools and near misses, on random clouds that
change under it. Its caches are what is on trial."""

from collections import Counter

import pytest

from controllers.placement.core.asks import Ask
from controllers.placement.core.hosts import LABELS_KEPT
from controllers.placement.core.story import Placed, Unplaced
from tests.placement import reference
from tests.placement.worlds import Both

CLOUDS, EACH = 40, 50
"""Clouds of one test case; there are 50 cases."""


def verdicts(both: Both, ask: Ask) -> dict[str, str]:
    """Of every host of the zone."""
    held = both.world.claims.pop(ask.uid, None)
    found = {name: reference.reason(both.world, host, ask) for name, host in both.world.hosts.items()}
    if held:
        both.world.claims[ask.uid] = held
    return {name: reason for name, reason in found.items() if reason != "OtherZone"}


def compare(both: Both, ask: Ask) -> Placed | Unplaced:
    result = both.planner.decide(ask)
    expected = verdicts(both, ask)
    story = result.story
    assert story.candidates == len(expected)
    assert {lost.reason: lost.count for lost in story.lost} == Counter(filter(None, expected.values()))
    fitting = sorted(name for name, reason in expected.items() if not reason)
    assert story.fitting == len(fitting)
    held = both.world.claims.pop(ask.uid, None)
    try:
        if isinstance(result, Placed):
            scores = {name: reference.score(both.world, both.world.hosts[name], ask) for name in fitting}
            assert result.host in scores
            assert scores[result.host] == pytest.approx(max(scores.values()), abs=2e-5)
            assert sum(value for _, value in story.parts) == pytest.approx(scores[result.host], abs=2e-5)
            picked = reference.pick(both.world, both.world.hosts[result.host], ask)
            assert picked is not None
            assert result.pools == picked[0]
        else:
            assert fitting == []
            compare_near(both, ask, expected, result)
    finally:
        if held:
            both.world.claims[ask.uid] = held
    return result


def compare_near(both: Both, ask: Ask, expected: dict[str, str], result: Unplaced) -> None:
    others = {ask.pinned} if ask.pinned else set(expected)
    lacking = [
        n for n, reason in expected.items() if reason in ("InsufficientCPU", "InsufficientMemory") and n in others
    ]
    lacking = [n for n in lacking if n not in ask.avoid and affine(both, ask, n)]
    shorts = sorted(reference.short(both.world, both.world.hosts[name], ask) for name in lacking)
    told = [reference.short(both.world, both.world.hosts[near.host], ask) for near in result.story.near]
    assert told == pytest.approx(shorts[:3], abs=1e-4)


def affine(both: Both, ask: Ask, name: str) -> bool:
    return reference._affinity(both.world, both.world.hosts[name], ask)


@pytest.mark.parametrize("case", range(CLOUDS))
def test_the_fast_answer_is_the_slow_one(case: int) -> None:
    for seed in range(case * EACH, (case + 1) * EACH):
        both = Both(seed, odd=(0.03, 0.1, 0.3)[seed % 3])
        for step in range(12):
            for _ in range(both.random.randint(0, 3)):
                both.shake()
            ask = both.ask()
            try:
                result = compare(both, ask)
            except AssertionError as error:
                raise AssertionError(f"seed {seed} step {step}: {ask}") from error
            if isinstance(result, Placed) and both.often(0.7):
                both.claim(ask.uid, both.planner.claim_of(ask, result))


@pytest.mark.parametrize("case", range(4))
def test_a_long_life_of_one_cloud_ends_where_a_fresh_look_does(case: int) -> None:
    both = Both(10_000 + case, odd=0.05)
    asks = [both.ask() for _ in range(12)]
    for _ in range(400):
        both.shake()
        compare(both, both.random.choice(asks))


@pytest.mark.parametrize("case", range(20))
def test_no_host_and_no_pool_ever_gives_more_than_it_has(case: int) -> None:
    both = Both(20_000 + case, odd=0.02)
    for _ in range(150):
        if both.often(0.2) and both.world.claims:
            both.release(both.random.choice(sorted(both.world.claims)))
        ask = both.ask()
        result = both.planner.decide(ask)
        if isinstance(result, Placed):
            both.claim(ask.uid, both.planner.claim_of(ask, result))
        for host in both.world.hosts.values():
            held = any(host.name in claim.hosts for claim in both.world.claims.values())
            assert not held or min(both.world.free(host)) >= 0
        for name, pool in both.world.pools.items():
            assert sum(c.volumes.get(name, 0) for c in both.world.claims.values()) <= pool.free


def test_who_asks_for_ever_new_labels_costs_no_memory_and_gets_the_right_hosts() -> None:
    both = Both(1)
    for number in range(20):
        both.put_host(f"h{number}")
    hosts = both.planner.hosts
    true = {name for name, host in both.world.hosts.items() if host.labels["gpu"] == "true"}
    for number in range(2 * LABELS_KEPT):
        assert not hosts.rows_with(frozenset({("gpu", "true"), ("row", str(number))})).size
    assert len(hosts._labels) <= LABELS_KEPT
    assert {hosts.name(row) for row in hosts.rows_with(frozenset({("gpu", "true")}))} == true
