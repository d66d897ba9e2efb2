"""Each action of `drivers.base` on one domain: look, check what is expected, do, once. Called by `endpoint.py`.

Every action is idempotent: what is done already is fine. Devices are in `hotplug.py`.
"""

import threading
from typing import Any, assert_never

import libvirt

from drivers import base
from drivers.base import Action, Expected, InstanceDefinition
from drivers.errors import Busy, DriverError, Invalid, NotOurs, Unsupported
from drivers.kvm.checks import expected_mark, our_mark, read_now
from drivers.kvm.connection import Connection
from drivers.kvm.domain_xml import build
from drivers.kvm.facts import DomainCache, is_migrating, lookup
from drivers.kvm.failure import is_absent
from drivers.kvm.host import HostReader
from drivers.kvm.hotplug import Hotplug
from drivers.kvm.mark_xml import NAMESPACE, PREFIX, bare_mark
from drivers.kvm.pool_paths import PoolPaths
from drivers.kvm.xml import to_text

_KEPT = (
    libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
)
_SHUTDOWN_LOOK = 1.0
"""Seconds in which an agent that refuses is noticed, before the call returns."""


PowerAction = base.StartPaused | base.Resume | base.Suspend | base.Shutdown | base.ForceOff | base.Reset


class Actions:
    """All actions on one connection. Thread-safe as libvirt is; the caller runs one action per instance at a time."""

    def __init__(
        self, connection: Connection, patient: Connection, cache: DomainCache, reader: HostReader, paths: PoolPaths
    ) -> None:
        self._connection = connection
        self._patient = patient
        self._cache = cache
        self._reader = reader
        self._paths = paths
        self._hotplug = Hotplug(connection, paths)

    def apply(self, uuid: str, action: Action, expected: Expected) -> None:
        what = f"{_WORDS.get(type(action).__name__, type(action).__name__)} instance {uuid}"
        try:
            with self._connection.calling(what) as raw:
                self._apply(raw, uuid, action, expected)
        finally:
            self._cache.drop(uuid)

    def _apply(self, raw: Any, uuid: str, action: Action, expected: Expected) -> None:
        domain = lookup(raw, uuid)
        if isinstance(action, base.Define):
            self._define(raw, domain, uuid, action.definition, expected)
            return
        if domain is None:
            if isinstance(action, base.Undefine | base.Destroy | base.ForceOff | base.Shutdown | base.Release):
                return  # It is off and undefined already.
            raise Invalid(f"Host {self._connection.host}: instance {uuid} is not defined there")
        if isinstance(action, base.Adopt):
            self._adopt(domain, action, expected)
            return
        read = read_now(domain)
        if isinstance(action, base.Release) and read.mark.mark is None and not read.mark.unreadable:
            return
        expected_mark(self._connection.host, read, expected)
        self._act(domain, action)

    def _act(self, domain: Any, action: Action) -> None:
        match action:
            case base.WriteMark():
                self._write_mark(domain, bare_mark(action.mark))
            case base.Release():
                self._write_mark(domain, None)
            case base.Undefine():
                self._undefine(domain)
            case base.Destroy():
                self._destroy(domain)
            case (
                base.AttachDisk() | base.DetachDisk() | base.AttachNic() | base.DetachNic() | base.ChangeMedia()
                | base.GrowDisk()
            ):  # fmt: skip
                self._hotplug.apply(domain, action)
            case base.Define() | base.Adopt():
                raise AssertionError("handled before")
            case _:
                self._power(domain, action)

    def _power(self, domain: Any, action: PowerAction) -> None:
        match action:
            case base.StartPaused():
                self._start_paused(domain)
            case base.Resume():
                self._resume(domain)
            case base.Suspend():
                self._suspend(domain)
            case base.Shutdown():
                self._shutdown(domain)
            case base.ForceOff():
                _off(domain)
            case base.Reset():
                self._running(domain, "reset")
                domain.reset(0)
            case _:
                assert_never(action)

    # ---------------------------------------------------------------- definition and mark

    def _define(self, raw: Any, domain: Any, uuid: str, wanted: InstanceDefinition, expected: Expected) -> None:
        host = self._connection.host
        if wanted.mark.uuid != uuid:
            raise Invalid(f"{wanted.title}: its mark is for {wanted.mark.uuid}, the call is for {uuid}")
        name = wanted.title
        if domain is not None:
            read = read_now(domain)
            mark = our_mark(host, read, expected)
            if mark.sequence > wanted.mark.sequence:
                raise NotOurs(
                    f"Host {host}: instance {uuid} ({read.name}) is there under placement sequence {mark.sequence}, "
                    f"higher than {wanted.mark.sequence}; it is left alone"
                )
            name = read.name  # libvirt refuses another name; an imported domain keeps its own.
        else:
            self._check_name(raw, uuid, name)
        node = build(wanted, name, self._reader.platform(), self._paths.path)
        defined = raw.defineXMLFlags(to_text(node), libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
        if defined.autostart():
            defined.setAutostart(0)  # M3: only we decide where it starts.
        if defined.isActive():
            self._write_mark(defined, bare_mark(wanted.mark))

    def _check_name(self, raw: Any, uuid: str, name: str) -> None:
        try:
            other = raw.lookupByName(name)
        except libvirt.libvirtError as error:
            if is_absent(error):
                return
            raise
        if other.UUIDString() != uuid:
            raise Invalid(
                f"Host {self._connection.host}: the name {name} is taken by another machine ({other.UUIDString()}); "
                "rename or remove that one"
            )

    def _write_mark(self, domain: Any, element: str | None) -> None:
        """In one call for both where it runs; None takes it off. When it stops or starts in between, libvirt refuses
        and we look again."""
        for attempt in (1, 2):
            flags = 0
            if domain.isPersistent():
                flags |= libvirt.VIR_DOMAIN_AFFECT_CONFIG
            if domain.isActive():
                flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE
            try:
                domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, element, PREFIX, NAMESPACE, flags)
                return
            except libvirt.libvirtError as error:
                if attempt == 2 or error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
                    raise

    def _adopt(self, domain: Any, action: base.Adopt, expected: Expected) -> None:
        host, read = self._connection.host, read_now(domain)
        if read.mark.mark is not None or read.mark.unreadable:
            marked = read.mark.mark
            known = marked is not None and marked.installation in expected.installations
            if marked is None or not known or marked.uid not in (action.previous_uid, action.mark.uid):
                owner = f"{marked.namespace}/{marked.name}, uid {marked.uid}" if marked else "somebody unreadable"
                raise NotOurs(f"Host {host}: instance {read.uuid} ({read.name}) is marked as {owner}; it is not taken")
        if action.mark.uuid != read.uuid:
            raise Invalid(f"Host {host}: a mark for {action.mark.uuid} cannot go onto {read.uuid}")
        self._write_mark(domain, bare_mark(action.mark))
        if domain.isPersistent() and domain.autostart():
            domain.setAutostart(0)

    # ---------------------------------------------------------------- power

    def _start_paused(self, domain: Any) -> None:
        if domain.isActive():
            raise Busy(f"Host {self._connection.host}: instance {domain.UUIDString()} is active already")
        self._paths.require_answering(read_now(domain).paths)
        # FORCE_BOOT: a memory image that somebody saved must not come back over disks that have moved on.
        domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED | libvirt.VIR_DOMAIN_START_FORCE_BOOT)

    def _resume(self, domain: Any) -> None:
        state, reason = domain.state()
        if state == libvirt.VIR_DOMAIN_RUNNING:
            return
        self._running(domain, "resume")
        if reason == libvirt.VIR_DOMAIN_PAUSED_MIGRATION or is_migrating(domain):
            raise Busy(f"Host {self._connection.host}: instance {domain.UUIDString()} is being migrated")
        domain.resume()

    def _suspend(self, domain: Any) -> None:
        self._running(domain, "suspend")
        if domain.state()[0] != libvirt.VIR_DOMAIN_PAUSED:
            domain.suspend()

    def _shutdown(self, domain: Any) -> None:
        """The agent's answer is the guest's end, so libvirt's call lasts as long: it gets a thread, and ACPI follows
        only if the agent refuses at once."""
        if not domain.isActive():
            return
        if not read_now(domain).agent_connected:
            domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)
            return
        refused, uuid = threading.Event(), domain.UUIDString()

        def ask() -> None:
            try:
                with self._patient.calling(f"shut instance {uuid} down through its agent") as raw:
                    raw.lookupByUUIDString(uuid).shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT)
            except DriverError:
                refused.set()

        asking = threading.Thread(target=ask, name="agent-shutdown", daemon=True)
        asking.start()
        asking.join(_SHUTDOWN_LOOK)
        if refused.is_set() and domain.isActive():
            domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)

    def _running(self, domain: Any, verb: str) -> None:
        if not domain.isActive():
            raise Invalid(f"Host {self._connection.host}: cannot {verb} instance {domain.UUIDString()}: it is off")

    # ---------------------------------------------------------------- end

    def _undefine(self, domain: Any) -> None:
        if domain.isActive():
            raise Busy(f"Host {self._connection.host}: instance {domain.UUIDString()} still runs; power it off first")
        if domain.hasManagedSaveImage():
            raise Unsupported(
                f"Host {self._connection.host}: instance {domain.UUIDString()} has a saved memory image there; start "
                "it or remove the image (virsh managedsave-remove) before its definition goes"
            )
        domain.undefineFlags(_KEPT)

    def _destroy(self, domain: Any) -> None:
        if domain.isActive() and is_migrating(domain):
            raise Busy(f"Host {self._connection.host}: instance {domain.UUIDString()} is being migrated")
        _off(domain)
        try:
            domain.undefineFlags(_KEPT | libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
        except libvirt.libvirtError as error:
            if not is_absent(error):
                raise


def _off(domain: Any) -> None:
    if not domain.isActive():
        return
    try:
        domain.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_DEFAULT)
    except libvirt.libvirtError as error:
        if is_absent(error) or error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID:
            return  # It ended by itself meanwhile; a transient one is gone altogether.
        raise


_WORDS = {
    "Define": "define",
    "WriteMark": "mark",
    "StartPaused": "start",
    "Resume": "resume",
    "Suspend": "suspend",
    "Shutdown": "shut down",
    "ForceOff": "power off",
    "Reset": "reset",
    "Undefine": "undefine",
    "Destroy": "destroy",
    "AttachDisk": "attach a disk to",
    "DetachDisk": "detach a disk from",
    "AttachNic": "attach a NIC to",
    "DetachNic": "detach a NIC from",
    "ChangeMedia": "change the media of",
    "GrowDisk": "grow a disk of",
    "Adopt": "adopt",
    "Release": "release",
}
