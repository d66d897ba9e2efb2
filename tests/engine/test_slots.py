"""Who gets a free place: those that begin and those that come back from outside, in turns."""

import asyncio

import pytest

from controllers.engine.slots import Slots, outside


async def test_who_begins_does_not_wait_behind_all_who_come_back() -> None:
    slots, order = Slots(1), list[str]()
    back = asyncio.Event()

    async def reconcile(name: str) -> None:
        slot = slots.enter()
        await outside(back.wait())
        order.append(name)
        slot.end()

    tasks = []
    for number in range(10):
        await slots.acquire()
        tasks.append(asyncio.create_task(reconcile(f"back {number}")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await slots.acquire()  # Held here, so that all others have to wait.
    back.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    async def begin() -> None:
        await slots.acquire()
        order.append("begins")
        slots.release()

    begins = asyncio.create_task(begin())
    await asyncio.sleep(0)
    slots.release()
    async with asyncio.timeout(10):
        await asyncio.gather(begins, *tasks)
    assert order.index("begins") <= 1, order
    assert [name for name in order if name != "begins"] == [f"back {number}" for number in range(10)]
    assert slots.free()


@pytest.mark.parametrize("given", [False, True])
async def test_a_place_is_not_lost_when_who_waits_for_it_is_cancelled(given: bool) -> None:
    slots = Slots(1)
    await slots.acquire()
    waits = asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    if given:
        slots.release()
    waits.cancel()
    await asyncio.gather(waits, return_exceptions=True)
    if not given:
        slots.release()
    assert slots.free()
