"""The only module that knows which back-ends there are. Called by `controllers` to open an end-point."""

from drivers.base import Connection, EndPoint, LibvirtConnection, SimulatedConnection
from drivers.errors import Unsupported


def open_endpoint(connection: Connection, timeout: float = 15.0) -> EndPoint:
    """Open a new connection; blocks at most about `timeout` seconds. Raises as `Driver.open`."""
    match connection:
        case LibvirtConnection():
            from drivers.kvm import KVMDriver

            return KVMDriver().open(connection, timeout)
        case SimulatedConnection():
            from drivers.simulated import SimulatedDriver

            return SimulatedDriver().open(connection, timeout)
    raise Unsupported(f"no driver opens a {type(connection).__name__}")
