"""What one instance costs the API server and its host: a regression of a count fails here, whatever the machine's speed.

The finer counts (parents, rest, restart) are in tests/counts, which wants the machine for itself.
"""

import asyncio

from tests.counts.counting import Counts, now
from tests.instances.cloud import Cloud, managed, nic

KINDS = ("Instance", "Volume", "NetworkAddress")

SLOW = 2
"""Instance statuses more than placement and Ready: on a slow machine it may say of each volume that it waits for it."""


async def quiet(cloud: Cloud) -> Counts:
    """The counts of now, once nothing of an instance was written for a while. Parents may still be summed up."""
    async with asyncio.timeout(60.0):
        while True:
            before = now()
            await asyncio.sleep(0.7)
            after = now()
            if cloud.engine.queue.idle() and all(after.of(kind) == before.of(kind) for kind in KINDS):
                return after


async def test_w1_a_new_instance_costs_placement_finalizer_and_ready(cloud: Cloud) -> None:
    before = now()
    await cloud.make("counted")
    await cloud.ready(name="counted")
    found = (await quiet(cloud)).since(before)
    costs = {verb: found.writes[verb, "Instance"] for verb in ("POST", "PUT", "PATCH", "DELETE")}
    assert costs == {"POST": 1, "PUT": 2, "PATCH": 1, "DELETE": 0}, "POST is the test's own"
    assert len(await cloud.api.events("counted")) <= 2
    assert [found.calls[call] for call in ("choose_hardware", "Define", "StartPaused", "Resume", "WriteMark")] == [
        1
    ] * 5


async def test_a_life_with_two_volumes_and_an_address_costs_no_more_than_it_did(cloud: Cloud) -> None:
    """Each volume its creation and one status, the address its claim and one status; both the same for their end."""
    before = now()
    await cloud.make(volumes=[managed("root") | {"bootOrder": 1}, managed("data")], networks=[nic()])
    await cloud.ready()
    made = (await quiet(cloud)).since(before)
    assert made.of("Instance") - 1 <= 3 + SLOW, made.writes
    assert made.of("Volume") <= 2 * 2, made.writes
    assert made.of("NetworkAddress") <= 2, made.writes
    assert made.calls["create_disk"] == 2, made.calls
    before = now()
    await cloud.delete()
    await cloud.gone()
    await cloud.gone("web-1-root", "Volume")
    await cloud.gone("web-1-data", "Volume")
    gone = (await quiet(cloud)).since(before)
    assert gone.of("Instance") - 1 <= 2, gone.writes
    assert gone.of("Volume") <= 4 * 2, gone.writes
    assert gone.of("NetworkAddress") <= 4, gone.writes
    assert gone.calls["delete_disk"] == 2, gone.calls
