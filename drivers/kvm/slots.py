"""Where devices sit: slots become PCI addresses, aliases and target names that never change.

A guest names its disks and NICs by where they sit, so the answer depends on the slot number alone, and a layout that
needs more ports only adds them at the end. Disks and NICs may share one numbering or have one each. Used by the
builder and by hot-plug.
"""

from dataclasses import dataclass

from drivers.errors import Invalid

DISKS_PER_BLOCK, NICS_PER_BLOCK = 8, 8
PORTS_PER_BLOCK = DISKS_PER_BLOCK + NICS_PER_BLOCK
MAX_BLOCKS = 11
"""A block of 16 ports takes two slots of pcie-root; eleven fill 0x08 to 0x1d (0x1f belongs to the chipset)."""
FIRST_PORT_SLOT = 0x08
"""Root ports sit on pcie-root from this slot on, eight to a slot; the slots below hold what every guest has."""


@dataclass(frozen=True, slots=True)
class PciAddress:
    bus: int
    slot: int
    function: int = 0
    multifunction: bool = False


@dataclass(frozen=True, slots=True)
class RootPort:
    """One hot-plug slot. `index` is also the number of the bus behind it."""

    index: int
    address: PciAddress


def disk_bus(slot: int) -> int:
    block, place = divmod(_checked(slot, DISKS_PER_BLOCK), DISKS_PER_BLOCK)
    return 1 + block * PORTS_PER_BLOCK + place


def nic_bus(slot: int) -> int:
    block, place = divmod(_checked(slot, NICS_PER_BLOCK), NICS_PER_BLOCK)
    return 1 + block * PORTS_PER_BLOCK + DISKS_PER_BLOCK + place


def root_ports(buses: set[int]) -> tuple[RootPort, ...]:
    """Whole blocks of ports, enough for `buses`, and one more when the last block's last place for a kind is taken:
    what is attached hot later finds a port."""
    last = max(buses | {1})
    blocks = (last - 1) // PORTS_PER_BLOCK + 1
    ends = {blocks * PORTS_PER_BLOCK, blocks * PORTS_PER_BLOCK - NICS_PER_BLOCK}
    if buses & ends and blocks < MAX_BLOCKS:
        blocks += 1
    ports = []
    for place in range(blocks * PORTS_PER_BLOCK):
        slot, function = divmod(place, 8)
        ports.append(RootPort(place + 1, PciAddress(0, FIRST_PORT_SLOT + slot, function, function == 0)))
    return tuple(ports)


def target_name(prefix: str, slot: int) -> str:
    """vda, vdb, … vdz, vdaa: libvirt's name for the disk in this slot; the guest does not see it."""
    letters = ""
    number = slot + 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return prefix + letters


def disk_alias(name: str) -> str:
    """`ua-` marks an alias as the user's: libvirt keeps it in the definition, and events carry it."""
    return f"ua-disk-{name}"


def nic_alias(name: str) -> str:
    return f"ua-nic-{name}"


def nic_name(alias: str) -> str:
    """The entry's name from an alias of ours, else ""."""
    return alias.removeprefix("ua-nic-") if alias.startswith("ua-nic-") else ""


def disk_name(alias: str) -> str:
    return alias.removeprefix("ua-disk-") if alias.startswith("ua-disk-") else ""


def slot_of_bus(bus: int) -> int | None:
    """The inverse of disk_bus and nic_bus; None for a bus that is not one of our ports."""
    if bus < 1:
        return None
    block, place = divmod(bus - 1, PORTS_PER_BLOCK)
    if place < DISKS_PER_BLOCK:
        return block * DISKS_PER_BLOCK + place
    return block * NICS_PER_BLOCK + place - DISKS_PER_BLOCK


def _checked(slot: int, per_block: int) -> int:
    if not 0 <= slot < MAX_BLOCKS * per_block:
        raise Invalid(f"slot {slot} is outside 0 to {MAX_BLOCKS * per_block - 1}")
    return slot
