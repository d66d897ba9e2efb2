"""The hardware of an instance between the API's words and the drivers'. Pure.

Chosen at the first start and kept for life; only the CPU is chosen anew at a cold start (api.md, status.hardware).
"""

from crds.hostcluster import HostClusterSpec, HostClusterStatus
from crds.instance import InstanceSpec
from crds.instancestatus import GuestCPU, HardwareLimits, Topology
from crds.instancestatus import Hardware as HardwareState
from crds.template import TemplateSpec
from drivers.base import Hardware

DEFAULT_OS = "linux2022"


def wanted(
    spec: InstanceSpec, boot: TemplateSpec | None, kept: HardwareState | None,
    cluster: HostClusterSpec, cluster_status: HostClusterStatus,
) -> Hardware:  # fmt: skip
    """What to ask the host for. `boot` is the template of the boot disk, if there is one still."""
    mode, model, features = _cpu(cluster, cluster_status)
    if kept is not None:
        return Hardware(
            machine=kept.machine, firmware=kept.firmware, secure_boot=kept.secure_boot, cpu_mode=mode, cpu_model=model,
            cpu_features=features, clock=kept.clock, os_info=kept.os_info or "",
        )  # fmt: skip
    guest = boot.guest if boot else None
    firmware = spec.firmware.type if spec.firmware else (guest.firmware if guest and guest.firmware else "BIOS")
    return Hardware(
        firmware=firmware,
        secure_boot=bool(spec.firmware and spec.firmware.secure_boot),
        cpu_mode=mode,
        cpu_model=model,
        cpu_features=features,
        os_info=(guest.os_info if guest and guest.os_info else DEFAULT_OS),
    )


def cpu_known(cluster: HostClusterSpec, status: HostClusterStatus) -> bool:
    """Whether it stands which CPU guests of the cluster see: a baseline has to be computed first."""
    return cluster.cpu.mode != "Baseline" or (status.cpu is not None and status.cpu.mode == "Baseline")


def _cpu(cluster: HostClusterSpec, status: HostClusterStatus) -> tuple[str, str, tuple[str, ...]]:
    known = status.cpu
    if cluster.cpu.mode == "HostPassthrough":
        return "HostPassthrough", "", ()
    if cluster.cpu.mode == "Named":
        return "Named", cluster.cpu.model or "", ()
    return "Baseline", (known.model or "") if known else "", known.features if known else ()


def state(hardware: Hardware, *, cpus: int, memory: int, architecture: str) -> HardwareState:
    """As it is shown and kept: one socket, many cores."""
    return HardwareState(
        machine=hardware.machine,
        architecture=architecture,
        firmware=hardware.firmware,
        secure_boot=hardware.secure_boot,
        cpu=GuestCPU(mode=hardware.cpu_mode, model=hardware.cpu_model or None, features=hardware.cpu_features),
        topology=Topology(cores=cpus),
        clock=hardware.clock,
        os_info=hardware.os_info or None,
        limits=HardwareLimits(cpus=cpus, memory=memory),
    )


def driver(kept: HardwareState) -> Hardware:
    """As the drivers want it."""
    cpu = kept.cpu
    return Hardware(
        machine=kept.machine,
        firmware=kept.firmware,
        secure_boot=kept.secure_boot,
        cpu_mode=cpu.mode if cpu else "HostPassthrough",
        cpu_model=(cpu.model or "") if cpu else "",
        cpu_features=cpu.features if cpu else (),
        clock=kept.clock,
        os_info=kept.os_info or "",
    )
