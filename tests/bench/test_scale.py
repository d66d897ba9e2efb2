"""Thousands of instances on 200 simulated hosts: made, found again after a restart, left alone, disturbed, deleted.

One cloud for all of it, in this order. Short unless STRATIFORM_BENCH is `full`; STRATIFORM_BENCH_INSTANCES says another
number. Subject and reference take turns block by block, so that whatever else the machine does meets both.
"""

import asyncio
import os
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from drivers.simulated.faults import Faults
from tests.bench.api import Bare, Watched, seconds_of, spread, watching
from tests.bench.cloud import HOSTS, INSTANCES, LOOKS, REFERENCES, SETTLED, Bench, Reading, Script, create
from tests.bench.results import record

FULL = os.environ.get("STRATIFORM_BENCH") == "full"
INSTANCES_WANTED = int(os.environ.get("STRATIFORM_BENCH_INSTANCES", "10000" if FULL else "1000"))
BLOCK = max(50, INSTANCES_WANTED // 10)
BURST = min(1000, INSTANCES_WANTED)
SHARE = 0.95
"""Of a block is waited for where two hosts are disturbed or will be: the rest may have been sent to them."""
REST = 60.0
"""Seconds; for the ten minutes see tests/bench/test_ten_thousand.py."""
SHARED = "placing shares the one Python thread with the starts of what is placed already"
SCATTER = "blocks of some seconds scatter by a quarter, with all hosts well too; and what a flapping host's guests cost is in it"
ONE_LOOP = (
    "the operator decides in one Python thread beside the API server on the same two cores; see the profiles below"
)
pytestmark = pytest.mark.timeout(7200)


@dataclass
class Story:
    """What later tests go on with."""

    bench: Bench
    sample: dict[str, Any] = field(default_factory=dict)
    made: int = 0
    script: Script | None = None
    empty: int = 0
    """Bytes that the operator takes with the hosts alone."""


@pytest.fixture(scope="module")
def story(bench: Bench) -> Story:
    return Story(bench)


async def test_the_hosts_are_there(story: Story, api: Bare) -> None:
    """And one instance, whose writes are the reference's script."""
    await story.bench.build(api)
    story.bench.operator.start()
    await story.bench.until_hosts_ready(api)
    async with watching(api, INSTANCES) as seen:
        await create(api, ["sample"])
        await seen.until(lambda: seen.ready == 1, 60)
    story.empty = story.bench.read().memory
    story.sample = await api.ask("GET", f"{INSTANCES}/sample")
    story.script = Script(story.sample)


async def test_create_to_ready_against_a_bare_client(story: Story, api: Bare) -> None:
    assert story.script is not None, "the cloud was not made"
    script = story.script
    ours: list[float] = []
    theirs: list[float] = []
    spent = {"operator": 0.0, "apiserver": 0.0, "reference": 0.0}
    writes = events = others = 0
    async with watching(api, INSTANCES) as mine, watching(api, REFERENCES) as bare_ones:
        for block in range(INSTANCES_WANTED // BLOCK):
            cpu, begun, before = _apiserver(story), time.monotonic(), bare_ones.ready
            names = [f"r{block}-{n}" for n in range(BLOCK)]
            await spread([lambda n=n: script.make(api, n) for n in names])  # type: ignore[misc]
            await bare_ones.until(lambda least=before + BLOCK: bare_ones.ready >= least, 600)  # type: ignore[misc]
            theirs.append(time.monotonic() - begun)
            spent["reference"] += _apiserver(story) - cpu
            await asyncio.sleep(1.0)
            found, took = await _burst(story, api, mine, f"s{block}", BLOCK)
            ours.append(took)
            spent["operator"] += found.operator_cpu
            spent["apiserver"] += found.apiserver_cpu
            writes += found.written("Instance")
            events += found.written("Event")
            others += found.written() - found.written("Instance", "Event", "Lease")
            await asyncio.sleep(1.0)
    story.made = len(ours) * BLOCK
    ratio = statistics.median(their / our for our, their in zip(ours, theirs, strict=True))
    rate = story.made / sum(theirs)
    name = f"create to Ready, {story.made} instances on {HOSTS} hosts"
    record(
        # On a machine that other work shares both sides wait for their turn, and this ratio flatters: then the ratio of
        # CPU below tells more (66 % and 94 % were seen within an hour, of nearly the same code).
        f"{name}: rate against the reference", round(ratio * 100), "%", goal=70, limits=ONE_LOOP,
        reference="bare asyncio client, the same writes, instances/s", reference_value=round(rate, 1),
    )  # fmt: skip
    both = spent["operator"] + spent["apiserver"]
    record(
        f"{name}: as the machine's CPU bounds it", round(100 * spent["reference"] / both), "%", goal=70, limits=ONE_LOOP,
        reference="CPU of the API server for the reference by that of API server and operator", reference_value=None,
    )  # fmt: skip
    record(f"{name}: rate", round(story.made / sum(ours), 1), "instances/s")
    record(
        f"{name}: CPU of the operator", round(spent["operator"] / story.made * 1e3, 1), "ms an instance",
        reference="of the API server for the reference", reference_value=round(spent["reference"] / story.made * 1e3, 1),
    )  # fmt: skip
    record(f"{name}: CPU of the API server", round(spent["apiserver"] / story.made * 1e3, 1), "ms an instance")
    record(f"{name}: writes of the instance", round(writes / story.made, 2), "writes", goal=3, at_most=True)
    record(f"{name}: events", round(events / story.made, 2), "writes", goal=2, at_most=True)
    record(f"{name}: writes of parents and hosts", round(others / story.made, 2), "writes an instance")
    print(f"\n{name}: {ratio:.0%} of the reference's {rate:.0f}/s, blocks {ours} against {theirs}, {spent}")
    assert writes <= 3 * story.made


async def test_a_burst_is_placed_at_once(story: Story, api: Bare) -> None:
    assert story.made, "no instances were made"
    async with watching(api, INSTANCES) as seen:
        _, took = await _burst(story, api, seen, "burst", BURST)
    waits = sorted(times.placed - times.seen for times in seen.of("burst-"))
    story.made += BURST
    p95 = waits[len(waits) * 95 // 100]
    record(
        f"burst of {BURST}: placed, 95 % after", round(p95, 2), "s after being seen", goal=2.0, at_most=True,
        limits=SHARED,
    )  # fmt: skip
    print(f"\nburst of {BURST}: placed p50 {waits[len(waits) // 2]:.2f} p95 {p95:.2f} s; all Ready after {took:.1f} s")


async def test_at_rest_nothing_is_done(story: Story, api: Bare) -> None:
    assert story.made, "no instances were made"
    await asyncio.sleep(SETTLED)
    before, begun = story.bench.read(), time.monotonic()
    await asyncio.sleep(REST)
    found, took = story.bench.read().since(before), time.monotonic() - begun
    name = f"at rest, {story.made} instances, {REST:.0f} s"
    leases = found.written("Lease")
    changes = set(found.calls) - LOOKS
    record(f"{name}: writes but leases", found.written() - leases, "writes", goal=0, at_most=True)
    record(
        f"{name}: CPU of the operator", round(100 * found.operator_cpu / took, 1), "% of a core", goal=5, at_most=True,
        limits=f"listings of {HOSTS} hosts every 5 s, which the simulated platform answers in this process",
    )  # fmt: skip
    memory = story.bench.read().memory
    each = (memory - story.empty) / 1e6 / (story.made / 1000)
    record(
        f"{name}: memory of the operator for 1,000 instances more", round(each, 1), "MB", goal=40, at_most=True,
        reference=f"resident with {HOSTS} hosts and no instance, MB", reference_value=round(story.empty / 1e6),
        limits="measured over few instances, the heap that a burst leaves behind counts too",
    )  # fmt: skip
    print(f"\n{name}: {dict(found.writes)}, calls {dict(found.calls)}, cpu {found.operator_cpu:.1f} s in {took:.0f} s")
    assert not changes, changes


async def test_a_restarted_operator_reads_only(story: Story, api: Bare) -> None:
    assert story.made, "no instances were made"
    await asyncio.to_thread(story.bench.operator.stop)
    begun = time.monotonic()
    await asyncio.to_thread(story.bench.operator.start)
    first = last = 0.0
    async with asyncio.timeout(900):
        while not last:
            now = story.bench.read()
            done = now.reconciled["Instance"]
            if done and not first:
                first = time.monotonic() - begun
            if done >= story.made + 1:
                last = time.monotonic() - begun
            await asyncio.sleep(0.2)
    await asyncio.sleep(10.0)
    found = story.bench.read()
    name = f"restart with {story.made} instances"
    record(f"{name}: first reconciled", round(first, 1), "s after the process's start")
    record(f"{name}: last reconciled", round(last, 1), "s after the process's start")
    written = found.written() - found.written("Lease")
    record(f"{name}: writes but leases", written, "writes", goal=0, at_most=True)
    print(f"\n{name}: first {first:.1f} s, last {last:.1f} s, writes {dict(found.writes)}, calls {dict(found.calls)}")
    assert found.written("Instance") == 0, found.writes


async def test_a_frozen_and_a_flapping_host_cost_the_others_nothing(story: Story, api: Bare) -> None:
    """The healthy hosts' create rate, blocks with and without the two faults taking turns."""
    assert story.made, "no instances were made"
    block = min(600, 2 * BLOCK)  # All six of them, and the burst, have room beside the others.
    healthy, disturbed = [], []
    faults = Faults(str(story.bench.state))
    async with watching(api, INSTANCES) as seen:
        for turn in range(3):
            least = seen.ready + block
            healthy.append((await _burst(story, api, seen, f"h{turn}", block, share=SHARE))[1])
            await seen.until(lambda least=least: seen.ready >= least, 900)  # type: ignore[misc]
            faults.freeze("node-000")
            flapping = asyncio.create_task(_flap(faults, "node-001"))
            await asyncio.sleep(20.0)  # The frozen one's guests have been told.
            try:
                # Guests that were sent to the flapping host before it was known to be away wait for it, as they must.
                disturbed.append((await _burst(story, api, seen, f"d{turn}", block, share=SHARE))[1])
            finally:
                flapping.cancel()
                await asyncio.gather(flapping, return_exceptions=True)
                faults.thaw("node-000")
                faults.return_host("node-001")
            await asyncio.sleep(10.0)
    faults.close()
    story.made += 6 * block
    fall = 100 * (statistics.median(disturbed) / statistics.median(healthy) - 1)
    record(
        "one host frozen, one flapping: time of a create on the others", round(max(fall, -99), 1), "% more", goal=5,
        at_most=True, reference=f"{SHARE:.0%} of {block} instances with all hosts well, s", limits=SCATTER,
        reference_value=round(statistics.median(healthy), 2),
    )  # fmt: skip
    print(f"\nall well {healthy}, one frozen and one flapping {disturbed}")


async def test_delete_them_all(story: Story, api: Bare) -> None:
    async with watching(api, INSTANCES) as mine, watching(api, REFERENCES) as theirs:
        names = [o["metadata"]["name"] for o in (await api.ask("GET", INSTANCES))["items"]]
        others = [o["metadata"]["name"] for o in (await api.ask("GET", REFERENCES))["items"]]
        script = story.script
        assert script is not None
        begun = time.monotonic()
        await spread([lambda n=n: script.delete(api, n) for n in others])  # type: ignore[misc]
        await theirs.until(lambda: theirs.gone >= len(others), 900)
        reference = len(others) / (time.monotonic() - begun)
        before, begun = story.bench.read(), time.monotonic()
        await spread([lambda n=n: api.ask("DELETE", f"{INSTANCES}/{n}", {}) for n in names])  # type: ignore[misc]
        await mine.until(lambda: mine.gone >= len(names), 1800)
        rate = len(names) / (time.monotonic() - begun)
    found = story.bench.read().since(before)
    record(
        f"delete {len(names)} instances: rate against the reference", round(100 * rate / reference), "%",
        reference="bare asyncio client, delete and finalizer, instances/s", reference_value=round(reference, 1),
    )  # fmt: skip
    record(
        f"delete {len(names)} instances: writes of the instance", round(found.written("Instance") / len(names), 2),
        "writes",
    )  # fmt: skip
    print(f"\ndeleted {len(names)}: {rate:.0f}/s against {reference:.0f}/s; {dict(found.writes)}, {dict(found.calls)}")


async def test_what_volumes_and_addresses_cost(story: Story, api: Bare) -> None:
    """Each instance makes one volume and is given one address."""
    networks = [{"name": "lan", "networkRef": {"name": "lan"}}]
    volumes = [{"name": "root", "type": "Managed", "managed": {"size": "1Gi"}}]
    async with watching(api, INSTANCES) as seen:
        found, took = await _burst(story, api, seen, "full", BLOCK, networks=networks, volumes=volumes)
    name = f"create to Ready, {BLOCK} instances with a volume and an address"
    for what, kind, goal in (
        ("the instance", "Instance", 4), ("the volume", "Volume", 2), ("the address", "NetworkAddress", 1),
    ):  # fmt: skip
        count = round(found.written(kind) / BLOCK, 2)
        record(f"{name}: writes of {what}", count, "writes", goal=goal, at_most=True)
    most = max(found.written(kind) for kind in ("HostCluster", "HostPod", "Zone", "Region", "StoragePool", "Network"))
    record(
        f"{name}: writes of the parent that was summed up most", round(most / (took / 5.0 + 2), 2),
        "in 5 s", goal=1.0, at_most=True,
    )  # fmt: skip
    print(f"\n{name}: {took:.1f} s, {dict(found.writes)}")


async def _burst(
    story: Story, api: Bare, seen: Watched, prefix: str, count: int, share: float = 1.0, **spec: Any
) -> tuple[Reading, float]:
    """Create so many, wait until (that share of) all are Ready; what it cost and the seconds that it took."""
    before, begun, known = story.bench.read(), time.monotonic(), seen.ready
    await create(api, [f"{prefix}-{n}" for n in range(count)], **spec)
    await seen.until(lambda: seen.ready - known >= count * share, 900)
    took = time.monotonic() - begun
    return story.bench.read().since(before), took


async def _flap(faults: Faults, host: str) -> None:
    while True:
        faults.lose_host(host)
        await asyncio.sleep(5.0)
        faults.return_host(host)
        await asyncio.sleep(5.0)


def _apiserver(story: Story) -> float:
    pid = story.bench.plane.apiserver.pid()
    assert pid is not None
    return seconds_of(pid)
