"""What probes and Prometheus are told, also when the engine's loop stands still."""

import asyncio
import time
import urllib.error
import urllib.request
from typing import Any

from controllers.engine.health import Health, Pulse
from tests.engine.harness import Cluster, running, until
from tests.engine.recorders import Racks, Widgets, only


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def ask(port: int, path: str) -> tuple[int, str]:
    return await asyncio.to_thread(get, port, path)


async def test_a_running_engine_is_alive_ready_and_measured(cluster: Cluster) -> None:
    async with running(cluster, only(Widgets(), Racks())) as engine:
        assert engine.health is not None
        port = engine.health.port
        await cluster.create("Widget", "one", {}, namespace="team-a")
        await cluster.until_condition("Widget", "one", "Ready", "True", namespace="team-a")
        assert await ask(port, "/livez") == (200, "ok\n")
        assert await ask(port, "/readyz") == (200, "ok\n")
        assert (await ask(port, "/secrets"))[0] == 404

        async def counted() -> bool:
            return 'stratiform_objects{kind="Widget"} 1.0' in (await ask(port, "/metrics"))[1]

        await until(counted)
        _, text = await ask(port, "/metrics")
        assert 'stratiform_reconciles_total{kind="Widget",result="OK"}' in text
        assert "stratiform_leader 1.0" in text
        assert "one" not in {line.split('"')[1] for line in text.splitlines() if '"' in line}


async def test_a_loop_that_stands_still_is_seen_from_outside() -> None:
    pulse = Pulse(wedged_after=0.2)
    health = Health(pulse, "127.0.0.1", 0)
    health.start()
    try:
        pulse.beat(0.0, True)
        assert await ask(health.port, "/livez") == (200, "ok\n")
        blocked: dict[str, Any] = {}

        def probe() -> None:
            time.sleep(0.5)
            blocked["answer"] = get(health.port, "/livez")

        probing = asyncio.get_running_loop().run_in_executor(None, probe)
        time.sleep(0.9)  # noqa: ASYNC251  The loop is held on purpose.
        await probing
        assert blocked["answer"][0] == 503
        assert "has not run for" in blocked["answer"][1]
    finally:
        await asyncio.to_thread(health.stop)


def test_an_object_that_nobody_takes_although_workers_are_free_is_a_wedge() -> None:
    pulse = Pulse(wedged_after=10.0)
    pulse.beat(11.0, free_workers=False)
    assert pulse.wedged() == ""
    pulse.beat(11.0, free_workers=True)
    assert "workers are free" in pulse.wedged()
