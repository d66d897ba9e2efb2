"""The host itself: what it can run, what it has, and what its domains take that are not ours. Called by `endpoint.py`
and, for the Platform, by `actions.py`.

Capabilities do not change while libvirtd runs, so they are read once per connection.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass

import libvirt

from drivers.base import CPUFacts, Hardware, HostFacts, InstanceFacts, Power
from drivers.errors import Unsupported
from drivers.kvm.connection import Connection
from drivers.kvm.domain_xml import Platform
from drivers.kvm.xml import Element, el, parse, to_text, value

ARCHITECTURE = "x86_64"


@dataclass(frozen=True, slots=True)
class Abilities:
    """From libvirt's capabilities and domain capabilities of the machine type that guests get."""

    machine_id: str
    hostname: str
    version: str
    domain_type: str
    emulator: str
    default_machine: str
    machines: tuple[str, ...]
    host_passthrough: bool
    cpu: CPUFacts
    usable_models: frozenset[str]
    max_cpus: int
    uefi: bool
    secure_boot: bool


class HostReader:
    """Reads one host; caches what cannot change under a connection. Thread-safe."""

    def __init__(self, connection: Connection, installations: tuple[str, ...]) -> None:
        self._connection = connection
        self._installations = installations
        self._lock = threading.Lock()
        self._abilities: Abilities | None = None
        self._features: dict[str, frozenset[str]] = {}

    def abilities(self) -> Abilities:
        with self._lock:
            if self._abilities is None:
                self._abilities = self._read_abilities()
            return self._abilities

    def platform(self) -> Platform:
        able = self.abilities()
        return Platform(able.domain_type, able.emulator, able.host_passthrough, self.model_features)

    def model_features(self, model: str) -> frozenset[str]:
        """The features that a CPU model of libvirt's map has by itself. Raises Unsupported for an unknown one."""
        known = self._features.get(model)
        if known is None:
            cpu = el("cpu", el("arch", text=ARCHITECTURE), el("model", text=model))
            known = self._expanded(cpu, f"look up the CPU model {model!r}")
            self._features[model] = known
        return known

    def observe(self, host: str, instances: Iterable[InstanceFacts]) -> HostFacts:
        able = self.abilities()
        with self._connection.calling("read its CPU and memory") as raw:
            info = raw.getInfo()
            memory = raw.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
            cpu = raw.getCPUStats(libvirt.VIR_NODE_CPU_STATS_ALL_CPUS)
        foreign = [i for i in instances if self._is_foreign(i) and i.power in (Power.RUNNING, Power.PAUSED)]
        free = memory.get("free", 0) + memory.get("buffers", 0) + memory.get("cached", 0)
        total = memory.get("total", info[1] * 1024)
        return HostFacts(
            host=host,
            machine_id=able.machine_id,
            hostname=able.hostname,
            architecture=info[0],
            hypervisor="KVM",
            version=able.version,
            cpus=info[2],
            memory=total * 1024,
            cpu=able.cpu,
            cpu_models=tuple(sorted({*able.usable_models, able.cpu.model})),
            max_instance_cpus=able.max_cpus,
            firmware=("BIOS", "UEFI") if able.uefi else ("BIOS",),
            machine_types=able.machines,
            foreign_cpus=sum(i.cpus for i in foreign),
            foreign_memory=sum(i.memory + i.overhead for i in foreign),
            used_memory=max(total - free, 0) * 1024,
            cpu_seconds=(cpu.get("kernel", 0) + cpu.get("user", 0)) / 1e9,
        )

    def choose(self, wanted: Hardware) -> Hardware:
        """`wanted` with every choice made: versioned machine, firmware and CPU checked. Raises Unsupported."""
        able, host = self.abilities(), self._connection.host
        machine = wanted.machine or able.default_machine
        if machine == "q35":
            machine = able.default_machine
        if machine not in able.machines:
            raise Unsupported(f"Host {host}: has no machine type {machine}; it has {', '.join(able.machines[:8])}")
        if wanted.firmware not in ("BIOS", "UEFI") or (wanted.firmware == "UEFI" and not able.uefi):
            raise Unsupported(f"Host {host}: has no {wanted.firmware} firmware installed")
        if wanted.secure_boot and not (wanted.firmware == "UEFI" and able.secure_boot):
            raise Unsupported(f"Host {host}: secure boot needs UEFI firmware with enrolled keys, and it has none")
        if wanted.cpu_model and wanted.cpu_model not in able.usable_models and wanted.cpu_model != able.cpu.model:
            raise Unsupported(f"Host {host}: cannot provide the CPU model {wanted.cpu_model}")
        missing = sorted(set(wanted.cpu_features) - set(able.cpu.features))
        if wanted.cpu_mode == "Baseline" and missing:
            raise Unsupported(f"Host {host}: its CPU lacks {', '.join(missing)}")
        mode, model, features = wanted.cpu_mode, wanted.cpu_model, wanted.cpu_features
        if mode == "Baseline" and not model:
            model, features = able.cpu.model, able.cpu.features
        return Hardware(
            machine=machine,
            firmware=wanted.firmware,
            secure_boot=wanted.secure_boot,
            cpu_mode=mode,
            cpu_model=model,
            cpu_features=features,
            clock=wanted.clock,
            os_info=wanted.os_info,
        )

    def _is_foreign(self, facts: InstanceFacts) -> bool:
        if facts.mark is None:
            return not facts.unreadable
        return bool(self._installations) and facts.mark.installation not in self._installations

    def _read_abilities(self) -> Abilities:
        with self._connection.calling("read its capabilities") as raw:
            caps = parse(raw.getCapabilities(), "the host's capabilities")
            guest = caps.find(f"guest/arch[@name='{ARCHITECTURE}']")
            if guest is None:
                raise Unsupported(f"Host {self._connection.host}: QEMU for {ARCHITECTURE} is not installed there")
            kinds = {d.get("type", "") for d in guest.iterfind("domain")}
            # Without a usable /dev/kvm libvirt lists "qemu" alone: guests are then emulated, and slow.
            domain_type = "kvm" if "kvm" in kinds else "qemu"
            domcaps = parse(
                raw.getDomainCapabilities(None, ARCHITECTURE, "q35", domain_type, 0), "the host's domain capabilities"
            )
            hostname = raw.getHostname()
            version = f"libvirt {_dotted(raw.getLibVersion())}, QEMU {_dotted(raw.getVersion())}"
        firmware = {v.text for v in domcaps.iterfind("os/enum[@name='firmware']/value")}
        secure = {v.text for v in domcaps.iterfind("os/loader/enum[@name='secure']/value")}
        passthrough = domcaps.find("cpu/mode[@name='host-passthrough']")
        models = domcaps.iterfind("cpu/mode[@name='custom']/model")
        return Abilities(
            machine_id=value(caps, "host/uuid").strip(),
            hostname=hostname,
            version=version,
            domain_type=domain_type,
            emulator=value(domcaps, "path"),
            default_machine=value(domcaps, "machine"),
            machines=_machines(guest),
            host_passthrough=passthrough is not None and passthrough.get("supported") == "yes",
            cpu=self._host_cpu(domcaps),
            usable_models=frozenset(m.text or "" for m in models if m.get("usable") != "no"),
            max_cpus=int(vcpu.get("max", "0")) if (vcpu := domcaps.find("vcpu")) is not None else 0,
            uefi="efi" in firmware,
            secure_boot="efi" in firmware and "yes" in secure,
        )

    def _host_cpu(self, domcaps: Element) -> CPUFacts:
        """The CPU that guests could get here at most, every feature listed, so that features of several hosts can
        simply be intersected: with a feature list, a definition is exact whatever model it starts from."""
        model = domcaps.find("cpu/mode[@name='host-model']")
        if model is None or model.get("supported") != "yes" or model.find("model") is None:
            return CPUFacts(model="qemu64")
        cpu = el("cpu", el("arch", text=ARCHITECTURE))
        name, vendor = value(model, "model"), value(model, "vendor")
        absent = {f.get("name", "") for f in model.iterfind("feature[@policy='disable']")}
        cpu.extend(list(model))
        features = self._expanded(cpu, "expand its CPU model") - absent
        return CPUFacts(model=name, vendor=vendor, features=tuple(sorted(features)))

    def _expanded(self, cpu: Element, what: str) -> frozenset[str]:
        with self._connection.calling(what) as raw:
            flags = libvirt.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES
            answer = parse(raw.baselineCPU([to_text(cpu)], flags), "libvirt's CPU baseline")
        return frozenset(f.get("name", "") for f in answer.iterfind("feature") if f.get("policy") != "disable")


def _machines(guest: Element) -> tuple[str, ...]:
    """Versioned q35 machine types, newest first."""
    names = {m.text or "" for m in guest.iterfind("machine")} | {
        m.get("canonical", "") for m in guest.iterfind("machine")
    }
    found = [n for n in names if n.startswith("pc-q35-")]
    return tuple(sorted(found, key=_version, reverse=True))


def _version(machine: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in machine.removeprefix("pc-q35-").split("."))


def _dotted(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
