"""safety.md W3 on real listings of the simulated platform: rounds, signs, clear hosts, calls without an answer."""

import time
import uuid as uuids
from datetime import UTC, datetime

import pytest

from controllers.fleet.base import Link
from drivers.base import Define, Hardware, InstanceDefinition, Resume, StartPaused
from drivers.errors import NotOurs, StorageUnreachable, Unreachable
from drivers.marks import InstanceMark
from tests.engine.harness import until
from tests.fleet.world import GI, Operator, World


class Guest:
    """One instance of namespace team-a with a domain to be."""

    def __init__(self, operator: Operator, uid: str, uuid: str, sequence: int = 1) -> None:
        self.operator, self.uid, self.uuid, self.sequence = operator, uid, uuid, sequence
        self.mark = InstanceMark(
            installation=operator.fleet.services.installation,
            namespace="team-a",
            name="web-1",
            uid=uid,
            uuid=uuid,
            sequence=sequence,
        )

    async def act(self, host: str, action: object) -> object:
        return await self.operator.fleet.act(host, self.uuid, action, uid=self.uid, sequence=self.sequence)  # type: ignore[arg-type]

    async def define(self, host: str) -> None:
        definition = InstanceDefinition(
            title="team-a.web-1",
            mark=self.mark,
            cpus=1,
            memory=GI,
            max_cpus=1,
            max_memory=GI,
            hardware=Hardware(),
            disks=(),
            nics=(),
        )
        await self.act(host, Define(definition))

    def waits_for(self) -> tuple[str, ...]:
        fleet = self.operator.fleet
        return fleet.clearance(self.uuid, fleet.hosts_in_zone("zone-1")).waiting_for

    async def cleared(self, deadline: float = 20.0) -> None:
        """Ask for rounds, as an Instance does, until every host is clear."""
        self.operator.fleet.request_rounds("zone-1")
        await until(lambda: not self.waits_for(), deadline, what="all hosts clear")


async def hosts(world: World, *names: str) -> None:
    await world.parents()
    for name in names:
        await world.host(name)
    for name in names:
        await world.ready("Host", name)


async def placed(world: World, operator: Operator, host: str, sequence: int = 1) -> Guest:
    uuid = str(uuids.uuid4())
    uid = await world.instance("web-1", uuid, host, sequence=sequence)
    await until(lambda: operator.fleet.home(uuid) == host, what="placement seen")
    return Guest(operator, uid, uuid, sequence)


async def test_w3c_two_rounds_on_demand_clear_the_zone_and_wake_those_who_wait(world: World) -> None:
    async with world.operator(listing_interval=30.0) as operator:
        await hosts(world, "node-1", "node-2")
        guest = await placed(world, operator, "node-1")
        assert guest.waits_for() == ("node-1", "node-2")
        operator.placed.seen.clear()
        await guest.cleared(5.0)
        await until(lambda: operator.placed.seen, what="the instance is woken")


async def test_w3c_our_own_start_ends_in_a_sign_and_a_copy_seen_running_is_never_clear(world: World) -> None:
    async with world.operator() as operator:
        await hosts(world, "node-1", "node-2")
        guest = await placed(world, operator, "node-1")
        operator.fleet.note_first_decision(guest.uuid)
        await guest.define("node-1")
        await guest.act("node-1", StartPaused())
        assert operator.fleet.decided_first(guest.uuid), "W3a: our own calls are no signs"
        await guest.act("node-1", Resume())
        assert not operator.fleet.decided_first(guest.uuid), "W3a ends at the resume"
        assert operator.fleet.sightings(guest.uuid)["node-1"].power.value == "Running"
        operator.fleet.request_rounds("zone-1")
        end = time.monotonic() + 2.0
        await until(lambda: time.monotonic() > end or guest.waits_for() == ())
        assert "node-1" in guest.waits_for()


async def test_w3_a_move_by_hand_is_noticed_and_a_sign(world: World) -> None:
    async with world.operator() as operator:
        await hosts(world, "node-1", "node-2")
        guest = await placed(world, operator, "node-1")
        await guest.define("node-1")
        await guest.act("node-1", StartPaused())
        await guest.act("node-1", Resume())
        operator.placed.seen.clear()
        world.faults.move(guest.uuid, "node-1", "node-2")
        await until(lambda: "node-2" in operator.fleet.sightings(guest.uuid), what="seen where it was moved")
        await until(lambda: "node-1" not in operator.fleet.sightings(guest.uuid), what="gone where it was")
        await until(lambda: operator.placed.seen, what="the instance is told")


async def test_w3c_a_dead_host_is_waited_for_until_it_is_declared_out_of_service(world: World) -> None:
    async with world.operator() as operator:
        await hosts(world, "node-1", "node-2")
        guest = await placed(world, operator, "node-1")
        await guest.define("node-1")
        await guest.act("node-1", StartPaused())
        await guest.act("node-1", Resume())
        world.faults.lose_host("node-1", power_loss=True)
        await world.not_ready("Host", "node-1", "Unreachable")
        operator.fleet.request_rounds("zone-1")
        end = time.monotonic() + 4.0
        await until(lambda: time.monotonic() > end)
        assert guest.waits_for() == ("node-1",), "W5: a host that does not answer may still run it"
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        await world.api.patch("Host", "node-1", {"spec": {"outOfService": {"declaredAt": now}}})
        await until(lambda: operator.fleet.out_of_service("node-1"), 30.0, what="declared")
        await guest.cleared()


async def test_w3c_a_host_dead_long_before_does_not_hold_up_an_instance_seen_alive_since(world: World) -> None:
    async with world.operator() as operator:
        await hosts(world, "node-1", "node-2", "node-3")
        world.faults.lose_host("node-3")
        await world.not_ready("Host", "node-3", "Unreachable")
        guest = await placed(world, operator, "node-1")
        await guest.define("node-1")
        await guest.act("node-1", StartPaused())
        reported = datetime.fromisoformat((await world.api.condition("Host", "node-3", "Ready"))["lastTransitionTime"])
        await until(lambda: (datetime.now(UTC) - reported).total_seconds() > 2.5, what="some seconds later")
        await guest.act("node-1", Resume())
        world.faults.stop("node-1", guest.uuid)
        await until(lambda: operator.fleet.sightings(guest.uuid)["node-1"].power.value == "Off", what="seen off")
        await guest.cleared(30.0)


async def test_w6_a_call_without_an_answer_is_not_repeated_and_its_host_is_listed_first(world: World) -> None:
    async with world.operator() as operator:
        await hosts(world, "node-1", "node-2")
        guest = await placed(world, operator, "node-1")
        operator.fleet.note_first_decision(guest.uuid)
        world.faults.lose_answer(1, host="node-1", call="Define")
        with pytest.raises(Unreachable):
            await guest.define("node-1")
        assert "node-1" not in operator.fleet.sightings(guest.uuid)
        await until(lambda: "node-1" in operator.fleet.sightings(guest.uuid), what="seen over a new connection")
        assert operator.fleet.decided_first(guest.uuid), "what our call did is no change by somebody else"
        view = operator.fleet.view("node-1")
        assert view is not None
        assert view.link is Link.UP


async def test_silent_storage_costs_no_host_its_connection(world: World) -> None:
    async with world.operator() as operator:
        await hosts(world, "node-1", "node-2")
        guest = await placed(world, operator, "node-1")
        await guest.define("node-1")
        before = operator.fleet.view("node-1")
        world.faults.fail(1, host="node-1", call="StartPaused", error=StorageUnreachable)
        with pytest.raises(StorageUnreachable):
            await guest.act("node-1", StartPaused())
        await guest.act("node-1", StartPaused())  # Over the same connection: another would be in the making.
        after = operator.fleet.view("node-1")
        assert before is not None
        assert after is not None
        assert (after.link, after.since) == (Link.UP, before.since)


async def test_a_call_to_a_host_that_is_not_connected_says_why(world: World) -> None:
    async with world.operator() as operator:
        await hosts(world, "node-1")
        guest = await placed(world, operator, "node-1")
        world.faults.lose_host("node-1")
        await world.not_ready("Host", "node-1", "Unreachable")
        with pytest.raises(Unreachable, match="Host node-1 is not connected"):
            await guest.define("node-1")
        with pytest.raises(Unreachable, match="there is no such Host"):
            await operator.fleet.observe("node-9", guest.uuid)


async def test_w4_a_call_with_another_sequence_is_refused_and_changes_nothing(world: World) -> None:
    async with world.operator() as operator:
        await hosts(world, "node-1")
        guest = await placed(world, operator, "node-1", sequence=7)
        await guest.define("node-1")
        with pytest.raises(NotOurs):
            await operator.fleet.act("node-1", guest.uuid, StartPaused(), uid=guest.uid, sequence=6)
        assert not operator.fleet.book.unknown("node-1", guest.uuid)
        assert world.faults.running(guest.uuid) == ()


async def test_h1_contacts_are_on_record_in_a_lease_and_not_in_the_status(world: World) -> None:
    async with world.operator() as operator:
        await hosts(world, "node-1")
        first = (await world.status("Host", "node-1"))["lastContact"]
        await operator.fleet.contacts.renew()
        path = "/apis/coordination.k8s.io/v1/namespaces/stratiform-system/leases/host-node-1"
        lease = await world.api.client.get(path, kind="Lease")
        assert datetime.fromisoformat(lease["spec"]["renewTime"]) >= datetime.fromisoformat(first)
        end = time.monotonic() + 2.0
        await until(lambda: time.monotonic() > end)
        assert (await world.status("Host", "node-1"))["lastContact"] == first
