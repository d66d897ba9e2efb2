"""The simulated platform: a whole cloud in one SQLite file, shipped with the product (`hypervisor: Simulated`).

People try Stratiform with it, the engine's tests and the benches run on it. Opened by `drivers.registry`. It behaves
as libvirt does wherever safety.md depends on it, keeps its state outside the operator's memory so that a restart of
the operator is a real one, and misbehaves on demand (`drivers.simulated.faults`, `python -m drivers.simulated`).
"""

from drivers.simulated.endpoint import SimulatedDriver, SimulatedEndPoint

__all__ = ["SimulatedDriver", "SimulatedEndPoint"]
