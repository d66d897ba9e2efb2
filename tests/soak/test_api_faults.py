"""Ten minutes of an API server that misbehaves at random while people go on; ten minutes without one; answers of 5 s;
5,000 instances.

$SOAK_SECONDS shortens the first two (tests/soak/budget.py), STRATIFORM_SOAK_SEED replays one.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from lab.controlplane import ControlPlane
from tests.faults.apiworld import World, fresh_plane, world
from tests.faults.proxy import LIST, WATCH, Action, Answer, CutBody, InStream, LostAnswer, Silence, Slow
from tests.faults.test_api_answers import slow_answers
from tests.faults.test_api_objects import many_instances
from tests.kinds.simcloud import managed
from tests.soak.budget import seconds

SECONDS = seconds(600.0)
WRITES = "POST|PUT|PATCH|DELETE"
FAULTS: list[tuple[Action, dict[str, object]]] = [
    (Answer(429, "TooManyRequests", 1), {}),
    (Answer(500, "InternalError"), {"every": 2}),
    (Answer(503, "ServiceUnavailable"), {"lease": True}),
    (Answer(504, "Timeout"), {"verb": WRITES}),
    (Answer(403, "Forbidden"), {"lease": True}),
    (Answer(409, "Conflict"), {"verb": WRITES, "every": 2, "lease": True}),
    (Answer(410, "Expired"), {"path": "continue="}),
    (InStream(410, "Expired"), {"path": WATCH}),
    (Silence(), {"path": WATCH}),
    (Slow(5.0), {}),
    (CutBody(), {"path": LIST}),
    (LostAnswer(), {"verb": WRITES, "every": 3}),
]


@pytest.fixture(scope="module")
def api(lab_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    plane: ControlPlane = fresh_plane(f"{lab_name}-apisoak")
    folder = tmp_path_factory.mktemp("world")
    with world(plane, folder / "cloud.db", folder, "--page=500") as found:
        yield found
    plane.down()


@pytest.mark.takes(SECONDS + 30)
@pytest.mark.timeout(SECONDS * 2 + 600)
def test_whatever_befalls_it_for_ten_minutes_the_end_is_what_was_declared(api: World) -> None:
    seed = int(os.environ.get("STRATIFORM_SOAK_SEED") or time.time_ns() % 10**6)
    print(f"STRATIFORM_SOAK_SEED={seed}")
    dice = random.Random(seed)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        _befall(api, dice)
        api.traffic()
        if dice.random() < 0.25:
            api.proxy.clear()
            api.settle(120.0)
    api.proxy.clear()
    api.settle(120.0)


@pytest.mark.takes(SECONDS + 30)
@pytest.mark.timeout(SECONDS + 600)
def test_ten_minutes_without_an_api_server_stop_no_guest_and_cost_nothing(api: World) -> None:
    running = {(d.uuid, d.host, d.power) for d in api.faults.domains()}
    api.plane.kill_apiserver()
    until_ = time.monotonic() + SECONDS
    while time.monotonic() < until_:
        time.sleep(min(5.0, SECONDS))
        assert {(d.uuid, d.host, d.power) for d in api.faults.domains()} == running
    api.plane.start_apiserver()
    api.traffic()
    api.settle(120.0)


@pytest.mark.takes(150)
@pytest.mark.timeout(600)
def test_w6_with_answers_of_five_seconds_an_instance_runs_and_the_lease_is_kept(api: World) -> None:
    nic = {"name": "lan", "networkRef": {"name": "lan"}}
    slow_answers(api, 1.0, restart=True, volumes=[managed("root"), managed("data")], networks=[nic])


@pytest.mark.takes(200)
@pytest.mark.timeout(900)
def test_5000_instances_at_start_are_taken_in_and_a_restart_only_reads(api: World) -> None:
    many_instances(api, 5000)


def _befall(api: World, dice: random.Random) -> None:
    seconds = dice.uniform(1.0, 12.0)
    what = dice.randrange(len(FAULTS) + 5)
    if what < len(FAULTS):
        action, rule = FAULTS[what]
        with api.proxy.during(action, **rule):
            if dice.random() < 0.5:
                api.proxy.break_connections()
            api.traffic()
            time.sleep(seconds)
        return
    deeds: list[Callable[[], None]] = [
        lambda: api.plane.outage(seconds), api.pod.kill, lambda: _away(api, seconds), lambda: _still(api, seconds),
        lambda: _stopped(api, seconds),
    ]  # fmt: skip
    deeds[what - len(FAULTS)]()


def _away(api: World, seconds: float) -> None:
    api.proxy.refuse()
    time.sleep(seconds)
    api.proxy.listen()


def _still(api: World, seconds: float) -> None:
    api.proxy.stand_still()
    time.sleep(seconds)
    api.proxy.go_on()


def _stopped(api: World, seconds: float) -> None:
    api.pod.signal(signal.SIGSTOP)
    time.sleep(seconds)
    api.pod.signal(signal.SIGCONT)
