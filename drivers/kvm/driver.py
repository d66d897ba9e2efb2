"""How a KVM host is opened. Found by `drivers.registry`.

An end-point is two libvirt connections that live and die together: one for short calls and events, one for calls that
may last (storage, an agent's shutdown). While one thread waits for a long answer, libvirt's client (9.0) wakes the
others on the same connection only with the next keepalive, 2 s later (measured with a dead NFS server).
"""

import time

from drivers.base import Connection as AnyConnection
from drivers.base import LibvirtConnection
from drivers.errors import DriverError, Invalid
from drivers.kvm.connection import connect
from drivers.kvm.endpoint import KVMEndPoint


class KVMDriver:
    def open(self, connection: AnyConnection, timeout: float) -> KVMEndPoint:
        if not isinstance(connection, LibvirtConnection):
            raise Invalid(f"the KVM driver opens no {type(connection).__name__}")
        deadline = time.monotonic() + timeout
        prompt = connect(connection, timeout)
        try:
            patient = connect(connection, max(deadline - time.monotonic(), 1.0))
        except DriverError:
            prompt.close()
            raise
        try:
            return KVMEndPoint(connection, prompt, patient)
        except DriverError:
            patient.close()
            prompt.close()
            raise
