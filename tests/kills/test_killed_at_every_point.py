"""The operator is killed before and after external calls of an instance's life, and started once again: the declared
state comes, nothing is left and nothing is doubled (design.md §1.1).

What the calls are is counted by a recording run, so that a new call has its points by itself. Here a seeded sample;
`make soak` takes every point. One point again: STRATIFORM_KILL_AT="after Define web 1" (several: comma-separated).
"""

import pytest

from tests.kills.killing import kill_at_every
from tests.kills.operators import ThreadOperator, settings
from tests.kills.recording import Recorded, sample, verbs_of_drivers
from tests.kills.world import World

SAMPLE = 32

#: Verbs of drivers that no life of this kind needs, and why.
ELSEWHERE = {
    "Suspend": "only on request, which this version does not take",
    "ForceOff": "only of a guest that ignores its shutdown, or on request",
    "Reset": "only on request",
    "Undefine": "only when a stopped instance starts elsewhere",
    "ChangeMedia": "only of CD-ROM drives",
    "Adopt": "only of machines made before",
    "Release": "only of imported machines",
    "connect_pool": "of the pool, not of an instance",
    "disconnect_pool": "of the pool, not of an instance",
    "resize_disk": "only of a disk that no guest runs on",
}


def test_every_verb_of_drivers_is_recorded_or_known_to_be_needed_elsewhere(recorded: Recorded) -> None:
    assert verbs_of_drivers() - recorded.verbs == set(ELSEWHERE)


def test_every_write_of_the_api_is_recorded(recorded: Recorded) -> None:
    writes = {call for call in recorded.calls if call.split()[0] in ("POST", "PUT", "PATCH", "DELETE")}
    for kind, name in (
        ("instances", "web"),
        ("volumes", "web-root"),
        ("volumes", "data"),
        ("templates", "tiny"),
        ("networks", "lan"),
    ):
        assert {f"PUT {kind}/{name} status", f"PATCH {kind}/{name}"} <= writes
    assert {"POST volumes", "DELETE volumes/web-root", "POST networkaddresses", "DELETE networkaddresses"} <= writes


@pytest.mark.timeout(600)
async def test_killed_between_calls_the_declared_state_comes_and_nothing_is_left(
    world: World, recorded: Recorded
) -> None:
    points = sample(recorded, SAMPLE)
    config = settings(world.api.kubeconfig, world.state)
    await kill_at_every(
        world, lambda plan: ThreadOperator(config, plan), points, chance=recorded.chance, deadline=120.0
    )
