"""From an Instance object to what placement asks for. Pure look-ups in the cache.

Raises Refused for what is missing.
"""

from typing import Any

from controllers.engine.base import Cache, Obj, Refused
from controllers.logic.inheritance import lineage
from controllers.logic.visibility import came_late, visible
from controllers.placement.core.asks import Ask, Shape, VolumeWant
from controllers.placement.records import terms_of, wishes_of
from crds.instance import InstanceSpec
from crds.instancestatus import InstanceStatus
from crds.template import TemplateSpec

InstanceObj = Obj[InstanceSpec, InstanceStatus]
MI = 2**20


def overhead(cpus: int, memory: int, hypervisor: str = "KVM") -> int:
    """Bytes a guest takes beside its memory, before it was ever measured: QEMU itself, its threads, page tables (the
    shape of KubeVirt's estimate). 0 for a simulated one."""
    return 0 if hypervisor == "Simulated" else 160 * MI + 8 * MI * cpus + memory // 512


def resources(cache: Cache, instance: InstanceObj) -> tuple[int, int]:
    """(CPUs, memory) that the instance asks for. Raises Refused InstanceTypeNotFound."""
    spec = instance.spec
    if spec.resources:
        return spec.resources.cpus, spec.resources.memory
    name = spec.instance_type_ref.name if spec.instance_type_ref else ""
    offer = cache.get("InstanceType", "", name)
    if offer is None or came_late(instance, offer):
        raise Refused("InstanceTypeNotFound", f"spec.instanceTypeRef: InstanceType {name} does not exist.")
    return offer.spec.cpus, offer.spec.memory


def build(cache: Cache, instance: InstanceObj, avoid: frozenset[str]) -> Ask:
    """What placement is asked. Raises Refused with the words of the Ready condition: an object that it names is not
    there."""
    spec, status = instance.spec, instance.status
    cpus, memory = resources(cache, instance)
    offer = cache.get("InstanceType", "", spec.instance_type_ref.name) if spec.instance_type_ref else None
    tags = frozenset(offer.spec.storage_tags) if offer else frozenset[str]()
    placement = spec.placement
    selectors = (offer.spec.host_selector if offer else None, placement.host_selector if placement else None)
    # Both count: a value of the instance's own does not undo what the type asks for.
    selector = frozenset(pair for each in selectors if each for pair in each.match_labels.items())
    wants, bound = _volumes(cache, instance, tags)
    boot, kept = _templates(cache, instance), status.hardware
    extra = status.resources.overhead if status.resources and status.resources.overhead else overhead(cpus, memory)
    shape = Shape(
        namespace=instance.namespace,
        zone=spec.zone_ref.name,
        cpus=cpus,
        memory=memory + extra,
        architecture=(kept.architecture or "x86_64") if kept else boot.architecture if boot else "",
        hypervisor=_hypervisor(cache, status) if kept else "",
        firmware=_firmware(spec, boot, kept),
        machine_type=kept.machine if kept else "",
        ignore_disabled=bool(placement and placement.ignore_allocation_state),
        selector=selector,
        volumes=tuple(wants),
        bound=tuple(sorted(bound.items())),
        networks=tuple(sorted(_networks(cache, instance))),
    )
    last = status.placement.host if status.placement else None
    return Ask(
        uid=instance.uid,
        shape=shape,
        name=instance.name,
        labels=frozenset(instance.labels.items()),
        terms=terms_of(instance),
        wishes=wishes_of(instance),
        pinned=placement.host_ref.name if placement and placement.host_ref else "",
        avoid=avoid,
        prefer=last or (status.host_ref.name if status.host_ref else ""),
    )


def _hypervisor(cache: Cache, status: InstanceStatus) -> str:
    """Of the host where its hardware was chosen, whose devices it has; "" when that host is not there any more."""
    placed = status.placement.host if status.placement else None
    host = cache.get("Host", "", placed) if placed else None
    cluster = lineage(cache, host).cluster if host is not None else None
    return str(cluster.spec.hypervisor) if cluster is not None and not cluster.problem else ""


def _firmware(spec: InstanceSpec, boot: TemplateSpec | None, hardware: Any) -> str:
    if hardware:
        return str(hardware.firmware)
    if spec.firmware:
        return spec.firmware.type
    return boot.guest.firmware if boot and boot.guest and boot.guest.firmware else "BIOS"


def _volumes(cache: Cache, instance: InstanceObj, tags: frozenset[str]) -> tuple[list[VolumeWant], dict[str, str]]:
    """Volumes without a pool, and where the others lie."""
    wants: list[VolumeWant] = []
    bound: dict[str, str] = {}
    for entry in instance.spec.volumes:
        if entry.type == "CDROM":
            continue
        name = entry.volume.volume_ref.name if entry.volume else f"{instance.name}-{entry.name}"
        volume = cache.get("Volume", instance.namespace, name)
        if volume is not None:
            copy = volume.status.disk or volume.status.pending
            ref = volume.spec.storage_pool_ref
            pool = copy.pool if copy else ref.name if ref else ""
            if pool:
                bound[entry.name] = pool
            elif entry.volume:
                raise Refused("VolumeNotReady", f"spec.volumes[{entry.name}]: Volume {name} has no storage pool yet.")
            continue
        if entry.volume:
            raise Refused(
                "VolumeNotFound",
                f"spec.volumes[{entry.name}].volume.volumeRef: Volume {instance.namespace}/{name} does not exist.",
            )
        wants.append(_want(cache, instance, entry, tags))
    return wants, bound


def _want(cache: Cache, instance: InstanceObj, entry: Any, tags: frozenset[str]) -> VolumeWant:
    managed = entry.managed
    vtype = None
    if managed.volume_type_ref:
        vtype = cache.get("VolumeType", "", managed.volume_type_ref.name)
        if vtype is None or came_late(instance, vtype):
            raise Refused(
                "VolumeTypeNotFound",
                f"spec.volumes[{entry.name}].managed.volumeTypeRef: VolumeType {managed.volume_type_ref.name} does not "
                "exist.",
            )
    size, image, image_format = managed.size or 0, "", ""
    if managed.template_ref:
        template = template_of(cache, instance, managed.template_ref, f"spec.volumes[{entry.name}].managed.templateRef")
        size = max(size, template.status.virtual_size or 0, template.spec.minimum_size or 0)
        image, image_format = f"{template.namespace}/{template.name}", template.spec.format or ""
    return VolumeWant(
        entry=entry.name,
        size=size,
        tags=tags | (frozenset(vtype.spec.storage_tags) if vtype else frozenset[str]()),
        pool=managed.storage_pool_ref.name if managed.storage_pool_ref else "",
        provisioning=vtype.spec.provisioning or "" if vtype else "",
        format=image_format,
        template=image,
    )


def template_of(cache: Cache, instance: InstanceObj, ref: Any, field: str) -> Obj[Any, Any]:
    """The Template that `field` names, visible to the instance's namespace. Raises Refused TemplateNotFound."""
    namespace = ref.namespace or instance.namespace
    template = cache.get("Template", namespace, ref.name)
    if template is None or template.deleting or not visible(cache, template, instance.namespace):
        raise Refused(
            "TemplateNotFound",
            f"{field}: Template {namespace}/{ref.name} does not exist or is not visible to namespace "
            f"{instance.namespace}.",
        )
    return template


def _templates(cache: Cache, instance: InstanceObj) -> TemplateSpec | None:
    """Of the disk that boots first, if it is made from one that is still there."""
    boots = sorted(
        (e for e in instance.spec.volumes if e.managed and e.managed.template_ref), key=lambda e: e.boot_order or 99
    )
    for entry in boots:
        ref = entry.managed.template_ref if entry.managed else None
        if ref:
            template = cache.get("Template", ref.namespace or instance.namespace, ref.name)
            return template.spec if template else None
    return None


def _networks(cache: Cache, instance: InstanceObj) -> list[tuple[str, str, int]]:
    """(NIC entry, physical network, VLAN or 0) that a host must reach; nothing for simulated ones."""
    found: list[tuple[str, str, int]] = []
    for nic in instance.spec.networks:
        namespace = nic.network_ref.namespace or instance.namespace
        network = cache.get("Network", namespace, nic.network_ref.name)
        if network is None or came_late(instance, network) or not visible(cache, network, instance.namespace):
            raise Refused(
                "NetworkNotFound",
                f"spec.networks[{nic.name}].networkRef: Network {namespace}/{nic.network_ref.name} does not exist or "
                "is "
                f"not visible to namespace {instance.namespace}.",
            )
        if network.spec.physical:
            found.append((nic.name, network.spec.physical.network, network.spec.physical.vlan or 0))
    return found
