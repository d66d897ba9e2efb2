"""One listing of a pool at a time, and whom it serves."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from drivers.kvm.mounts import Mounts
from tests.drivers.builders import until


class SlowPool:
    """libvirt's, of which a listing ends when it is told to."""

    def __init__(self) -> None:
        self.begun = self.asked = 0
        self.go = threading.Semaphore(0)
        self.error: Exception | None = None

    def UUIDString(self) -> str:
        self.asked += 1
        return "p"

    def refresh(self, _flags: int) -> None:
        self.begun += 1
        self.go.acquire()
        if self.error is not None:
            raise self.error


def test_whoever_asks_during_a_listing_shares_the_next_one() -> None:
    pool, mounts = SlowPool(), Mounts("node-1")
    with ThreadPoolExecutor(8) as callers:
        first = callers.submit(mounts.refresh, pool)
        until(lambda: pool.begun == 1)
        others = [callers.submit(mounts.refresh, pool) for _ in range(6)]
        until(lambda: pool.asked == 7)
        pool.go.release()
        first.result(5)
        until(lambda: pool.begun == 2)
        assert not any(other.done() for other in others), "what was listed before they asked is not enough for them"
        pool.go.release(2)
        for other in others:
            other.result(5)
    assert pool.begun <= 3, "six shared one listing, or two if one of them was slow to ask"


def test_a_listing_that_fails_fails_for_all_who_share_it_and_for_nobody_else() -> None:
    pool, mounts = SlowPool(), Mounts("node-1")
    with ThreadPoolExecutor(8) as callers:
        first = callers.submit(mounts.refresh, pool)
        until(lambda: pool.begun == 1)
        others: list[Future[None]] = [callers.submit(mounts.refresh, pool) for _ in range(3)]
        until(lambda: pool.asked == 4)
        pool.go.release()
        first.result(5)
        until(lambda: pool.begun == 2)
        pool.error = OSError("stale")
        pool.go.release(2)
        for other in others:
            with pytest.raises(OSError, match="stale"):
                other.result(5)
        pool.error = None
        pool.go.release()
        mounts.refresh(pool)
