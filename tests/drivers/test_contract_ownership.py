"""Nothing not ours is touched (safety.md N1, W4), on every driver: each refusal leaves the thing as it was."""

from dataclasses import replace

import pytest

from drivers.base import (
    Action,
    Adopt,
    Define,
    Destroy,
    EndPoint,
    Expected,
    ForceOff,
    Power,
    Release,
    Reset,
    Resume,
    Shutdown,
    StartPaused,
    Suspend,
    Undefine,
    WriteMark,
)
from drivers.errors import NotOurs
from tests.drivers.backend import Backend
from tests.drivers.builders import OURS, THEIRS, Machine, expecting, instance_mark, machine, new_uuid

POWER: tuple[Action, ...] = (
    StartPaused(), Resume(), Suspend(), Shutdown(), ForceOff(), Reset(), Undefine(), Destroy(),
)  # fmt: skip


def refused(made: Machine, action: Action, expected: Expected) -> None:
    before = made.facts()
    with pytest.raises(NotOurs):
        made.apply(action, expected)
    assert made.facts() == before


def every_action(made: Machine) -> tuple[Action, ...]:
    """But Release, which is done already where there is no mark."""
    return (*POWER, WriteMark(made.mark), Define(made.definition))


def test_n1_an_unmarked_instance_is_never_touched(backend: Backend, endpoint: EndPoint, host: str) -> None:
    uuid = backend.make_unmarked(host, "by-hand")
    made = machine(backend, endpoint, mark=replace(instance_mark(), uuid=uuid))
    assert made.facts().mark is None
    for action in every_action(made):
        refused(made, action, made.expected)


def test_n1_another_installations_instance_is_never_touched(backend: Backend, endpoint: EndPoint) -> None:
    theirs = machine(backend, endpoint, mark=instance_mark(installation=THEIRS)).define()
    ours = replace(theirs, mark=replace(theirs.mark, installation=OURS))
    for action in every_action(theirs):
        refused(theirs, action, expecting(ours.mark))


def test_n1_an_installation_that_was_taken_over_counts_as_ours(backend: Backend, endpoint: EndPoint) -> None:
    theirs = machine(backend, endpoint, mark=instance_mark(installation=THEIRS)).define()
    both = Expected(installations=(OURS, THEIRS), uid=theirs.mark.uid, sequence=theirs.mark.sequence)
    theirs.apply(Undefine(), both)
    assert not theirs.is_there()


def test_n2_an_instance_of_another_uid_is_never_touched(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint).define()
    stranger = replace(made.mark, uid=new_uuid())
    for action in (*POWER, WriteMark(stranger), Define(replace(made.definition, mark=stranger))):
        refused(made, action, expecting(stranger))


def test_m2_an_unreadable_mark_is_reported_and_held(backend: Backend, endpoint: EndPoint, host: str) -> None:
    made = machine(backend, endpoint).define()
    backend.damage_mark(host, made.uuid)
    assert made.facts().unreadable
    assert made.facts().mark is None
    for action in every_action(made):
        refused(made, action, made.expected)


def test_w4_a_call_with_a_stale_sequence_is_refused(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint, mark=instance_mark(sequence=9)).run()
    for action in POWER:
        refused(made, action, replace(made.expected, sequence=8))


def test_w4_destroy_takes_only_the_copy_of_just_its_sequence(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint, mark=instance_mark(sequence=9)).run()
    refused(made, Destroy(), replace(made.expected, sequence=8))
    refused(made, Destroy(), replace(made.expected, sequence=10))
    made.apply(Destroy())
    assert not made.is_there()


def test_w4_a_definition_of_a_lower_sequence_is_refused(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint, mark=instance_mark(sequence=9)).define()
    older = replace(made.mark, sequence=8)
    refused(made, Define(replace(made.definition, mark=older)), expecting(older))


def test_w1_a_definition_of_a_higher_sequence_takes_over(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint, mark=instance_mark(sequence=9)).define()
    newer = replace(made.mark, sequence=10)
    made.apply(Define(replace(made.definition, mark=newer)), expecting(newer))
    assert made.facts().mark == newer


def test_n3_adopting_an_unmarked_instance_writes_our_mark(backend: Backend, endpoint: EndPoint, host: str) -> None:
    uuid = backend.make_unmarked(host, "by-hand")
    mark = replace(instance_mark(), uuid=uuid, imported=True)
    made = machine(backend, endpoint, mark=mark)
    made.apply(Adopt(mark))
    made.apply(Adopt(mark))
    assert made.facts().mark == mark
    assert made.facts().name == "by-hand"
    assert made.facts().power is Power.OFF


def test_n3_a_released_instance_keeps_running_and_is_nobodys(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint).run()
    made.apply(Release())
    assert (made.facts().mark, made.facts().unreadable) == (None, False)
    assert made.facts().power is Power.RUNNING
    made.apply(Release())
    refused(made, ForceOff(), made.expected)


def test_n3_what_is_not_ours_is_not_released(backend: Backend, endpoint: EndPoint) -> None:
    theirs = machine(backend, endpoint, mark=instance_mark(installation=THEIRS)).define()
    refused(theirs, Release(), expecting(replace(theirs.mark, installation=OURS)))
    refused(theirs, Release(), replace(theirs.expected, uid=new_uuid()))


def test_n3_releasing_what_is_gone_is_fine(backend: Backend, endpoint: EndPoint) -> None:
    machine(backend, endpoint).apply(Release())


def test_n2_adopting_an_orphan_replaces_the_mark_of_the_named_uid(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint).define()
    heir = replace(made.mark, uid=new_uuid(), sequence=made.mark.sequence + 1)
    refused(made, Adopt(heir), expecting(heir))
    refused(made, Adopt(heir, previous_uid=new_uuid()), expecting(heir))
    made.apply(Adopt(heir, previous_uid=made.mark.uid), expecting(heir))
    assert made.facts().mark == heir


def test_n1_another_installations_instance_is_not_adopted(backend: Backend, endpoint: EndPoint) -> None:
    theirs = machine(backend, endpoint, mark=instance_mark(installation=THEIRS)).define()
    heir = replace(theirs.mark, installation=OURS, uid=new_uuid())
    refused(theirs, Adopt(heir, previous_uid=theirs.mark.uid), expecting(heir))
