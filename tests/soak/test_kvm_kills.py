"""On real hosts: the operator's process is killed with SIGKILL around the calls that make, change, start anew and end a
guest with two disks and a NIC, and started once again: every kind of call of a driver, by a seeded sample of what a
recording run counted. See tests/kills/test_killed_at_every_point.py.
"""

import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.controlplane import ControlPlane
from lab.machines import Machines
from tests.kills.killing import kill_at_every
from tests.kills.operators import ProcessOperator, settings
from tests.kills.recording import Recorded, named_points, record, seed, verb_of, verbs_of_drivers
from tests.kills.seam import Point
from tests.kills.test_killed_at_every_point import ELSEWHERE
from tests.soak.kvm_world import KvmWorld

MORE = 4
"""Points beside one for each verb."""
pytestmark = [pytest.mark.cloud, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def kept() -> list[Recorded]:
    return []


@pytest.fixture
def recorded(kept: list[Recorded], plane: ControlPlane, new_hosts: Machines) -> Recorded:
    """What may be killed, recorded once."""
    if not kept:
        kept.append(record(plane.kubeconfig, lambda api, _: KvmWorld(api, new_hosts)))
    return kept[0]


def points_of(recorded: Recorded) -> tuple[Point, ...]:
    """One of each verb of drivers and some more, by STRATIFORM_SEED (printed), or those that STRATIFORM_KILL_AT names."""
    if named := named_points():
        return named
    number = seed()
    print(f"STRATIFORM_SEED={number}")
    chance = random.Random(number)
    by_verb = [[p for p in recorded.points if verb_of(p) == verb] for verb in sorted(recorded.verbs)]
    chosen = {chance.choice(points) for points in by_verb}
    return (*sorted(chosen), *chance.sample([p for p in recorded.points if p not in chosen], MORE))


@pytest.mark.takes(30)
def test_every_verb_of_drivers_is_recorded_and_has_a_point_or_is_needed_elsewhere(recorded: Recorded) -> None:
    assert verbs_of_drivers() - recorded.verbs == set(ELSEWHERE) - {"ForceOff"}  # Which these guests ask for.
    assert {verb_of(point) for point in points_of(recorded)} - {""} == recorded.verbs


@pytest.mark.takes(150)
async def test_killed_around_the_calls_of_a_real_guest_the_declared_state_comes_and_nothing_is_left(
    recorded: Recorded, kvm: KvmWorld, plane: ControlPlane, tmp_path: Path
) -> None:
    config = settings(plane.operator_kubeconfig, tmp_path / "none.db")
    folders: Iterator[Path] = (tmp_path / f"operator-{number}" for number in itertools.count(1))
    points = points_of(recorded)
    kvm.revive()
    await kill_at_every(
        kvm, lambda plan: ProcessOperator(config, next(folders), plan), points, chance=recorded.chance, deadline=240.0
    )
