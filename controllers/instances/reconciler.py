"""The Instance kind: one reconcile, in the order in which safety.md wants it. Called by the engine."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from controllers.engine.base import Again, Key, Obj, Reconciler, Refused, Services, Turn, default_signal
from controllers.fleet.base import Fleet
from controllers.instances import deleting, identify, nics, placing, powering, report, running, shape
from controllers.instances.work import InstanceObj, Memory, Tools, Work
from controllers.placement.base import Scheduler
from crds.instance import InstanceSpec, InstanceStatus
from drivers.errors import DriverError


def _hosts(obj: InstanceObj) -> Iterable[str]:
    placement = obj.status.placement
    names = {placement.host if placement else None, obj.status.host_ref.name if obj.status.host_ref else None}
    return sorted(n for n in names if n)


class InstanceReconciler(Reconciler[InstanceSpec, InstanceStatus]):
    """Keeps of each instance only what may be lost at any moment (`Memory`)."""

    kind = "Instance"
    indexes: Mapping[str, Callable[[Obj[Any, Any]], Iterable[str]]] = {
        "uuid": lambda obj: [identify.uuid_of(obj)],
        "host": _hosts,
        "address": lambda obj: [a for n in obj.status.networks for a in n.addresses],
        "mac": lambda obj: [n.mac_address for n in obj.status.networks if n.mac_address],
        "protected in": lambda obj: [obj.namespace] if not obj.problem and obj.spec.deletion_protection else [],
    }

    def __init__(self, services: Services, fleet: Fleet, scheduler: Scheduler) -> None:
        self._tools = Tools(services, fleet, scheduler)
        self._memory: dict[str, Memory] = {}

    def references(self, obj: InstanceObj) -> Iterable[Key]:
        spec, status = obj.spec, obj.status
        yield Key("Zone", "", spec.zone_ref.name)
        yield Key("Namespace", "", obj.namespace)
        if spec.instance_type_ref:
            yield Key("InstanceType", "", spec.instance_type_ref.name)
        for host in _hosts(obj):
            yield Key("Host", "", host)
        for network in spec.networks:
            yield Key("Network", network.network_ref.namespace or obj.namespace, network.network_ref.name)
        attached = {v.name for v in status.volumes if v.attached}
        for entry in spec.volumes:
            yield from _of_entry(obj, entry, attached)
        for state in status.volumes:
            if state.volume_ref and state.attached:
                yield Key("Volume", obj.namespace, state.volume_ref.name)

    def signal(self, obj: InstanceObj) -> object:
        """What the volumes, addresses and hosts of an instance go by."""
        status = obj.status
        run = status.last_run
        return (
            default_signal(obj),
            status.uuid,
            status.placement and (status.placement.host, status.placement.sequence),
            status.host_ref,
            status.resources,
            run and (run.started_at, run.ended_at),
            tuple((v.name, v.attached) for v in status.volumes),
            tuple((n.name, n.addresses) for n in status.networks),
        )

    def comes_first(self, obj: InstanceObj) -> bool:
        """What has no host, or had one that is out of service."""
        host = obj.status.placement.host if obj.status.placement else None
        return not obj.deleting and (host is None or self._tools.fleet.out_of_service(host) is not None)

    def rank(self, obj: InstanceObj) -> tuple[float, float]:
        """By priority, then by age."""
        placement = obj.spec.placement
        return (-(placement.priority if placement else 0), obj.created_at.timestamp())

    async def reconcile(self, turn: Turn[InstanceSpec, InstanceStatus]) -> Again | None:
        obj = turn.obj
        work = Work(
            turn=turn, tools=self._tools, memory=self._memory.setdefault(obj.uid, Memory()),
            uuid=identify.find_uuid(obj, self._tools.fleet),
        )  # fmt: skip
        try:
            if obj.deleting:
                again = await deleting.delete(work)
                if again is None:
                    self._memory.pop(obj.uid, None)
                return again
            await self._reconcile(work)
        finally:
            self._wake_volumes(obj, work)
        return Again(min(work.wake)) if work.wake else None

    def _wake_volumes(self, before: InstanceObj, work: Work) -> None:
        """A Volume grants and takes back by what this object says: it looks as soon as that is written."""
        was = {v.name: v.attached for v in before.status.volumes}
        for state in work.status.volumes:
            waits = state.message is not None and not state.attached
            if state.volume_ref and (waits or was.get(state.name, False) != state.attached):
                work.turn.wake(Key("Volume", before.namespace, state.volume_ref.name))
        names = {v.name for v in work.status.volumes}
        for old in before.status.volumes:
            if old.volume_ref and old.name not in names:
                work.turn.wake(Key("Volume", before.namespace, old.volume_ref.name))

    async def _reconcile(self, work: Work) -> None:
        try:
            self._check(work)
            work.update(uuid=work.uuid)
            await placing.find(work)
            work.recover()
            report.first_state(work)
            if work.turn.paused:
                powering.decide_aim(work)
                report.observed(work)
                return
            await nics.keep_claims(work)
            step = await running.drive(work)
        except (Refused, DriverError) as error:
            _keep_placement(work, error)
            report.failed(work, error)
            raise
        report.report(work, step)

    def _check(self, work: Work) -> None:
        zone = work.spec.zone_ref.name
        if work.cache.get("Zone", "", zone) is None:
            raise Refused("ZoneNotFound", f"spec.zoneRef: Zone {zone} does not exist.")
        identify.check_holder(work)


def _keep_placement(work: Work, error: Refused | DriverError) -> None:
    """What went wrong does not unsay where it was placed; of one that is not placed, Scheduled always says so."""
    says_so = isinstance(error, Refused) and error.type_ == "Scheduled"
    if placing.placed(work) or not says_so:
        report.scheduled(work)


def _of_entry(obj: InstanceObj, entry: Any, attached: set[str]) -> Iterable[Key]:
    """D4: a template and a type are needed until what is made of them is there; a disc while it is in the drive."""
    if entry.type != "CDROM":
        yield Key("Volume", obj.namespace, shape.volume_name(obj.name, entry))
    if entry.cdrom and entry.cdrom.template_ref:
        ref = entry.cdrom.template_ref
        yield Key("Template", ref.namespace or obj.namespace, ref.name)
    if entry.managed is None or entry.name in attached:
        return
    if ref := entry.managed.template_ref:
        yield Key("Template", ref.namespace or obj.namespace, ref.name)
    if offer := entry.managed.volume_type_ref:
        yield Key("VolumeType", "", offer.name)
