"""The connection of every driver: what it tells of its host, listings, events, and its death."""

import time

import pytest

from drivers.base import EndPoint, Event, EventKind, Hardware, Resume, Undefine
from drivers.errors import Unreachable, Unsupported
from tests.drivers.backend import Backend
from tests.drivers.builders import expecting, machine, new_uuid, until


def test_a_host_tells_what_it_is_and_keeps_its_machine_id(backend: Backend, endpoint: EndPoint, host: str) -> None:
    facts = endpoint.observe_host(host)  # H2
    assert facts.host == host
    assert facts.machine_id
    assert facts.machine_id == backend.open(host).observe_host(host).machine_id
    assert facts.cpus > 0
    assert facts.memory > 0
    assert facts.architecture
    assert facts.machine_types


def test_h2_two_hosts_have_two_machine_ids(backend: Backend, endpoint: EndPoint, host: str) -> None:
    other = backend.open(backend.hosts[1]).observe_host(backend.hosts[1])
    assert other.machine_id != endpoint.observe_host(host).machine_id


def test_an_endpoint_says_what_it_can(backend: Backend, endpoint: EndPoint) -> None:
    capabilities = endpoint.capabilities
    assert backend.uplink[0] in capabilities.uplink_types
    assert capabilities.pool_types
    assert "BIOS" in capabilities.firmware


def test_chosen_hardware_is_explicit_and_chosen_again_is_the_same(endpoint: EndPoint, host: str) -> None:
    chosen = endpoint.choose_hardware(host, Hardware())
    assert chosen.machine
    assert endpoint.choose_hardware(host, chosen) == chosen


def test_unknown_firmware_is_unsupported(endpoint: EndPoint, host: str) -> None:
    with pytest.raises(Unsupported):
        endpoint.choose_hardware(host, Hardware(firmware="OpenFirmware"))


def test_w3_a_listing_is_whole_and_says_when_it_was_read(backend: Backend, endpoint: EndPoint, host: str) -> None:
    before = time.monotonic()
    ours = [machine(backend, endpoint).define() for _ in range(3)]
    foreign = backend.make_unmarked(host, "by-hand")
    between = time.monotonic()
    listing = endpoint.list_instances(host)
    assert before < between <= listing.begun <= listing.ended <= time.monotonic()
    found = {f.uuid: f for f in listing.instances}
    assert {m.uuid for m in ours} | {foreign} <= set(found)
    assert all(f.host == host for f in listing.instances)
    for each in ours:
        assert found[each.uuid] == each.facts()


def test_w3_a_listing_begun_after_a_removal_does_not_show_it(backend: Backend, endpoint: EndPoint, host: str) -> None:
    gone = machine(backend, endpoint).define()
    assert gone.uuid in {f.uuid for f in endpoint.list_instances(host).instances}
    gone.apply(Undefine())
    assert gone.uuid not in {f.uuid for f in endpoint.list_instances(host).instances}


def test_an_absent_instance_is_none(endpoint: EndPoint, host: str) -> None:
    assert endpoint.observe_instance(host, new_uuid()) is None


def test_what_one_connection_makes_another_sees(backend: Backend, endpoint: EndPoint, host: str) -> None:
    made = machine(backend, endpoint).define()
    assert backend.open(host).observe_instance(host, made.uuid) == made.facts()


def test_a_host_does_not_see_the_other_hosts_instances(backend: Backend, endpoint: EndPoint) -> None:
    made = machine(backend, endpoint).define()
    there = backend.hosts[1]
    assert backend.open(there).observe_instance(there, made.uuid) is None


def test_our_own_actions_arrive_as_events(backend: Backend, endpoint: EndPoint, host: str) -> None:
    events: list[Event] = []
    endpoint.subscribe(events.append)
    made = machine(backend, endpoint).define()
    until(lambda: any(e.kind is EventKind.CHANGED and e.uuid == made.uuid and e.host == host for e in events))


def test_another_connections_actions_arrive_as_events(backend: Backend, endpoint: EndPoint, host: str) -> None:
    events: list[Event] = []
    endpoint.subscribe(events.append)
    made = machine(backend, backend.open(host)).define()
    until(lambda: any(e.kind is EventKind.CHANGED and e.uuid == made.uuid for e in events))


def test_w6_a_broken_connection_is_dead_for_good_and_says_so(backend: Backend, endpoint: EndPoint, host: str) -> None:
    events: list[Event] = []
    endpoint.subscribe(events.append)
    made = machine(backend, endpoint).start_paused()
    assert endpoint.alive
    backend.break_connections(host)
    until(lambda: not endpoint.alive)
    until(lambda: [e.kind for e in events if e.kind is EventKind.CLOSED] == [EventKind.CLOSED])
    for call in (
        lambda: endpoint.list_instances(host),
        lambda: endpoint.observe_instance(host, made.uuid),
        lambda: endpoint.apply(host, made.uuid, Resume(), expecting(made.mark)),
    ):
        with pytest.raises(Unreachable):
            call()
    assert not endpoint.alive


def test_w6_after_a_break_a_new_connection_serves_and_the_old_one_stays_dead(
    backend: Backend, endpoint: EndPoint, host: str
) -> None:
    made = machine(backend, endpoint).define()
    backend.break_connections(host)
    until(lambda: not endpoint.alive)
    assert backend.open(host).observe_instance(host, made.uuid) is not None
    with pytest.raises(Unreachable):
        endpoint.list_instances(host)


def test_a_closed_endpoint_raises_unreachable_and_closes_again(endpoint: EndPoint, host: str) -> None:
    endpoint.close()
    endpoint.close()
    assert not endpoint.alive
    with pytest.raises(Unreachable):
        endpoint.list_instances(host)


def test_guest_addresses_without_an_agent_are_none(backend: Backend, endpoint: EndPoint, host: str) -> None:
    made = machine(backend, endpoint).start_paused()
    assert endpoint.guest_addresses(host, made.uuid) == ()
