"""The recording seam: every change of the outside world is told before and after, observations are not."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.base import Define, Resume, StartPaused, WriteMark
from drivers.errors import Busy
from drivers.recording import Call, RecordingEndPoint
from tests.drivers.builders import disk_definition, machine, new_uuid
from tests.drivers.simulated_backend import SimulatedBackend


class Killed(BaseException):
    """As a kill: nothing may catch it."""


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[SimulatedBackend]:
    opened = SimulatedBackend(tmp_path / "cloud.db")
    yield opened
    opened.close_opened()
    opened.close()


def test_each_change_is_told_before_and_after(backend: SimulatedBackend) -> None:
    calls: list[Call] = []
    endpoint = RecordingEndPoint(backend.open("sim-1"), "sim-1", calls.append)
    made = machine(backend, endpoint)
    made.apply(Define(made.definition))
    endpoint.list_instances("sim-1")
    made.facts()
    assert calls == [
        Call("Define", "sim-1", made.uuid, done=False),
        Call("Define", "sim-1", made.uuid, done=True),
    ]


def test_storage_is_recorded_too(backend: SimulatedBackend) -> None:
    calls: list[Call] = []
    storage = RecordingEndPoint(backend.open("sim-1"), "sim-1", calls.append).storage
    pool, disk = backend.pool(new_uuid()), disk_definition()
    storage.connect_pool(pool)
    storage.create_disk(pool, disk)
    storage.observe_disk(pool, disk.disk)
    storage.delete_disk(pool, disk.disk, disk.mark.uid)
    assert [(c.name, c.subject) for c in calls if c.done] == [
        ("connect_pool", pool.uuid),
        ("create_disk", disk.disk),
        ("delete_disk", disk.disk),
    ]


def test_a_refused_call_is_not_told_as_done(backend: SimulatedBackend) -> None:
    calls: list[Call] = []
    endpoint = RecordingEndPoint(backend.open("sim-1"), "sim-1", calls.append)
    made = machine(backend, endpoint).start_paused()
    calls.clear()
    with pytest.raises(Busy):
        made.apply(StartPaused())
    assert [c.done for c in calls] == [False]


@pytest.mark.parametrize("point", range(8))
def test_a_kill_at_any_point_leaves_just_what_was_done_before(backend: SimulatedBackend, point: int) -> None:
    calls: list[Call] = []

    def kill(call: Call) -> None:
        calls.append(call)
        if len(calls) == point + 1:
            raise Killed

    made = machine(backend, RecordingEndPoint(backend.open("sim-1"), "sim-1", kill))
    steps = (
        Define(made.definition),
        WriteMark(replace(made.mark, run_count=1, starting=1)),
        StartPaused(),
        Resume(),
    )
    with pytest.raises(Killed):
        for step in steps:
            made.apply(step)
    done = sum(1 for call in calls if call.done)
    there = backend.open("sim-1").observe_instance("sim-1", made.uuid)
    assert (there is not None) == (done > 0)
    if there is not None:
        assert there.power == {1: "Off", 2: "Off", 3: "Paused", 4: "Running"}[done]
