"""The cloud-init seed of a start, written beside the boot disk together with the copy of the instance's mark (M2)."""

from typing import Any

from controllers.engine.base import Refused
from controllers.instances import shape
from controllers.instances.work import Work
from controllers.logic import addresses, cloudinit, records
from controllers.logic.devices import SEED
from controllers.logic.pool import pool_definition
from crds.instancestatus import NetworkState
from drivers.base import DiskAttachment, EndPoint, PoolDefinition
from drivers.marks import InstanceMark


async def write_seed(work: Work, disks: shape.Disks, mark: InstanceMark) -> DiskAttachment | None:
    """None for a machine without a disk of its own: there is nothing to lay a seed beside. Raises Refused,
    DriverError."""
    boot = disks.boot()
    if boot is None or boot.attachment is None or boot.volume is None:
        return None
    pool = pool_of(work, boot.volume)
    seed = cloudinit.seed(await _guest(work))
    disk = boot.attachment.disk

    def write(end: EndPoint) -> str:
        _copy_mark(end, pool, disk, mark)
        return end.storage.write_seed(pool, disk, seed)

    name = await work.call("write_seed", write, changes=True)
    return DiskAttachment(
        name=SEED, slot=0, pool=boot.attachment.pool, disk=name, format="raw", device="cdrom", read_only=True
    )


async def copy_mark(work: Work, disks: shape.Disks, mark: InstanceMark) -> None:
    """M2: a stopped guest's record survives its host."""
    boot = disks.boot()
    if boot is None or boot.attachment is None or boot.volume is None:
        return
    pool, disk = pool_of(work, boot.volume), boot.attachment.disk
    await work.call("write_disk_mark", lambda end: _copy_mark(end, pool, disk, mark), changes=True)


def _copy_mark(end: EndPoint, pool: PoolDefinition, disk: str, mark: InstanceMark) -> None:
    facts = end.storage.observe_disk(pool, disk)
    if facts is None or facts.mark is None:
        return
    wanted = records.with_owner(facts.mark, mark)
    if wanted != facts.mark:
        end.storage.write_disk_mark(pool, disk, wanted)


def pool_of(work: Work, volume: Any) -> PoolDefinition:
    pool = work.cache.get("StoragePool", "", volume.status.disk.pool)
    if pool is None:
        raise Refused("StoragePoolNotFound", f"StoragePool {volume.status.disk.pool} does not exist.")
    definition: PoolDefinition = pool_definition(pool, work.tools.services.installation)
    return definition


async def _guest(work: Work) -> cloudinit.Guest:
    """Raises Refused (UserDataSecretNotFound and the like)."""
    wish = work.spec.cloud_init
    data = b""
    if wish and wish.user_data_secret_ref:
        name = wish.user_data_secret_ref.name
        field = "spec.cloudInit.userDataSecretRef"
        secret = await work.tools.services.api.secret(work.obj.namespace, name)
        if secret is None:
            raise Refused(
                "UserDataNotFound", f"{field}: Secret {work.obj.namespace}/{name} does not exist.", after=15.0
            )
        if "userData" not in secret:
            keys = ", ".join(sorted(secret)) or "none"
            raise Refused(
                "UserDataNotFound", f"{field}: Secret {name} has no key userData (its keys: {keys}).", after=15.0
            )
        data = secret["userData"]
        try:
            data.decode()
        except UnicodeDecodeError:
            raise Refused(
                "UserDataNotText", f"{field}: userData of Secret {name} is not UTF-8 text.", after=60.0
            ) from None
    return cloudinit.Guest(
        uuid=work.uuid,
        hostname=(wish.hostname if wish and wish.hostname else work.obj.name.split(".")[0]),
        keys=wish.ssh_authorized_keys if wish else (),
        user_data=data,
        interfaces=tuple(_interface(work, n) for n in work.status.networks),
    )


def _interface(work: Work, nic: NetworkState) -> cloudinit.Interface:
    namespace = nic.network_namespace or work.obj.namespace
    network = work.cache.get("Network", namespace, nic.network_ref.name) if nic.network_ref else None
    zone = work.cache.get("Zone", "", work.spec.zone_ref.name)
    ipam = network.spec.ipam if network else None
    dns = zone.spec.dns if zone else None
    with_length, gateways = [], []
    for address in nic.addresses:
        subnet = addresses.subnet_of(network.spec, address) if network else None
        if subnet is None:
            continue
        with_length.append(f"{address}/{subnet.cidr.partition('/')[2]}")
        if nic.primary and subnet.gateway:
            gateways.append(subnet.gateway)
    return cloudinit.Interface(
        name=nic.name,
        mac=nic.mac_address or "",
        addresses=tuple(with_length),
        gateways=tuple(gateways),
        servers=(ipam.dns if ipam and ipam.dns else (dns.servers if dns else ())),
        search=dns.search_domains if dns else (),
        primary=nic.primary,
    )
