"""What one host and its domains are, read in bulk. Called by `endpoint.py`.

A listing costs one call for all states plus one XML for each domain that changed since the last one: events say which
did. Block statistics are never asked for: with a dead NFS server they freeze the guest, then libvirtd (lab.md).
"""

import threading
import time
from dataclasses import dataclass, replace
from typing import Any

import libvirt

from drivers.base import InstanceFacts, Listing, Power, Why
from drivers.kvm import events
from drivers.kvm.connection import Connection
from drivers.kvm.domain_read import DomainRead, read_domain
from drivers.kvm.failure import is_absent
from drivers.kvm.overhead import overhead
from drivers.kvm.state import power_and_why
from drivers.kvm.xml import parse

MAX_AGE = 30.0
"""Seconds after which an XML is read again even without an event: behind a virtproxyd an answer may overtake one."""

_STATS = libvirt.VIR_DOMAIN_STATS_STATE | libvirt.VIR_DOMAIN_STATS_VCPU
_STATS_FLAGS = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT


@dataclass(frozen=True, slots=True)
class Documents:
    """A domain's live XML (its persistent one when it is off) and its persistent one, as read at `at`."""

    at: float
    active: bool
    persistent: bool
    autostart: bool
    now: DomainRead
    defined: DomainRead | None


class DomainCache:
    """Documents by UUID; an event about a domain drops its entry. Thread-safe: the event loop's thread drops, the
    lanes' threads read."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._entries: dict[str, Documents] = {}
        self._generation: dict[str, int] = {}

    def drop(self, uuid: str) -> None:
        with self._lock:
            self._entries.pop(uuid, None)
            self._generation[uuid] = self._generation.get(uuid, 0) + 1

    def drop_all(self) -> None:
        with self._lock:
            for uuid in self._entries:
                self._generation[uuid] = self._generation.get(uuid, 0) + 1
            self._entries.clear()

    def read(self, domain: Any, active: bool) -> Documents:
        """From the cache, or from libvirt. Raises libvirtError; `is_absent` when the domain went meanwhile."""
        uuid = domain.UUIDString()
        with self._lock:
            known, generation = self._entries.get(uuid), self._generation.get(uuid, 0)
        if known is not None and known.active == active and time.monotonic() - known.at < MAX_AGE:
            return known
        fresh = _read(domain, active)
        with self._lock:
            if self._generation.get(uuid, 0) == generation:
                self._entries[uuid] = fresh
        return fresh

    def keep_only(self, uuids: set[str]) -> None:
        with self._lock:
            for uuid in [u for u in self._entries if u not in uuids]:
                del self._entries[uuid]
            for uuid in [u for u in self._generation if u not in uuids]:
                del self._generation[uuid]


def _read(domain: Any, active: bool) -> Documents:
    at = time.monotonic()
    persistent = bool(domain.isPersistent())
    now = read_domain(parse(domain.XMLDesc(0), "a domain"))
    defined: DomainRead | None = None
    if persistent:
        flags = libvirt.VIR_DOMAIN_XML_INACTIVE
        defined = read_domain(parse(domain.XMLDesc(flags), "a domain")) if active else now
    autostart = bool(domain.autostart()) if persistent else False
    return Documents(at, active, persistent, autostart, now, defined)


def list_instances(connection: Connection, cache: DomainCache) -> Listing:
    """Every domain, running or not. The states are read after `begun`; so is every XML that changed before it."""
    begun = time.monotonic()
    with connection.calling("list its instances") as raw:
        pairs = raw.getAllDomainStats(_STATS, _STATS_FLAGS)
        if not events.barrier():
            cache.drop_all()  # The event loop is late: then nothing that is cached is believed.
        found = []
        for domain, stats in pairs:
            facts = _facts_or_gone(connection.host, domain, stats, cache)
            if facts is not None:
                found.append(facts)
    cache.keep_only({f.uuid for f in found})
    return Listing(begun=begun, ended=time.monotonic(), instances=tuple(found))


def observe_instance(connection: Connection, cache: DomainCache, uuid: str) -> InstanceFacts | None:
    """One domain, read anew; None when the host does not have it."""
    cache.drop(uuid)
    with connection.calling(f"read instance {uuid}") as raw:
        domain = lookup(raw, uuid)
        if domain is None:
            return None
        try:
            state, reason = domain.state()
        except libvirt.libvirtError as error:
            if is_absent(error):
                return None  # It went meanwhile.
            raise
        facts = _facts_or_gone(connection.host, domain, {"state.state": state, "state.reason": reason}, cache)
        if facts is not None and facts.power in (Power.RUNNING, Power.PAUSED) and is_migrating(domain):
            return replace(facts, why=Why.MIGRATING)
        return facts


def lookup(raw: Any, uuid: str) -> Any | None:
    """The domain of that UUID or None. Raises libvirtError for anything else than absence."""
    try:
        return raw.lookupByUUIDString(uuid)
    except libvirt.libvirtError as error:
        if is_absent(error):
            return None
        raise


def is_migrating(domain: Any) -> bool:
    """Whether a migration job, in or out, is under way. Asks the domain alone, so not for listings."""
    try:
        job = domain.jobStats()
    except libvirt.libvirtError as error:
        if is_absent(error) or error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID:
            return False  # It is off.
        raise
    migrating = (libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN, libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT)
    return job.get("type", 0) != libvirt.VIR_DOMAIN_JOB_NONE and job.get("operation") in migrating


def _facts_or_gone(host: str, domain: Any, stats: dict[str, Any], cache: DomainCache) -> InstanceFacts | None:
    power, why = power_and_why(stats.get("state.state", 0), stats.get("state.reason", 0))
    try:
        documents = cache.read(domain, power in (Power.RUNNING, Power.PAUSED))
    except libvirt.libvirtError as error:
        if is_absent(error):
            return None
        raise
    now = documents.now
    return InstanceFacts(
        host=host,
        uuid=now.uuid,
        name=now.name,
        power=power,
        why=why,
        mark=now.mark.mark,
        unreadable=now.mark.unreadable,
        cpus=stats.get("vcpu.current") or now.cpus,
        memory=now.memory,
        overhead=overhead(now.cpus, now.memory, now.domain_type),
        disks=tuple(d.seen for d in now.disks),
        nics=tuple(n.seen for n in now.nics),
        agent_connected=now.agent_connected,
        persistent=documents.persistent,
        autostart=documents.autostart,
        digest=documents.defined.digest if documents.defined is not None else "",
    )
