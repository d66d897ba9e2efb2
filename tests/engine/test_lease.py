"""W6: who leads, that nothing is changed when that is not sure, and what becomes of a process that lost it."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controllers.__main__ import LOST
from controllers.engine.base import NotLeader
from controllers.engine.engine import LeaseLost
from controllers.engine.lease import Lease, now
from tests.engine.harness import FAST, Cluster, running, until
from tests.engine.proxy import Wire
from tests.engine.recorders import Widgets, only

PATH = "/apis/coordination.k8s.io/v1/namespaces/stratiform-system/leases/stratiform"
ROOT = Path(__file__).parent.parent.parent


class Operator:
    """An operator in a process of its own that beats into a file while it may."""

    def __init__(self, kubeconfig: Path, beats: Path) -> None:
        self.beats = beats
        self.log = beats.with_suffix(".log")
        settings = ["--kubeconfig", str(kubeconfig), "--lease-duration", "3", "--lease-renew", "0.3"]
        settings += ["--lease-margin", "0.8", "--health-port", "-1", "--request-timeout", "5"]
        command = [sys.executable, "-m", "tests.engine.leader", str(beats), *settings]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stderr=log, stdout=log)

    def last_beat(self) -> float:
        beats = self.beats.read_text().split() if self.beats.exists() else []
        return float(beats[-1]) if beats else 0.0

    def beats_now(self) -> bool:
        return time.time() - self.last_beat() < 0.5

    async def ended(self, deadline: float = 10.0) -> int:
        await until(lambda: self.process.poll() is not None, deadline, what="the process ends")
        return self.process.returncode


@pytest.fixture
def operator(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[[str, Path], Operator]]:
    started: list[Operator] = []

    def start(name: str, kubeconfig: Path = cluster.kubeconfig) -> Operator:
        started.append(Operator(kubeconfig, tmp_path / name))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.fixture(autouse=True)
async def work(cluster: Cluster) -> AsyncIterator[None]:
    """Something to do."""
    await cluster.create("Widget", "one", {}, namespace="team-a")
    yield


async def test_w6_a_process_stopped_past_its_lease_never_runs_another_instruction(
    operator: Callable[..., Operator],
) -> None:
    first = operator("first")
    await until(first.beats_now, 20.0)
    os.kill(first.process.pid, signal.SIGSTOP)
    stopped = first.last_beat()
    second = operator("second")
    await until(second.beats_now, 20.0, what="the second takes over")
    assert time.time() - stopped > 2.0, "not before the first one's Lease had ended"
    os.kill(first.process.pid, signal.SIGCONT)
    assert await first.ended() == -signal.SIGALRM
    assert first.last_beat() == stopped
    assert second.beats_now()


async def test_w6_changes_stop_before_the_lease_ends_and_then_the_process_does(
    cluster: Cluster, operator: Callable[..., Operator], tmp_path: Path
) -> None:
    async with Wire(cluster.kubeconfig, tmp_path) as wire:
        first = operator("first", wire.kubeconfig)
        await until(first.beats_now, 20.0)
        cut = time.time()
        await wire.cut()
        assert await first.ended() == LOST
    # Renewed at most 0.3 s and a request before the cut; it ends 3 s after that, changes 0.8 s earlier.
    assert first.last_beat() < cut + 3.0 - 0.8 + 0.2


async def test_an_operator_that_is_asked_to_end_gives_the_lease_back(
    cluster: Cluster, operator: Callable[..., Operator]
) -> None:
    first = operator("first")
    await until(first.beats_now, 20.0)
    first.process.terminate()
    assert await first.ended() == 0
    lease = await cluster.client.get(PATH, kind="Lease")
    assert lease["spec"].get("holderIdentity", "") == ""
    second = operator("second")
    await until(second.beats_now, 20.0)
    assert int((await cluster.client.get(PATH, kind="Lease"))["spec"]["leaseTransitions"]) == 2


async def test_it_is_given_back_although_another_hand_was_in_it(cluster: Cluster) -> None:
    """Such as our own last renewal, which went through while it was cancelled."""
    lease = Lease(cluster.client, FAST)
    await lease.acquire()
    await cluster.client.patch(PATH, {"metadata": {"labels": {"seen": "true"}}}, kind="Lease")
    await lease.release()
    assert not (await cluster.client.get(PATH, kind="Lease"))["spec"].get("holderIdentity")


async def test_a_lease_taken_by_another_hand_ends_us(cluster: Cluster) -> None:
    with pytest.raises(LeaseLost):
        async with running(cluster, only(Widgets())) as engine:
            await cluster.client.patch(PATH, {"spec": {"holderIdentity": "somebody"}}, kind="Lease")
            await until(lambda: not engine.lease.holds(), 2.5)
            with pytest.raises(NotLeader):
                await engine.api.create("Widget", "team-a", {"metadata": {"name": "two"}, "spec": {}})
            with pytest.raises(NotLeader):
                await engine.lanes.run("l", lambda: None, changes=True, backend="test", name="act")


async def test_another_hand_that_leaves_us_the_holder_does_not(cluster: Cluster) -> None:
    async with running(cluster, only(Widgets())) as engine:
        await cluster.client.patch(PATH, {"metadata": {"labels": {"seen": "true"}}}, kind="Lease")
        version = (await cluster.client.get(PATH, kind="Lease"))["metadata"]["resourceVersion"]

        async def renewed() -> bool:
            return bool((await cluster.client.get(PATH, kind="Lease"))["metadata"]["resourceVersion"] != version)

        await until(renewed)
        assert engine.lease.holds()


class _SlowAtFirst(Lease):
    """The server looks at the Lease a second after it was asked, the first time."""

    answered = 0.0

    async def _read(self) -> dict[str, Any] | None:
        if not self.answered:
            await asyncio.sleep(1.0)
        found = await super()._read()
        self.answered = self.answered or now()
        return found


async def test_w6_a_lease_is_waited_out_from_when_it_was_seen_and_not_from_when_it_was_asked_for(
    cluster: Cluster,
) -> None:
    """Its holder may have renewed it just before the server looked."""
    holder = Lease(cluster.client, FAST)
    await holder.acquire()
    other = _SlowAtFirst(cluster.client, FAST)
    await other.acquire()
    assert now() >= other.answered + FAST.lease_duration
    await other.release()


async def test_two_engines_never_lead_together(cluster: Cluster) -> None:
    async with running(cluster, only(Widgets())) as first:
        second = asyncio.create_task(_leads(cluster))
        done, _ = await asyncio.wait([second], timeout=1.0)
        assert not done
        assert first.lease.holds()
    assert await asyncio.wait_for(second, 10.0) > first.lease.term


async def _leads(cluster: Cluster) -> int:
    async with running(cluster, only(Widgets())) as engine:
        return engine.lease.term
