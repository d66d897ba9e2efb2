"""10,000 instances that are there already: the operator's restart, rest and memory with them, creating and deleting
beside them.

They are laid down, not made (tests/bench/seeded.py), so that each run takes minutes. STRATIFORM_BENCH_SEEDED says another
number, STRATIFORM_BENCH_REST how long it rests. One cloud for all of it, in this order.
"""

import asyncio
import contextlib
import os
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from lab.errors import LabError
from tests.bench.api import MERGE_PATCH, Bare, spread, watching
from tests.bench.cloud import (
    HOSTS,
    INSTANCES,
    LOOKS,
    REFERENCE_GROUP,
    REFERENCES,
    SETTLED,
    Bench,
    Reading,
    Script,
    create,
)
from tests.bench.results import record
from tests.bench.seeded import copies, lay_in_etcd, lay_on_hosts

FULL = os.environ.get("STRATIFORM_BENCH") == "full"
SEEDED = int(os.environ.get("STRATIFORM_BENCH_SEEDED", "10000"))
REST = float(os.environ.get("STRATIFORM_BENCH_REST", "600" if FULL else "60"))
EVENTS = int(os.environ.get("STRATIFORM_BENCH_EVENTS", "100000" if FULL else "10000"))
BLOCKS, BLOCK = 4, 200
pytestmark = pytest.mark.timeout(3600)


@dataclass
class Story:
    """What later tests go on with."""

    bench: Bench
    sample: dict[str, Any] = field(default_factory=dict)
    empty: int = 0
    """Bytes that a fresh operator takes with the hosts alone."""
    laid: int = 0


@pytest.fixture(scope="module")
def story(bench: Bench) -> Story:
    return Story(bench)


async def quiet(bench: Bench, deadline: float = 240.0) -> Reading:
    """Once nothing but Leases was written, and nothing reconciled but now and then, for 6 s."""
    async with asyncio.timeout(deadline):
        before = bench.read()
        while True:
            await asyncio.sleep(6.0)
            now = bench.read()
            found = now.since(before)
            if found.written() == found.written("Lease") and found.reconciled.total() < HOSTS / 4:
                return now
            before = now


async def caught_up(api: Bare, collection: str) -> None:
    """Once the API server's watch cache has all that was laid into etcd past it: until then it answers 504."""
    async with asyncio.timeout(120):
        while not await api.there(f"{collection}?limit=1"):  # noqa: ASYNC110 (what is waited for is in another process)
            await asyncio.sleep(0.5)


async def restarted(bench: Bench, least: int) -> tuple[float, float]:
    """Seconds until the first and until the last Instance of `least` was reconciled."""
    await asyncio.to_thread(bench.operator.stop)
    begun = time.monotonic()
    with contextlib.suppress(LabError):  # It is not ready within a minute: a busy machine.
        await asyncio.to_thread(bench.operator.start)
    first = last = 0.0
    async with asyncio.timeout(400):
        while not last:
            done = bench.read().reconciled["Instance"]
            if done and not first:
                first = time.monotonic() - begun
            if done >= least:
                last = time.monotonic() - begun
            await asyncio.sleep(0.2)
    return first, last


async def test_they_are_laid_down(story: Story, api: Bare) -> None:
    """The hosts and one instance by the operator, the others as copies of it; the operator then sums them up once."""
    bench = story.bench
    await bench.build(api)
    bench.operator.start()
    await bench.until_hosts_ready(api)
    async with watching(api, INSTANCES) as seen:
        await create(api, ["sample"])
        await seen.until(lambda: seen.ready == 1, 90)
    await quiet(bench)
    await restarted(bench, 1)
    story.empty = (await quiet(bench)).memory
    story.sample = await api.ask("GET", f"{INSTANCES}/sample")
    await asyncio.to_thread(bench.operator.stop)
    wanted = copies("laid", SEEDED, [f"node-{n:03}" for n in range(HOSTS)])
    await asyncio.to_thread(lay_on_hosts, bench.state, "sample", wanted)
    etcd = f"http://127.0.0.1:{bench.plane.layout.etcd_port}"
    await lay_in_etcd(etcd, story.sample, wanted)
    await caught_up(api, INSTANCES)
    begun = time.monotonic()
    await restarted(bench, SEEDED + 1)
    found = await quiet(bench)
    story.laid = SEEDED
    print(f"\nlaid down, quiet after {time.monotonic() - begun:.0f} s; {dict(found.writes)}, {dict(found.calls)}")


async def test_a_restarted_operator_reads_only(story: Story) -> None:
    assert story.laid, "there are no instances"
    first, last = await restarted(story.bench, story.laid + 1)
    found = await quiet(story.bench)
    name = f"restart with {story.laid} instances"
    record(f"{name}: first reconciled", round(first, 1), "s after the process's start")
    record(f"{name}: last reconciled", round(last, 1), "s after the process's start")
    written = found.written() - found.written("Lease")
    record(f"{name}: writes but leases", written, "writes", goal=0, at_most=True, limits=str(dict(found.writes)))
    record(
        f"{name}: CPU of the operator until it rests", round(found.operator_cpu / (story.laid / 1000), 2), "s for 1,000"
    )
    print(f"\n{name}: first {first:.1f} s, last {last:.1f} s, writes {dict(found.writes)}, calls {dict(found.calls)}")
    print(f"reconciles {dict(found.reconciled)}, CPU {found.operator_cpu:.0f} s, reads {found.reads}")
    changes = set(found.calls) - {"open", "subscribe", "connect_pool", "list_instances", "list_disks", "observe_host"}
    assert not changes, changes
    assert found.written("Instance") == 0, found.writes


async def test_at_rest_nothing_is_done(story: Story) -> None:
    assert story.laid, "there are no instances"
    await asyncio.sleep(SETTLED)
    before, begun = story.bench.read(), time.monotonic()
    await asyncio.sleep(REST)
    found, took = story.bench.read().since(before), time.monotonic() - begun
    name = f"at rest, {story.laid} instances, {REST:.0f} s"
    record(f"{name}: writes but leases", found.written() - found.written("Lease"), "writes", goal=0, at_most=True)
    record(
        f"{name}: CPU of the operator", round(100 * found.operator_cpu / took, 1), "% of a core", goal=5, at_most=True,
        limits=f"each object is reconciled once in ten minutes, beside the listings of {HOSTS} hosts every 5 s, which the "
        "simulated platform answers in this process",
    )  # fmt: skip
    memory = story.bench.read().memory
    record(
        f"{name}: memory of the operator for 1,000 instances more",
        round((memory - story.empty) / 1e6 / (story.laid / 1000), 1), "MB", goal=40, at_most=True,
        reference=f"resident with {HOSTS} hosts and one instance, MB", reference_value=round(story.empty / 1e6),
    )  # fmt: skip
    print(f"\n{name}: {dict(found.writes)}, {dict(found.calls)}, cpu {found.operator_cpu:.1f} s in {took:.0f} s")
    print(f"memory {memory / 1e6:.0f} MB, empty {story.empty / 1e6:.0f}; reconciles {dict(found.reconciled)}")
    changes = set(found.calls) - LOOKS
    assert not changes, changes


async def test_memory_is_flat_over_many_events(story: Story, api: Bare) -> None:
    """Labels of them are changed, one after the other and again; the first tenth fills what is filled once."""
    assert story.laid, "there are no instances"

    async def touch(number: int) -> None:
        body = {"metadata": {"labels": {"touched": str(number)}}}
        await api.ask("PATCH", f"{INSTANCES}/laid-{number % story.laid}", body, MERGE_PATCH)

    async def touched(numbers: range) -> Reading:
        before = story.bench.read().reconciled["Instance"]
        await spread([lambda n=n: touch(n) for n in numbers])  # type: ignore[misc]
        found = await quiet(story.bench)
        print(f"\n{len(numbers)} events: {found.reconciled['Instance'] - before} reconciles")
        return found

    before = await touched(range(EVENTS // 10))
    after = await touched(range(EVENTS // 10, EVENTS))
    found, name = after.since(before), f"{EVENTS} events with {story.laid} instances"
    record(
        f"{name}: memory of the operator", round(100 * found.memory / before.memory, 1), "% more", goal=5, at_most=True,
        reference="after the first tenth, MB", reference_value=round(before.memory / 1e6),
    )  # fmt: skip
    events = EVENTS - EVENTS // 10
    record(f"{name}: CPU of the operator", round(1e3 * found.operator_cpu / events, 2), "ms an event")
    print(f"memory {before.memory / 1e6:.0f} and then {after.memory / 1e6:.0f} MB; {dict(found.writes)}")


async def test_create_and_delete_beside_them(story: Story, api: Bare) -> None:
    """Block by block with the bare client, which has as many objects of its kind beside its own."""
    assert story.laid, "there are no instances"
    wanted = copies("laid", story.laid, ["node-000"])
    etcd = f"http://127.0.0.1:{story.bench.plane.layout.etcd_port}"
    await lay_in_etcd(etcd, story.sample, wanted, REFERENCE_GROUP)
    await caught_up(api, REFERENCES)
    script = Script(story.sample)
    made: tuple[list[float], list[float]] = [], []
    gone: tuple[list[float], list[float]] = [], []
    async with watching(api, INSTANCES) as mine, watching(api, REFERENCES) as theirs:
        for block in range(BLOCKS):
            names = [f"b{block}-{n}" for n in range(BLOCK)]
            ready, left = theirs.ready + BLOCK, theirs.gone + BLOCK
            begun = time.monotonic()
            await spread([lambda n=n: script.make(api, n) for n in names])  # type: ignore[misc]
            await theirs.until(lambda least=ready: theirs.ready >= least, 300)  # type: ignore[misc]
            made[1].append(time.monotonic() - begun)
            ready, ours = mine.ready + BLOCK, mine.gone + BLOCK
            begun = time.monotonic()
            await create(api, names)
            await mine.until(lambda least=ready: mine.ready >= least, 300)  # type: ignore[misc]
            made[0].append(time.monotonic() - begun)
            begun = time.monotonic()
            await spread([lambda n=n: script.delete(api, n) for n in names])  # type: ignore[misc]
            await theirs.until(lambda least=left: theirs.gone >= least, 300)  # type: ignore[misc]
            gone[1].append(time.monotonic() - begun)
            begun = time.monotonic()
            await spread([lambda n=n: api.ask("DELETE", f"{INSTANCES}/{n}", {}) for n in names])  # type: ignore[misc]
            await mine.until(lambda least=ours: mine.gone >= least, 300)  # type: ignore[misc]
            gone[0].append(time.monotonic() - begun)
    for what, goal, times in (("create to Ready", 70, made), ("delete", None, gone)):
        ratio = statistics.median(their / our for our, their in zip(*times, strict=True))
        record(
            f"{what} beside {story.laid} instances on {HOSTS} hosts: rate against the reference", round(100 * ratio), "%",
            goal=goal, reference="bare asyncio client, the same writes, instances/s",
            reference_value=round(BLOCK / statistics.median(times[1]), 1),
            limits="one Python thread beside the API server on the same two cores",
        )  # fmt: skip
        print(f"\n{what}: {ratio:.0%} of the reference's, {times}")
