"""How a KVM host is opened. Found by `drivers.registry`."""

from drivers.base import Connection as AnyConnection
from drivers.base import LibvirtConnection
from drivers.errors import DriverError, Invalid
from drivers.kvm.connection import connect
from drivers.kvm.endpoint import KVMEndPoint


class KVMDriver:
    def open(self, connection: AnyConnection, timeout: float) -> KVMEndPoint:
        if not isinstance(connection, LibvirtConnection):
            raise Invalid(f"the KVM driver opens no {type(connection).__name__}")
        opened = connect(connection, timeout)
        try:
            return KVMEndPoint(connection, opened)
        except DriverError:
            opened.close()
            raise
