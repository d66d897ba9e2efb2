"""The XML of each kind of guest, pool and volume, byte for byte, and judged by libvirt's own RNG schemas.

After a wanted change: `REGENERATE_XML=1 python -m pytest tests/drivers/kvm/test_golden_xml.py`, and review the diff.
"""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from drivers.base import InstanceDefinition, IOLimits, LocalSource, NFSSource
from drivers.kvm.domain_read import read_domain
from drivers.kvm.domain_xml import build
from drivers.kvm.pool_xml import pool_element, volume_element
from drivers.kvm.xml import Element, to_text
from tests.drivers.kvm.definitions import FULL, KVM, LAN, MARK, ROOT, SECURE, SEED, SMALL, TCG, VOLUME, path_of, pool

GOLDEN = Path(__file__).parent.parent / "xml"
SCHEMAS = Path("/usr/share/libvirt/schemas")
DOMAINS = {
    "domain-kvm-bios": (SMALL, KVM),
    "domain-tcg-bios": (SMALL, TCG),
    "domain-kvm-uefi-full": (FULL, KVM),
    "domain-kvm-uefi-secure": (SECURE, KVM),
}

OTHERS: dict[str, tuple[Element, str]] = {
    "pool-nfs": (
        pool_element(pool(NFSSource(server="10.90.0.2", path="/primary", options=("vers=4.1",)))),
        "storagepool.rng",
    ),
    "pool-local": (pool_element(pool(LocalSource(path="/var/lib/stratiform"))), "storagepool.rng"),
    "volume-blank": (volume_element(VOLUME, capacity=20 << 30, image_format="qcow2"), "storagevol.rng"),
    "volume-raw": (volume_element(VOLUME, capacity=4096, image_format="raw", allocation=4096), "storagevol.rng"),
}


def compare(name: str, node: Element) -> None:
    golden, text = GOLDEN / f"{name}.xml", to_text(node)
    if os.environ.get("REGENERATE_XML"):
        golden.write_text(text)
    assert golden.exists(), f"{golden} is missing; REGENERATE_XML=1 writes it"
    assert text == golden.read_text()


def validate(node: Element, schema: str) -> None:
    if not SCHEMAS.is_dir():
        pytest.skip(f"libvirt's schemas are not in {SCHEMAS}")
    rules = etree.RelaxNG(file=str(SCHEMAS / schema))
    assert rules.validate(etree.fromstring(to_text(node))), rules.error_log


@pytest.mark.parametrize("name", DOMAINS)
def test_a_domain_is_as_reviewed(name: str) -> None:
    wanted, platform = DOMAINS[name]
    compare(name, build(wanted, wanted.title, platform, path_of))


@pytest.mark.parametrize("name", DOMAINS)
def test_libvirts_schema_accepts_a_domain(name: str) -> None:
    wanted, platform = DOMAINS[name]
    validate(build(wanted, wanted.title, platform, path_of), "domain.rng")


@pytest.mark.parametrize("name", OTHERS)
def test_a_pool_or_volume_is_as_reviewed_and_accepted(name: str) -> None:
    node, schema = OTHERS[name]
    compare(name, node)
    validate(node, schema)


def test_a_thin_clone_names_its_base_relatively() -> None:
    def clone(base: str) -> Element:
        return volume_element(VOLUME, capacity=20 << 30, image_format="qcow2", base=base)

    compare("volume-clone", clone("b-1"))
    # The schema wants an absolute path; libvirt takes a relative one, and the contract suite shows that it resolves.
    validate(clone("/b-1"), "storagevol.rng")


@pytest.mark.parametrize("name", DOMAINS)
def test_what_is_written_is_read_back(name: str) -> None:
    wanted, platform = DOMAINS[name]
    read = read_domain(build(wanted, wanted.title, platform, path_of))
    assert read.mark.mark == wanted.mark
    assert (read.uuid, read.name, read.cpus, read.memory) == (MARK.uuid, wanted.title, wanted.cpus, wanted.memory)
    seen = {d.seen.name: (d.seen.disk, d.seen.device, d.seen.slot) for d in read.disks}
    assert seen == {d.name: (d.disk, d.device, d.slot) for d in wanted.disks} | {"seed": (SEED.disk, "cdrom", None)}
    assert {(n.seen.name, n.seen.mac, n.seen.slot) for n in read.nics} == {(n.name, n.mac, n.slot) for n in wanted.nics}


def test_the_digest_tells_a_change_and_not_a_mark() -> None:
    def digest(wanted: InstanceDefinition) -> str:
        return read_domain(build(wanted, wanted.title, KVM, path_of)).digest

    assert digest(SMALL) == digest(replace(SMALL, mark=replace(MARK, run_count=9)))
    different = [
        replace(SMALL, memory=1 << 30),
        replace(SMALL, max_cpus=2),
        replace(SMALL, disks=(replace(ROOT, limits=IOLimits(read_iops=1)),)),
        replace(SMALL, nics=(replace(LAN, uplink="br-other"),)),
        replace(SMALL, seed_disk=None),
    ]
    assert len({digest(SMALL), *(digest(each) for each in different)}) == 1 + len(different)
