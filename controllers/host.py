"""The Host kind: connected, identified, inventoried and watched; Ready only when it may be relied on. Called by the
engine; the connection itself lives in `controllers.fleet`.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from controllers.deletion import LOOK_AGAIN, held_by_referrers, release_when_unreferenced
from controllers.engine.base import Again, Key, Obj, Reconciler, Refused, Services, Turn, default_signal
from controllers.fleet.base import HostView, Link
from controllers.fleet.connections import BACKENDS, HYPERVISORS, address_of, connection_for, end_point_of, secret_hint
from controllers.fleet.fleet import LiveFleet
from controllers.fleet.session import HostPlan
from controllers.logic.capacity import host_capacity, summarise, taken
from controllers.logic.cpu import narrows
from controllers.logic.host import (
    Declaration,
    advice_for_hung_call,
    advice_for_maintenance,
    judge_declaration,
    sort_out,
    stale_copies,
    tell_unreached,
)
from controllers.logic.inheritance import lineage, placed_on, zone_of
from controllers.logic.rollup import EVERY, ancestors
from crds.base import ACCEPT_MACHINE, format_time
from crds.host import HostCPU, HostSpec, HostStatus
from crds.hostcluster import HostClusterSpec, HostClusterStatus
from drivers.base import Destroy, HostFacts
from drivers.errors import DriverError

HostObj = Obj[HostSpec, HostStatus]
ClusterObj = Obj[HostClusterSpec, HostClusterStatus]
DOWN_AGAIN, REFUSED_AGAIN, HUNG_AGAIN = 30.0, 10.0, 2.0
"""Seconds until the Secrets of a host that does not connect, or that says no to them, are read again, and until it is
looked whether a call that hangs came back: nothing tells."""
NEVER = frozenset({"EndpointTaken", "ConnectionMismatch", "Unsupported"})
"""Reasons for which a host is not connected, even if it was."""


def _machine(obj: HostObj) -> Iterable[str]:
    if obj.status.machine_id:
        yield obj.status.machine_id


def _end_point(obj: HostObj) -> Iterable[str]:
    end_point = end_point_of(obj.spec)
    if end_point:
        yield end_point


class HostReconciler(Reconciler[HostSpec, HostStatus]):
    kind = "Host"
    roll_up = True
    indexes: Mapping[str, Callable[[HostObj], Iterable[str]]] = {"machine": _machine, "endpoint": _end_point}

    def __init__(self, services: Services, fleet: LiveFleet) -> None:
        self._services = services
        self._cache = services.cache
        self._fleet = fleet

    def references(self, obj: HostObj) -> Iterable[Key]:
        yield Key("HostCluster", "", obj.spec.host_cluster_ref.name)

    def signal(self, obj: HostObj) -> object:
        """What placement, pools and stopped instances care about; amounts used or given out are summed up by a wake of
        their own."""
        capacity = obj.status.capacity
        amounts = [a.allocatable for a in (capacity.cpus, capacity.memory) if a] if capacity else []
        deleting = (obj.condition("Deleting") or {}).get("reason")
        return (default_signal(obj), tuple(amounts), obj.status.unreachable_since is None, deleting)

    async def reconcile(self, turn: Turn[HostSpec, HostStatus]) -> Again | None:
        obj = turn.obj
        if not obj.deleting:
            await turn.ensure_finalizer()
        elif not held_by_referrers(turn, self._services, ready=False):
            self._wake_ancestors(turn)
            return await release_when_unreferenced(turn, self._services, self._disconnect(obj))
        try:
            return await self._keep(turn)
        finally:
            before = obj.status
            if (before.capacity, before.instances) != (turn.status.capacity, turn.status.instances):
                self._wake_ancestors(turn)

    # ------------------------------------------------------------ steps

    def _go_on_without(self, turn: Turn[HostSpec, HostStatus], refused: Refused) -> HostView:
        """The object cannot be connected as it stands. A connection that works is kept while a Secret or the cluster is
        missing; raises `refused` where there is none, or where it must not be."""
        name = turn.obj.name
        view = self._fleet.view(name)
        if view is not None and view.link is Link.UP and refused.reason not in NEVER:
            turn.conditions.set("Synced", "False", refused.reason, refused.message)
            return view
        self._fleet.refuse(name, refused.reason, refused.message)
        turn.status = self._composed(turn.obj, self._fleet.view(name), None)
        raise refused

    async def _keep(self, turn: Turn[HostSpec, HostStatus]) -> Again | None:
        obj = turn.obj
        declaration = await self._declaration(turn)
        cluster: ClusterObj | None = None
        try:
            cluster = self._check(obj)
            view = await self._connect(turn)
        except Refused as refused:
            view = self._go_on_without(turn, refused)
        view = await self._accept_machine(turn, view, declaration)
        obj = turn.obj
        turn.status = self._composed(obj, view, cluster)
        if obj.spec.maintenance:
            turn.conditions.set("Maintenance", "True", *advice_for_maintenance(turn.status.instances or 0))
        if view.link is not Link.UP or view.facts is None:
            self._note_unreachable(turn, view, declaration)
            again = REFUSED_AGAIN if view.link is Link.REFUSED else DOWN_AGAIN
            return Again(LOOK_AGAIN if obj.deleting else again)
        if cluster is not None:
            self._check_machine(cluster, view.facts)
            if cluster.status.cpu is None:
                turn.wake(cluster.key)  # First starts wait for the baseline: not with the next roll-up.
        if self._changes_hang(turn):
            return Again(HUNG_AGAIN)
        if not obj.is_true("Ready"):
            await self._clean(turn, view)
        turn.conditions.set("Ready", "True", "Connected", self._connected(view))
        return Again(LOOK_AGAIN) if obj.deleting else None

    async def _declaration(self, turn: Turn[HostSpec, HostStatus]) -> Declaration:
        """H1: judge spec.outOfService by all contacts on record, and say what came of it."""
        obj = turn.obj
        asked = obj.spec.out_of_service
        if asked is None:
            self._fleet.declare(obj.name, None)
            return Declaration()
        known = [obj.status.last_contact, await self._fleet.contacts.last(obj.name)]
        last = max((moment for moment in known if moment is not None), default=None)
        was = turn.conditions.was("OutOfServiceVoid") or {}
        text = format_time(asked.declared_at)
        was_ahead = was.get("reason") == "DeclaredAhead" and text in was.get("message", "")
        found = judge_declaration(asked.declared_at, last, self._services.now(), was_ahead=was_ahead)
        self._fleet.declare(obj.name, found.valid)
        await self._fleet.contacts.settle(obj.name)
        if (found.valid is None) == turn.obj.is_true("OutOfService"):
            self._wake_local_volumes(obj.name)
        if found.valid and self._fleet.out_of_service(obj.name) is None:
            found = judge_declaration(asked.declared_at, asked.declared_at, self._services.now())
        if found.valid:
            turn.conditions.set("OutOfService", "True", found.reason, found.message)
        else:
            turn.conditions.set("OutOfServiceVoid", "True", found.reason, found.message)
        return found

    def _check(self, obj: HostObj) -> ClusterObj:
        """What makes no sense whatever the host answers."""
        name = obj.spec.host_cluster_ref.name
        cluster: ClusterObj | None = self._cache.get("HostCluster", "", name)
        if cluster is None:
            raise Refused("HostClusterNotFound", f"spec.hostClusterRef: HostCluster {name} does not exist.")
        if cluster.problem:
            raise Refused("HostClusterUnreadable", f"spec.hostClusterRef: {cluster.key}: {cluster.problem}")
        type_ = obj.spec.connection.type
        if HYPERVISORS[type_] != cluster.spec.hypervisor:
            raise Refused(
                "ConnectionMismatch",
                f"spec.connection.type: {type_} connects to {HYPERVISORS[type_]} hosts, but {cluster.key} is "
                f"of hypervisor {cluster.spec.hypervisor}. Put the host into a cluster of its own hypervisor.",
            )
        self._check_alone(obj)
        return cluster

    def _check_alone(self, obj: HostObj) -> None:
        """Of several Hosts with one end-point the oldest has it."""
        twins = self._twins(obj)
        first = min([*twins, obj], key=lambda o: (o.created_at, o.status.machine_id is None, o.name))
        if first is obj:
            for twin in twins:
                if (twin.condition("Ready") or {}).get("reason") != "EndpointTaken":
                    self._services.enqueue(twin.key)
        else:
            raise Refused(
                "EndpointTaken",
                f"spec.connection: {address_of(obj.spec)} of {obj.key} is the end-point of {first.key} "
                f"({address_of(first.spec)}), which is older. Delete one of the two, or give one another address.",
                after=3.0 if first.deleting else DOWN_AGAIN,
            )

    def _twins(self, obj: HostObj) -> list[HostObj]:
        """Other Hosts with the same end-point."""
        found = [o for end_point in _end_point(obj) for o in self._cache.indexed("endpoint", end_point)]
        return [o for o in found if o.key.kind == "Host" and o.uid != obj.uid]

    async def _connect(self, turn: Turn[HostSpec, HostStatus]) -> HostView:
        obj = turn.obj
        connection = await connection_for(obj, self._services, self._fleet.simulated_state)
        plan = HostPlan(
            uid=obj.uid,
            created_at=obj.created_at,
            connection=connection,
            backend=BACKENDS[obj.spec.connection.type],
            address=address_of(obj.spec),
            zone=zone_of(self._cache, obj),
            pinned=turn.status.machine_id,
        )
        return self._fleet.ensure(obj.name, plan)

    async def _accept_machine(
        self, turn: Turn[HostSpec, HostStatus], view: HostView, declaration: Declaration
    ) -> HostView:
        """H2: take the replacement's UUID for the host's, where the administrator names it and the old one is off."""
        wanted = turn.obj.annotations.get(ACCEPT_MACHINE)
        if view.link is not Link.STRANGER or not wanted or view.stranger != wanted:
            return view
        if declaration.valid is None:
            raise Refused(
                "HostIdentityChanged",
                f"{view.error} The annotation alone is not enough: spec.outOfService must say when the old machine was "
                f"off. {declaration.message}".strip(),
            )
        turn.status = turn.status.model_copy(update={"machine_id": wanted})
        await turn.save()
        turn.event("MachineAccepted", f"Machine {wanted} is this host from now on.")
        return await self._connect(turn)

    def _check_machine(self, cluster: ClusterObj, facts: HostFacts) -> None:
        """Whether the machine is one of the cluster's."""
        if facts.architecture != cluster.spec.architecture:
            raise Refused(
                "ArchitectureMismatch",
                f"the host's architecture is {facts.architecture}, {cluster.key} is of {cluster.spec.architecture} "
                "(spec.architecture). Put the host into a cluster of its own architecture.",
            )
        if facts.hypervisor != cluster.spec.hypervisor:
            raise Refused(
                "HypervisorMismatch",
                f"the host runs {facts.hypervisor}, {cluster.key} has hypervisor {cluster.spec.hypervisor}.",
            )
        cpu = cluster.status.cpu
        if cluster.spec.cpu.mode == "Baseline" and cpu is not None and cpu.mode == "Baseline":
            why = narrows(facts.cpu, cpu.model, cpu.vendor, cpu.features)
            if why:
                raise Refused(
                    "CPUBelowBaseline",
                    f"{why}, so it would narrow the baseline of {cluster.key} (status.cpu), and guests could not move "
                    f"there. Put it into another cluster, or annotate {cluster.key} stratiform.dev/recompute-cpu with "
                    "any new value: guests get the narrower CPU at their next cold start.",
                )

    def _changes_hang(self, turn: Turn[HostSpec, HostStatus]) -> bool:
        """It answers, but nothing may be changed there before a call that was given up comes back: said so, if so."""
        late = [hung for hung in self._fleet.hung(turn.obj.name) if hung.change]
        if late:
            turn.conditions.set("Ready", "False", "CallHangs", advice_for_hung_call(late[0].call, late[0].since))
        return bool(late)

    async def _clean(self, turn: Turn[HostSpec, HostStatus], view: HostView) -> None:
        """H1: before a host that comes back is Ready, our domains that were placed elsewhere meanwhile go."""
        instances = view.instances or {}
        by_uid = {f.mark.uid: o for f in instances.values() if f.mark and (o := self._cache.by_uid(f.mark.uid))}
        elsewhere = {uuid: self._fleet.sightings(uuid) for uuid in instances}
        stale = stale_copies(turn.obj.name, instances, self._services.installations, by_uid, elsewhere)
        waiting = [copy for copy in stale if copy.waits]
        for copy in stale:
            if not copy.waits:
                await self._destroy(turn, copy.uuid, copy.uid, copy.sequence, copy.instance)
        if waiting:
            raise Refused(
                "StaleCopyRuns",
                f"{', '.join(sorted(c.instance for c in waiting)[:5])} runs here although it was placed elsewhere, "
                "and is not seen there yet: its copy here is removed as soon as it is.",
                after=5.0,
            )

    async def _destroy(self, turn: Turn[HostSpec, HostStatus], uuid: str, uid: str, sequence: int, who: str) -> None:
        try:
            await self._fleet.act(turn.obj.name, uuid, Destroy(), uid=uid, sequence=sequence)
        except DriverError as error:
            raise Refused(
                "StaleCopies",
                f"the copy of {who} that belongs elsewhere by now could not be removed: {error}",
                after=5.0,
            ) from error
        turn.event(
            "StaleCopyRemoved", f"Removed the copy of {who}, which was placed elsewhere while the host was away."
        )

    # ------------------------------------------------------------ words and figures

    def _composed(self, obj: HostObj, view: HostView | None, cluster: ClusterObj | None) -> HostStatus:
        """The whole status but conditions; what an unreachable host showed last is kept."""
        given = taken(placed_on(self._cache, obj.name))
        changes: dict[str, object] = {
            "state": _state(obj, view),
            "instances": given.instances,
            "running": given.running,
            "unreachable_since": None,
        }
        if view is not None:
            changes["last_contact"] = _contact(obj.status, view)
            if view.link not in (Link.UP, Link.CONNECTING) and (obj.status.machine_id or view.facts):
                changes["unreachable_since"] = obj.status.unreachable_since or view.since
        if view is not None and view.facts is not None and view.link in (Link.UP, Link.DOWN):
            facts = view.facts
            changes |= inventory(facts, obj.status.machine_id)
            above = cluster or lineage(self._cache, obj).cluster
            if above is not None:
                busy = self._fleet.busy_cpus(obj.name)
                capacity = host_capacity(
                    facts, obj.spec, above.spec.overcommit, above.spec.limits, given, busy_cpus=busy or 0.0
                ).shown(obj.status.capacity if busy is None else None)
                changes |= {"capacity": capacity, "summary": summarise(capacity)}
        if view is not None and view.instances is not None:
            found = sort_out(view.instances, self._services.installations, self._cache)
            changes |= {"orphans": found.orphans, "orphan_count": found.orphan_count, "foreign": found.foreign}
            changes |= {"orphan_cpus": found.orphan_cpus, "orphan_memory": found.orphan_memory}
        return obj.status.model_copy(update=changes)

    def _note_unreachable(self, turn: Turn[HostSpec, HostStatus], view: HostView, declaration: Declaration) -> None:
        since = turn.status.unreachable_since
        if view.link is Link.CONNECTING:
            if not turn.obj.is_true("Ready"):  # A new leader says nothing else before it has tried.
                turn.conditions.set(
                    "Ready", "False", "Connecting", f"Connecting to {address_of(turn.obj.spec) or 'it'}."
                )
        elif declaration.valid is not None:
            turn.conditions.set("Ready", "False", "OutOfService", declaration.message)
        else:
            text = f"{view.error}{secret_hint(view.reason, turn.obj.spec, self._services.namespace)}"
            if view.link is not Link.STRANGER:
                silent = view.link is Link.DOWN
                text = tell_unreached(text, since, turn.status.instances or 0, declaration, silent=silent)
            turn.conditions.set("Ready", "False", view.reason or "Unreachable", text)

    def _connected(self, view: HostView) -> str:
        facts = view.facts
        return f"{facts.hypervisor} {facts.version} on {facts.hostname}." if facts else ""

    def _disconnect(self, obj: HostObj) -> Callable[[], Awaitable[Again | None]]:
        async def undo() -> Again | None:
            self._fleet.forget(obj.name)
            for twin in self._twins(obj):
                self._services.enqueue(twin.key, after=1.0)
            return None

        return undo

    def _wake_local_volumes(self, host: str) -> None:
        """H1: what lies on pools that are local to the host is lost, or is there again."""
        for pool in self._cache.all("StoragePool"):
            ref = None if pool.problem else pool.spec.scope.host_ref
            for volume in self._cache.referrers(pool.key, "Volume") if ref and ref.name == host else ():
                self._services.enqueue(volume.key, after=0.5)

    def _wake_ancestors(self, turn: Turn[HostSpec, HostStatus]) -> None:
        for key in ancestors(self._cache, turn.obj):
            turn.wake(key, after=EVERY)


def _state(obj: HostObj, view: HostView | None) -> str:
    if view is None:
        return "Pending"
    if view.link is Link.UP and obj.spec.maintenance:
        return "Maintenance"
    if view.link is Link.CONNECTING and obj.is_true("Ready"):
        return obj.status.state or "Connecting"
    return view.link.value


def _contact(status: HostStatus, view: HostView) -> object:
    """H1's coarse record: when the host comes or goes; it never goes back. While it answers, its Lease says when."""
    old, new = status.last_contact, view.last_contact
    if old is None or new is None:
        return old or new
    came_or_went = view.link is not Link.UP or status.unreachable_since is not None
    return max(old, new) if came_or_went else old


def inventory(facts: HostFacts, pinned: str | None) -> dict[str, object]:
    """All that placement asks of the machine itself: what-if reads it back from a dump."""
    return {
        "machine_id": pinned or facts.machine_id,
        "host_name": facts.hostname,
        "hypervisor": facts.hypervisor,
        "hypervisor_version": facts.version,
        "cpu": HostCPU(
            model=facts.cpu.model or "unknown",
            vendor=facts.cpu.vendor or None,
            architecture=facts.architecture,
            features=tuple(sorted(set(facts.cpu.features)))[:512],
            models=tuple(sorted(set(facts.cpu_models)))[:256],
            most_guest_cpus=facts.max_instance_cpus or None,
        ),
        "machines": tuple(sorted(set(facts.machine_types)))[:64],
        "firmwares": tuple(sorted(set(facts.firmware)))[:8],
    }
