"""What a guest takes from its host beside its own memory. Used by `facts.py`.

An estimate on the safe side, of QEMU's own code and heap, device rings, page tables (1/512, and as much again for
shadow structures, rounded up to 1/64) and 8 MiB a vCPU. Without KVM the translation cache comes on top: a guest of
128 MiB was seen at 200 to 240 MiB resident with a cache of 32 MiB.
"""

from drivers.kvm.domain_xml import TCG_CACHE_MIB

MIB = 1 << 20


def overhead(cpus: int, memory: int, domain_type: str) -> int:
    """Bytes."""
    total = 96 * MIB + 8 * MIB * cpus + memory // 64
    if domain_type == "qemu":
        total += TCG_CACHE_MIB * MIB
    return total
