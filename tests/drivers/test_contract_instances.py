"""Definition and power of an instance on every driver: facts after each action, each action done twice."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from drivers.base import (
    Define,
    Destroy,
    EndPoint,
    ForceOff,
    Power,
    Reset,
    Resume,
    Shutdown,
    StartPaused,
    Suspend,
    Undefine,
    Why,
    WriteMark,
)
from drivers.errors import Busy, Invalid
from tests.drivers.backend import Backend
from tests.drivers.builders import instance_mark, machine

ENDED_HERE = (Why.SHUTDOWN, Why.DESTROYED, Why.CRASHED)


def test_a_defined_instance_is_off_persistent_and_without_autostart(backend: Backend, endpoint: EndPoint) -> None:
    facts = machine(backend, endpoint).define().facts()  # M3
    assert facts.power is Power.OFF
    assert facts.why not in ENDED_HERE, "a run that never was did not end here (W3b)"
    assert facts.persistent
    assert not facts.autostart
    assert (facts.cpus, facts.memory) == (1, backend.memory)


def test_i1_i3_the_platform_knows_it_by_our_uuid_and_title(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint).define()
    assert made.facts().uuid == made.uuid
    assert made.facts().name == made.definition.title


def test_define_twice_changes_nothing(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint).define()
    before = made.facts()
    made.define()
    assert made.facts() == before


def test_define_again_rewrites_what_is_off(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint).define()
    made.apply(Define(replace(made.definition, memory=2 * backend.memory, max_memory=2 * backend.memory)))
    assert made.facts().memory == 2 * backend.memory


def test_define_never_touches_a_running_guest(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint).run()
    made.apply(Define(replace(made.definition, memory=2 * backend.memory, max_memory=2 * backend.memory)))
    assert made.facts().power is Power.RUNNING
    assert made.facts().memory == backend.memory
    made.apply(ForceOff())
    assert made.facts().memory == 2 * backend.memory


def test_m1_a_mark_comes_back_as_it_was_written(backend: Backend, endpoint: EndPoint) -> None:
    mark = replace(
        instance_mark(),
        hardware='{"machine": "a <b> & \'c\'"}',
        run_count=3,
        last_restart="2026-11-23T10:00:00Z",
        last_power_request="2026-11-23T11:00:00Z",
        imported=True,
    )
    facts = machine(backend, endpoint, mark=mark).define().facts()
    assert facts.mark == mark
    assert not facts.unreadable


def test_w6_the_mark_carries_starting_and_loses_it(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint).define()
    made.apply(WriteMark(replace(made.mark, run_count=7, starting=7)))
    assert made.facts().mark == replace(made.mark, run_count=7, starting=7)
    made.apply(StartPaused())
    assert made.facts().mark == replace(made.mark, run_count=7, starting=7)
    made.apply(Resume())
    made.apply(WriteMark(replace(made.mark, run_count=7)))
    assert made.facts().mark == replace(made.mark, run_count=7)
    made.apply(ForceOff())
    assert made.facts().mark == replace(made.mark, run_count=7)


def test_writing_a_mark_is_no_drift(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint).define()
    before = made.facts().digest
    made.apply(WriteMark(replace(made.mark, run_count=9)))
    assert made.facts().digest == before


def test_an_edit_by_hand_changes_the_digest_and_define_brings_it_back(
    backend: Backend, endpoint: EndPoint, host: str
) -> None:
    made = machine(backend, endpoint).define()
    before = made.facts().digest
    backend.edit_memory(host, made.uuid, 2 * backend.memory)
    assert made.facts().digest != before
    made.define()
    assert made.facts().digest == before


def test_w6_a_start_is_paused(backend: Backend, endpoint: EndPoint) -> None:
    facts = machine(backend, endpoint).start_paused().facts()
    assert (facts.power, facts.why) == (Power.PAUSED, Why.STARTED_PAUSED)


def test_w6_a_second_start_is_busy_paused_or_running(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint).start_paused()
    with pytest.raises(Busy):
        made.apply(StartPaused())
    made.apply(Resume())
    with pytest.raises(Busy):
        made.apply(StartPaused())
    assert made.facts().power is Power.RUNNING


def test_w6_of_two_connections_that_start_it_at_once_one_is_busy(
    backend: Backend, endpoint: EndPoint, host: str
) -> None:
    made = machine(backend, endpoint).define()
    rivals = [endpoint, backend.open(host)]

    def start(by: EndPoint) -> bool:
        try:
            by.apply(host, made.uuid, StartPaused(), made.expected)
        except Busy:
            return False
        return True

    with ThreadPoolExecutor() as threads:
        assert sorted(threads.map(start, rivals)) == [False, True]
    assert made.facts().power is Power.PAUSED


def test_resume_runs_it_and_twice_is_fine(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint).start_paused()
    made.apply(Resume())
    made.apply(Resume())
    assert made.facts().power is Power.RUNNING


def test_suspend_pauses_it_and_twice_is_fine(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint).run()
    made.apply(Suspend())
    made.apply(Suspend())
    assert made.facts().power is Power.PAUSED
    assert made.facts().mark == replace(made.mark, run_count=1), "paused without `starting`: an administrator's (W6)"


def test_w3_force_off_ends_the_run_here_and_twice_is_fine(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint).run()
    made.apply(ForceOff())
    made.apply(ForceOff())
    assert made.facts().power is Power.OFF
    assert made.facts().why is Why.DESTROYED


def test_shutdown_returns_at_once_and_off_is_fine(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint).run()
    made.apply(Shutdown())
    made.apply(ForceOff())
    made.apply(Shutdown())
    assert made.facts().power is Power.OFF


def test_reset_keeps_it_running(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint).run()
    made.apply(Reset())
    assert made.facts().power is Power.RUNNING


@pytest.mark.parametrize("action", [Resume(), Suspend(), Reset()], ids=lambda a: type(a).__name__)
def test_what_needs_a_running_guest_is_invalid_on_one_that_is_off(
    backend: Backend, endpoint: EndPoint, action: object
) -> None:
    made = machine(backend, endpoint).define()
    with pytest.raises(Invalid):
        made.apply(action)


@pytest.mark.parametrize("action", [StartPaused(), Resume()], ids=lambda a: type(a).__name__)
def test_an_absent_instance_is_never_made_by_another_action(
    backend: Backend, endpoint: EndPoint, action: object
) -> None:
    made = machine(backend, endpoint)
    with pytest.raises(Invalid):
        made.apply(action)
    assert not made.is_there()


def test_undefine_takes_the_definition_and_twice_is_fine(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint).define()
    made.apply(Undefine())
    assert not made.is_there()
    made.apply(Undefine())


def test_undefine_is_refused_while_it_runs(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint).run()
    with pytest.raises((Busy, Invalid)):
        made.apply(Undefine())
    assert made.facts().power is Power.RUNNING
    assert made.facts().persistent


def test_w4_destroy_ends_and_removes_a_running_copy_and_twice_is_fine(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint).run()
    made.apply(Destroy())
    assert not made.is_there()
    made.apply(Destroy())


def test_it_can_be_defined_and_run_again_after_its_removal(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint).run()
    made.apply(Destroy())
    assert made.run().facts().power is Power.RUNNING


def test_a_title_taken_by_another_is_invalid(backend: Backend, endpoint: EndPoint) -> None:
    first = machine(backend, endpoint).define()
    second = machine(backend, endpoint, title=first.definition.title)
    with pytest.raises(Invalid):
        second.define()
    assert not second.is_there()
    assert first.facts().mark == first.mark
