"""Random sequences of everything that happens to a cloud, with what must hold after each step and at rest.

Hypothesis makes the sequences and prints the one that failed as a program, which replays it as it stands.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from drivers.base import Power
from drivers.errors import Busy, Unreachable
from drivers.marks import DiskMark, DiskState
from drivers.simulated.faults import Faults
from tests.drivers.images import ImageServer
from tests.model.invariants import Invariants
from tests.model.manifests import declared, entries_of, nics_of, resources, root
from tests.model.world import HOSTS, TEAM, World

NAMES = st.sampled_from(("a", "a", "b", "c"))
VOLUMES = st.sampled_from(("v1", "v2"))
HOST = st.sampled_from(HOSTS)
STRATEGIES = st.sampled_from(("Always", "Always", "Halted", "Manual", "RerunOnFailure", "Once"))
ACTIONS = st.sampled_from(("Start", "Stop", "ForceStop", "Restart", "Reset"))
SIZES = st.sampled_from(((1, "512Mi"), (1, "1Gi"), (2, "2Gi"), (3, "4Gi")))
ENTRIES = st.sets(st.sampled_from(("data", "v1", "v2")), max_size=2)
NICS = st.sampled_from((0, 1, 1, 2))
SECONDS = st.sampled_from((0.01, 0.05, 0.3, 1.0, 5.0, 20.0))
CALLS = st.sampled_from((
    "Define", "WriteMark", "StartPaused", "Resume", "Shutdown", "ForceOff", "Undefine", "Destroy", "AttachDisk",
    "DetachDisk", "AttachNic", "DetachNic", "create_disk", "clone_disk", "delete_disk", "write_disk_mark", "write_seed",
    "resize_disk", "list_instances", "observe_instance", "list_disks", "observe_host", "open", "connect_pool",
))  # fmt: skip
HEALED = 1500.0
"""Seconds in which everything is as declared, once nothing is broken: the longest back-off of restarts is 300."""


class CloudMachine(RuleBasedStateMachine):
    """One world an example; the class counts what was gone through."""

    images: ImageServer
    examples = steps = lives = 0
    hours = 0.0

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.world: World | None = None

    @initialize(seed=st.integers(0, 3), settled=st.sampled_from((0.0, 0.1, 0.3, 5.0)))
    def begin(self, seed: int, settled: float) -> None:
        """A cloud with an instance, made a moment or a while ago."""
        self.world = World(Path(self._folder.name), self.images, seed)
        self._time = self.world.clock.rules()
        self._time.__enter__()
        self.world.begin()
        self.checks = Invariants(self.world)
        faults = self.world.faults
        faults.make_unmarked("node-1", "legacy", running=True)
        faults.make_unmarked("node-2", "template", running=False)
        faults.write_disk_mark(self.world.pool, "somebodys.qcow2", "")
        foreign = DiskMark(
            installation="another", kind="Volume", namespace=TEAM, name="v1", uid="u", uuid="u", n=1, state=DiskState.READY
        )  # fmt: skip
        faults.write_disk_mark(self.world.pool, "theirs-1", foreign)
        self.checks.note_strangers()
        self.make_volume("v1")
        self.make("a", "Always", (1, "1Gi"), {"v1"}, 1, 0)
        self.here.run(settled)

    @property
    def here(self) -> World:
        assert self.world is not None
        return self.world

    # ------------------------------------------------------------ people

    @rule(name=NAMES, strategy=STRATEGIES, size=SIZES, entries=ENTRIES, nics=NICS, grace=st.sampled_from((0, 10)))
    def make(self, name: str, strategy: str, size: tuple[int, str], entries: set[str], nics: int, grace: int) -> None:
        self.here.make(name, declared(strategy, size, entries, nics, grace))

    @rule(name=NAMES, strategy=STRATEGIES)
    def set_strategy(self, name: str, strategy: str) -> None:
        self.here.edit(name, runStrategy=strategy)

    @rule(name=NAMES, size=SIZES)
    def set_size(self, name: str, size: tuple[int, str]) -> None:
        self.here.edit(name, resources=resources(size))

    @rule(name=NAMES, entries=ENTRIES, size=st.sampled_from(("1Gi", "2Gi")))
    def set_volumes(self, name: str, entries: set[str], size: str) -> None:
        obj = self.here.instance(name)
        if obj is not None:
            before = next((v["managed"]["size"] for v in obj["spec"]["volumes"] if v["name"] == "root"), "1Gi")
            self.here.edit(name, volumes=[root(max(before, size)), *entries_of(entries)])

    @rule(name=NAMES, nics=NICS)
    def set_nics(self, name: str, nics: int) -> None:
        self.here.edit(name, networks=nics_of(nics))

    @rule(name=NAMES, action=ACTIONS)
    def request_power(self, name: str, action: str) -> None:
        self.here.edit(name, power={"action": action, "requestedAt": self.here.moment()})

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        self.here.delete("Instance", name)

    @rule(name=NAMES, strategy=STRATEGIES)
    def delete_and_make_again(self, name: str, strategy: str) -> None:
        """Under the same name, as soon as that is free."""
        world = self.here
        world.delete("Instance", name)
        for _ in range(100):
            if world.instance(name) is None:
                break
            world.run(0.2)
        world.make(name, declared(strategy))

    @rule(kind=st.sampled_from(("Instance", "Volume")), name=NAMES)
    def take_finalizer_away(self, kind: str, name: str) -> None:
        self.here.tear(kind, name if kind == "Instance" else f"{name}-root")

    @rule(kind=st.sampled_from(("Instance", "Volume")), name=NAMES)
    def wipe_status(self, kind: str, name: str) -> None:
        self.here.wipe(kind, name if kind == "Instance" else f"{name}-root")

    @rule(name=NAMES, paused=st.booleans())
    def pause(self, name: str, paused: bool) -> None:
        self.here.annotate("Instance", name, "paused", "true" if paused else None)

    @rule(name=VOLUMES)
    def make_volume(self, name: str) -> None:
        if self.here.store.get("Volume", name, TEAM) is None:
            self.here.store.create("Volume", name, {"zoneRef": {"name": "zone-1"}, "size": "1Gi"}, TEAM)

    @rule(name=VOLUMES)
    def make_clone(self, name: str) -> None:
        self.here.make_clone(name)

    @rule()
    def template_is_deleted(self) -> None:
        self.here.delete("Template", "tiny")

    @rule()
    def template_is_made_again(self) -> None:
        self.here.make_template()

    @rule(name=VOLUMES)
    def grow_volume(self, name: str) -> None:
        if self.here.store.get("Volume", name, TEAM) is not None:
            self.here.store.patch("Volume", name, {"spec": {"size": "2Gi"}}, TEAM)

    @rule(name=VOLUMES)
    def delete_volume(self, name: str) -> None:
        self.here.delete("Volume", name)

    @rule()
    def do_what_conditions_ask_for(self) -> None:
        self.here.tidy()

    # ------------------------------------------------------------ guests and administrators

    @rule(name=NAMES)
    def guest_powers_off(self, name: str) -> None:
        self.here.with_domain(name, lambda d: self.here.faults.power_off_guest(d.host, d.uuid), Power.RUNNING)

    @rule(name=NAMES)
    def guest_crashes(self, name: str) -> None:
        self.here.with_domain(name, lambda d: self.here.faults.crash_guest(d.host, d.uuid), Power.RUNNING)

    @rule(deaf=st.booleans(), holds=st.booleans())
    def guests_behave(self, deaf: bool, holds: bool) -> None:
        self.here.faults.guest(shutdown=None if deaf else 0.0, unplug=not holds)

    @rule(name=NAMES)
    def administrator_stops(self, name: str) -> None:
        self.here.with_domain(name, lambda d: self.here.faults.stop(d.host, d.uuid), Power.RUNNING)

    @rule(name=NAMES)
    def administrator_suspends(self, name: str) -> None:
        self.here.with_domain(name, lambda d: self.here.faults.suspend(d.host, d.uuid), Power.RUNNING)

    @rule(name=NAMES)
    def administrator_undefines(self, name: str) -> None:
        self.here.with_domain(name, lambda d: self.here.faults.remove(d.host, d.uuid))

    @rule(name=NAMES)
    def administrator_edits(self, name: str) -> None:
        self.here.with_domain(name, lambda d: self.here.faults.edit(d.host, d.uuid, cpus=d.shape.cpus + 1))

    @rule(name=NAMES, host=HOST)
    def administrator_moves(self, name: str, host: str) -> None:
        self.here.move(name, host)

    @rule(name=NAMES, host=HOST)
    def administrator_doubles(self, name: str, host: str) -> None:
        self.here.double(name, host)

    # ------------------------------------------------------------ hosts and storage

    @rule(host=HOST, power=st.booleans())
    def host_is_lost(self, host: str, power: bool) -> None:
        self.here.lose_host(host, power_loss=power)

    @rule(host=HOST)
    def host_returns(self, host: str) -> None:
        self.here.return_host(host)

    @rule(host=HOST)
    def host_is_declared_off(self, host: str) -> None:
        self.here.declare_off(host)

    @rule(host=HOST, seconds=SECONDS)
    def host_dies_and_is_declared_off(self, host: str, seconds: float) -> None:
        """For good, or until it returns with what it had."""
        self.here.lose_host(host, power_loss=True)
        self.here.run(seconds)
        self.here.declare_off(host)

    @rule(host=HOST, on=st.booleans())
    def host_in_maintenance(self, host: str, on: bool) -> None:
        self.here.store.patch("Host", host, {"spec": {"maintenance": on}})

    @rule(host=HOST)
    def host_reboots(self, host: str) -> None:
        self.here.reboot(host)

    @rule(host=HOST, frozen=st.booleans())
    def host_freezes(self, host: str, frozen: bool) -> None:
        (self.here.freeze if frozen else self.here.thaw)(host)

    @rule(host=HOST)
    def connection_breaks(self, host: str) -> None:
        self.here.faults.cut_connections(host)

    @rule(down=st.booleans())
    def storage(self, down: bool) -> None:
        self.here.faults.storage_down(self.here.pool, down)

    @rule(name=NAMES)
    def disk_is_lost(self, name: str) -> None:
        status = (self.here.store.get("Volume", f"{name}-root", TEAM) or {}).get("status") or {}
        if "disk" in status:
            disk = f"{status['uuid']}-{status['disk']['n']}"
            self.here.lost_disks.add(disk)
            self.here.faults.lose_disk(self.here.pool, disk)

    # ------------------------------------------------------------ drivers, API server, operator

    @rule(call=CALLS, count=st.integers(1, 3), busy=st.booleans())
    def calls_fail(self, call: str, count: int, busy: bool) -> None:
        self.here.faults.fail(count, call=call, error=Busy if busy else Unreachable)

    @rule(call=CALLS, how=st.sampled_from((Faults.lose_answer, Faults.break_midway, Faults.lie)))
    def call_goes_wrong(self, call: str, how: Callable[..., int]) -> None:
        how(self.here.faults, 1, call=call)

    @rule(host=HOST, call=CALLS)
    def call_hangs(self, host: str, call: str) -> None:
        self.here.hang(host, call)

    @rule()
    def hanging_calls_go_on(self) -> None:
        self.here.release()

    @rule(seconds=SECONDS)
    def api_server_is_away(self, seconds: float) -> None:
        self.here.api_fails()
        self.here.run(seconds)
        self.here.api_returns()

    @rule()
    def api_server_goes_away(self) -> None:
        self.here.api_fails()

    @rule()
    def api_server_returns(self) -> None:
        self.here.api_returns()

    @rule(count=st.integers(1, 2))
    def answers_are_lost(self, count: int) -> None:
        self.here.network.lost_answers = count

    @rule()
    def watch_goes_deaf(self) -> None:
        self.here.network.deaf = True

    @rule(seconds=SECONDS)
    def operator_is_killed_and_started(self, seconds: float) -> None:
        self.here.kill()
        self.here.run(seconds)
        self.here.start()

    @rule(calls=st.integers(1, 8), after=st.booleans(), seconds=st.sampled_from((0.5, 5.0)))
    def operator_dies_at_a_call_and_is_started(self, calls: int, after: bool, seconds: float) -> None:
        if self.here.life is not None:
            self.here.life.die_at(calls, after=after)
            self.here.run(seconds)
        self.here.start()

    @rule(calls=st.integers(1, 12), after=st.booleans())
    def operator_dies_at_a_later_call(self, calls: int, after: bool) -> None:
        if self.here.life is not None:
            self.here.life.die_at(calls, after=after)

    @rule()
    def operator_ends(self) -> None:
        self.here.stop()

    @rule()
    def operator_starts(self) -> None:
        self.here.start()

    # ------------------------------------------------------------ time

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.here.run(seconds)

    @rule()
    def a_moment_passes(self) -> None:
        self.here.run(0.5)

    @rule()
    def comes_to_rest(self) -> None:
        """Whatever is broken; an operator that is not killed in the middle."""
        world = self.here
        world.api_returns()
        world.start()
        assert world.life is not None
        world.life.die_at(-1, after=False)
        world.rest()
        self.checks.at_rest(healed=False)

    @rule()
    def everything_is_repaired(self) -> None:
        self.all_as_declared()

    @invariant()
    @precondition(lambda self: self.world is not None)
    def holds_always(self) -> None:
        type(self).steps += 1
        self.here.run(0.02)
        self.checks.always()

    # ------------------------------------------------------------ the end

    def all_as_declared(self) -> None:
        world = self.here
        world.heal()
        assert world.life is not None
        world.life.die_at(-1, after=False)
        end = world.clock.passed + HEALED
        while True:
            world.rest(healed=True)
            self.checks.always()
            world.tidy()
            world.rest(healed=True)
            self.checks.always()
            if not (left := self.checks.unsettled()):
                break
            assert world.clock.passed < end, f"not as declared within {HEALED:g} s: {left}{world.story()}"
            world.run(30.0)
        self.checks.at_rest(healed=True)

    def teardown(self) -> None:
        try:
            if self.world is not None:
                self._end()
        finally:
            if self.world is not None:
                counted = type(self)
                counted.examples += 1
                counted.lives += self.world.lives
                counted.hours += self.world.clock.passed / 3600
                self.world.end()
                self._time.__exit__(None, None, None)
            self._folder.cleanup()

    def _end(self) -> None:
        """Of a sequence that broke nothing: all is repaired and as declared; then everything is deleted and nothing is left."""
        self.all_as_declared()
        world = self.here
        for kind in ("Instance", "Volume"):
            for obj in world.store.all(kind):
                world.delete(kind, obj["metadata"]["name"])
        for _ in range(3):
            world.rest(healed=True)
            self.checks.always()
            world.tidy()
            world.remove_orphans()
        world.delete("Template", "tiny")
        world.rest(healed=True)
        self.checks.nothing_left()
