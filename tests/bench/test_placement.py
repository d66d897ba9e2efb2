"""How many placements a second the engine decides, explanation included, over hosts and kinds of requests.

Printed and written into docs/benchmarks.json by `make bench`. Counted by the CPU seconds of this process, the best of
five runs, since others use the machine and its caches too; wall-clock figures are printed beside them.
"""

import functools
import time

import pytest

from controllers.placement.core.story import Placed
from controllers.placement.explain import explain
from tests.bench.results import record
from tests.placement import loads

DECISIONS, RUNS, PLAIN = 3000, 5, 300
GOAL, AT = 10_000, 10_000


def rate(hosts: int, kind: str) -> tuple[float, float, int, float]:
    """(decisions per CPU second, per second, placed, hosts judged for one decision); decided, explained and claimed one
    after the other."""
    planner, asks = loads.planner(hosts, kind), loads.shuffled(DECISIONS, kind)
    for shape in {ask.shape for ask in asks}:
        planner.evaluation(shape)
    placed, size = 0, 0
    before = planner.judged
    wall, cpu = time.perf_counter(), time.process_time()
    for ask in asks:
        result = planner.decide(ask)
        size += len(explain(result).summary)
        if isinstance(result, Placed):
            planner.claim(ask.uid, planner.claim_of(ask, result))
            placed += 1
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert size
    return DECISIONS / cpu, DECISIONS / wall, placed, (planner.judged - before) / DECISIONS


@pytest.mark.parametrize("hosts", [100, 1000, 10_000, 50_000])
def test_decisions_a_second(hosts: int) -> None:
    for kind in loads.KINDS:
        by_cpu, by_wall, placed, judged = max(rate(hosts, kind) for _ in range(RUNS))
        print(
            f"\n{hosts:6} hosts, {kind:18} {by_cpu:7.0f}/s of CPU {by_wall:7.0f}/s {placed:5} placed {judged:5.1f} judged",
            end="",
        )
        name = f"placement engine, {kind}, {hosts} hosts"
        goal = GOAL if hosts == AT else None
        reference, beside = (LOOP, round(loop(hosts))) if hosts == AT else ("", None)
        record(name, round(by_cpu, -2), "decisions/CPU s", reference=reference, reference_value=beside, goal=goal)
        what = f"placement engine, {kind}, {hosts} hosts: judged for one decision"
        record(what, round(judged, 1), "hosts", reference="all hosts", reference_value=hosts)


LOOP = "a Python loop over 10,000 hosts, decisions/CPU s"


@functools.cache
def loop(hosts: int) -> float:
    """The plainest thing: of all hosts with room for CPUs and memory the one with the most memory; no other rule, no
    explanation."""
    cpus, memory = [64] * hosts, [256] * hosts
    begun = time.process_time()
    for _ in range(PLAIN):
        best = -1
        for host in range(hosts):
            if cpus[host] >= 2 and memory[host] >= 4 and (best < 0 or memory[host] > memory[best]):
                best = host
        cpus[best] -= 2
        memory[best] -= 4
    return PLAIN / (time.process_time() - begun)


def test_the_first_request_of_a_shape(capsys: pytest.CaptureFixture[str]) -> None:
    """What a shape that nobody asked for yet costs: every host is judged once."""
    for kind in ("plain", "5 pools"):
        planner = loads.planner(10_000, kind)
        (ask, *_) = loads.asks(1, kind)
        begun = time.process_time()
        planner.decide(ask)
        took = time.process_time() - begun
        with capsys.disabled():
            print(f"\nfirst of a shape, {kind}, 10,000 hosts: {took * 1e3:.1f} ms", end="")
        record(f"placement engine, first of a shape, {kind}, 10000 hosts", round(took * 1e3, 1), "ms of CPU")
