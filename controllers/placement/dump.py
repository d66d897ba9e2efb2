"""A whole API at one moment, from files or live, as the engine's tables. Reads, and writes nothing.

Called by `python -m controllers.placement`. Hosts are taken as their status shows them; nothing is asked of them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from controllers.config import Settings
from controllers.engine.base import Obj
from controllers.engine.cache import ObjectCache
from controllers.engine.client import Client, path_of
from controllers.engine.credentials import CredentialSource
from controllers.engine.parsing import key_of
from controllers.placement import records
from controllers.placement.core.planner import Planner
from crds.base import API_VERSION
from crds.kinds import KINDS
from drivers.base import CPUFacts, HostFacts

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The objects, and the engine fed with them."""

    cache: ObjectCache
    planner: Planner
    now: datetime
    """Until when hosts that failed to start an instance are avoided is told by the clock."""
    skipped: tuple[str, ...] = field(default=())
    """Objects that could not be read, with why."""


def read(paths: Iterable[Path]) -> Iterator[Raw]:
    """Objects in files or folders of `kubectl get -o json` or `-o yaml`, lists opened. Raises OSError, YAMLError."""
    for path in paths:
        files = (
            sorted(p for p in path.rglob("*") if p.suffix in (".json", ".yaml", ".yml")) if path.is_dir() else [path]
        )
        for file in files:
            for document in yaml.load_all(file.read_text(), Loader=_LOADER):
                yield from _opened(document)


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _opened(document: Any) -> Iterator[Raw]:
    if isinstance(document, dict):
        if isinstance(document.get("items"), list):
            for item in document["items"]:
                yield from _opened(item)
        elif isinstance(document.get("metadata"), dict) and document.get("kind"):
            yield document


async def fetch(kubeconfig: Path | None) -> list[Raw]:
    """All objects of all our kinds, and the namespaces, read live. Raises ApiError, NoCredentials."""
    client = reader(kubeconfig)
    found: list[Raw] = []
    try:
        for kind, path in (("Namespace", "/api/v1/namespaces"), *((k.kind, path_of(k)) for k in KINDS.values())):
            params = {"limit": "500"}
            while True:
                page = await client.get(path, kind=kind, params=params)
                found += [{**item, "kind": kind} for item in page.get("items", ())]
                token = (page.get("metadata") or {}).get("continue")
                if not token:
                    break
                params = {"limit": "500", "continue": token}
    finally:
        await client.close()
    return found


def reader(kubeconfig: Path | None) -> Client:
    """A client whose every write raises AssertionError before it is sent."""
    source = CredentialSource(kubeconfig)
    return Client(source, timeout=Settings().request_timeout, connections=4, guard=_never_writes)


def _never_writes() -> None:
    raise AssertionError("what-if writes nothing")


def build(objects: Iterable[Raw], now: datetime | None = None) -> Snapshot:
    """The last of two objects of one name wins. Manifests without uid and resourceVersion are taken too. `now`: the
    moment asked about; None: the present."""
    cache = ObjectCache(KINDS, {}, lambda key, why: None)
    skipped = [why for number, raw in enumerate(objects, 1) if (why := put(cache, raw, number))]
    planner = Planner()
    for name, labels in cache.namespaces().items():
        planner.put_namespace(name, labels)
    pools_of = _pools(cache, planner)
    off: dict[str, datetime | None] = {}
    for host in cache.all("Host"):
        if not host.problem:
            off[host.name] = records.declared_off(host)
            down = records.not_ready(host)
            pools = frozenset(pools_of.get(host.name, ()))
            planner.put_host(records.host_record(cache, host, facts_of(host), down, pools))
    for instance in cache.all("Instance"):
        claim = records.claim_of(instance, off.get)
        if claim is not None:
            planner.claim(instance.uid, claim)
    return Snapshot(cache, planner, now or datetime.now(UTC), tuple(skipped))


def put(cache: ObjectCache, raw: Raw, number: int) -> str:
    """One object more; why not, in words, or ""."""
    kind, metadata = str(raw.get("kind")), raw.get("metadata") or {}
    ours = raw.get("apiVersion", API_VERSION) == API_VERSION and kind in KINDS
    if not ours and kind != "Namespace":
        return ""
    name = f"{kind} {metadata.get('namespace', '')}/{metadata.get('name')}".replace(" /", " ")
    namespace = {"namespace": "default"} if ours and KINDS[kind].namespaced and not metadata.get("namespace") else {}
    given = {"uid": f"manifest-{name}", **metadata, **namespace}
    given["resourceVersion"] = str(number + 2**60)
    try:
        known = cache.at(key_of(kind, {"metadata": given})) if ours else None
        # An edited manifest has the generation of what it was made from; the cache reads no generation twice.
        given["generation"] = known.generation + 1 if known else metadata.get("generation", 1)
        cache.apply(kind, {"status": {}, **raw, "metadata": given})
    except (KeyError, TypeError, ValueError) as error:
        return f"{name}: {type(error).__name__} {error}"
    return ""


def facts_of(host: Obj[Any, Any]) -> HostFacts | None:
    """As the host's status tells them; None for one that was never reached."""
    status, capacity, cpu = host.status, host.status.capacity, host.status.cpu
    if capacity is None or capacity.cpus is None or capacity.memory is None:
        return None
    foreign = status.foreign
    return HostFacts(
        host=host.name,
        machine_id=status.machine_id or "",
        hostname=status.host_name or "",
        architecture=cpu.architecture if cpu else "x86_64",
        hypervisor=status.hypervisor or "",
        version=status.hypervisor_version or "",
        cpus=capacity.cpus.total,
        memory=capacity.memory.total,
        cpu=CPUFacts(model=cpu.model, vendor=cpu.vendor or "", features=cpu.features) if cpu else CPUFacts(model=""),
        cpu_models=cpu.models if cpu else (),
        max_instance_cpus=(cpu.most_guest_cpus or 0) if cpu else 0,
        firmware=tuple(status.firmwares) or ("BIOS",),
        machine_types=tuple(status.machines),
        foreign_cpus=foreign.cpus if foreign else 0,
        foreign_memory=foreign.memory if foreign else 0,
    )


def _pools(cache: ObjectCache, planner: Planner) -> dict[str, set[str]]:
    """Feeds the pools; host → pools that are connected there."""
    given: dict[str, int] = {}
    for volume in cache.all("Volume"):
        for pool_name, size in records.disks_of(volume).items():
            given[pool_name] = given.get(pool_name, 0) + size
    copies: dict[str, set[str]] = {}
    for template in cache.all("Template"):
        for copy in template.status.pools:
            if copy.state == "Ready":
                copies.setdefault(copy.pool, set()).add(f"{template.namespace}/{template.name}")
    found: dict[str, set[str]] = {}
    for pool in cache.all("StoragePool"):
        if not pool.problem:
            templates = frozenset(copies.get(pool.name, ()))
            planner.put_pool(records.pool_record(pool, given.get(pool.name, 0), templates))
            for host in records.hosts_of_pool(cache, pool):
                found.setdefault(host, set()).add(pool.name)
    return found
