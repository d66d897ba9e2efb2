"""The lab's small guest: boots from its template by both firmwares, takes its seed, answers, and ends when asked."""

import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.guest import template
from lab.machines import Host, Machines

Until = Callable[[Callable[[], bool], str], None]
NAME = "guest-1"
MAC = "02:00:00:00:00:60"
ROOT = Path(template.__file__).with_name("root")
FIRMWARE = {
    "BIOS": "<os><type machine='q35'>hvm</type></os>",
    "UEFI": "<os firmware='efi'><type machine='q35'>hvm</type>"
    "<firmware><feature enabled='no' name='secure-boot'/></firmware></os>",
}


def domain(firmware: str) -> str:
    disk = "<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/><source file='/mnt/g/root'/>"
    disk += "<target dev='vda' bus='virtio'/><serial>root</serial><boot order='1'/></disk>"
    disk += "<controller type='scsi' model='virtio-scsi'/><disk type='file' device='cdrom'><source file='/mnt/g/seed'/>"
    disk += "<target dev='sda' bus='scsi'/><readonly/></disk>"
    nic = (
        f"<interface type='bridge'><mac address='{MAC}'/><source bridge='br-guest'/><model type='virtio'/></interface>"
    )
    agent = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
    console = "<serial type='file'><source path='/var/log/console'/></serial>"
    ports = "<controller type='pci' model='pcie-root'/>" + "<controller type='pci' model='pcie-root-port'/>" * 10
    return (
        f"<domain type='qemu'><name>{NAME}</name><memory unit='MiB'>192</memory>{FIRMWARE[firmware]}"
        f"<features><acpi/></features><devices>{ports}{disk}{nic}{agent}{console}</devices></domain>"
    )


def seed(machines: Machines, network: str) -> None:
    folder = machines.state_dir / "nfs/primary"
    work = folder / "seed.d"
    work.mkdir()
    (work / "meta-data").write_text("instance-id: one\nlocal-hostname: web-1\n")
    (work / "user-data").write_text("#!/bin/sh\necho user data of $(hostname)\n")
    (work / "network-config").write_text(network)
    argv = ["genisoimage", "-quiet", "-V", "cidata", "-J", "-r", "-o", str(folder / "seed"), str(work)]
    subprocess.run(argv, check=True)
    shutil.rmtree(work)


@pytest.fixture
def host(machines: Machines) -> Iterator[Host]:
    """A host with the pool `g` mounted and a root disk over the template in it."""
    host = machines.hosts[0]
    (machines.logs(host) / "console").unlink(missing_ok=True)
    folder = machines.state_dir / "nfs/primary"
    shutil.copyfile(machines.web.folder / template.FILE_NAME, folder / "template")
    source = f"<host name='{machines.nfs.address}'/><dir path='/primary'/><format type='nfs'/>"
    pool = f"<pool type='netfs'><name>g</name><source>{source}</source><target><path>/mnt/g</path></target></pool>"
    host.exec(["mkdir", "-p", "/mnt/g"])
    host.exec(["virsh", "pool-create", "/dev/stdin"], text=pool)
    host.exec(["qemu-img", "create", "-q", "-f", "qcow2", "-b", "template", "-F", "qcow2", "/mnt/g/root", "1G"])
    yield host
    host.exec(["virsh", "destroy", NAME], check=False)
    host.exec(["virsh", "undefine", NAME, "--nvram"], check=False)
    host.exec(["virsh", "pool-destroy", "g"])
    for path in folder.iterdir():
        path.unlink()


def start(host: Host, firmware: str = "BIOS") -> None:
    host.exec(["virsh", "define", "/dev/stdin"], text=domain(firmware))
    host.exec(["virsh", "start", NAME])


def console(machines: Machines, host: Host) -> str:
    path = machines.logs(host) / "console"
    return path.read_text(errors="replace") if path.exists() else ""


def asked(address: str, command: str | None = None) -> str:
    """What the guest's web server says, or the output of a command there; empty while it does not answer."""
    url = f"http://{address}/" + ("cgi-bin/run" if command else "")
    try:
        with urllib.request.urlopen(url, data=command.encode() if command else None, timeout=5) as reply:
            return str(reply.read().decode()).strip()
    except (OSError, urllib.error.URLError):
        return ""


def state(host: Host) -> str:
    return host.exec(["virsh", "domstate", NAME]).stdout.strip()


def test_a_guest_takes_name_address_and_disks_and_keeps_its_disk_over_a_restart(
    machines: Machines, host: Host, until: Until
) -> None:
    address = f"{machines.guest_prefix}60"
    seed(
        machines,
        f"version: 2\nethernets:\n  lan:\n    match: {{macaddress: '{MAC}'}}\n    addresses: [{address}/24]\n"
        f"    routes:\n    - {{to: default, via: {machines.guest_prefix}1}}\n"
        f"    nameservers: {{addresses: [{machines.guest_prefix}1]}}\n",
    )
    start(host)
    until(lambda: asked(address) == "web-1", "HTTP from the guest's static address")
    until(lambda: "ready web-1 boots=1 up=" in console(machines, host), "the line on its console")
    assert "user data of web-1" in console(machines, host)
    assert f"default via {machines.guest_prefix}1" in asked(address, "ip route")
    assert asked(address, "cat /etc/resolv.conf") == f"nameserver {machines.guest_prefix}1"

    host.exec(["qemu-img", "create", "-q", "-f", "raw", "/mnt/g/data", "16M"])
    disk = "<disk type='file' device='disk'><source file='/mnt/g/data'/><target dev='vdb' bus='virtio'/>"
    disk += "<serial>data</serial></disk>"
    host.exec(["virsh", "attach-device", NAME, "/dev/stdin", "--persistent"], text=disk)
    by_id = "/dev/disk/by-id/virtio-data"
    until(lambda: asked(address, f"ls {by_id}") == by_id, "the hot-plugged disk")
    asked(
        address,
        f"mke2fs {by_id}; mkdir -p /mnt; mount {by_id} /mnt; echo kept >/mnt/file; umount /mnt",
    )

    until(
        lambda: (
            host.exec(["virsh", "qemu-agent-command", NAME, '{"execute":"guest-ping"}'], check=False).returncode == 0
        ),
        "the guest agent",
    )
    host.exec(["virsh", "shutdown", NAME, "--mode", "acpi"])
    until(lambda: state(host) == "shut off", "the guest's own end after the power button")
    host.exec(["virsh", "start", NAME])
    until(lambda: "ready web-1 boots=2 up=" in console(machines, host), "the second boot")
    assert asked(address, f"mkdir -p /mnt; mount {by_id} /mnt; cat /mnt/file").endswith("kept")


def test_a_guest_boots_by_uefi_and_asks_the_wire_for_an_address(machines: Machines, host: Host, until: Until) -> None:
    seed(machines, f"version: 2\nethernets:\n  lan:\n    match: {{macaddress: '{MAC}'}}\n    dhcp4: true\n")
    start(host, "UEFI")
    until(lambda: "ready web-1 boots=1 up=" in console(machines, host), "the line on its console")
    lines = [line.split() for line in console(machines, host).splitlines() if line.startswith("address eth0")]
    (address,) = [words[2].partition("/")[0] for words in lines if ":" not in words[2]]
    assert address.startswith(machines.guest_prefix)
    assert 20 <= int(address.rpartition(".")[2]) <= 40
    assert asked(address, "ls -d /sys/firmware/efi") == "/sys/firmware/efi"


def test_the_image_is_the_same_bytes_for_the_same_packages(tmp_path: Path) -> None:
    built = template.build()
    assert template.build_again(tmp_path).sha256 == built.sha256


FLAT = {
    "block style": ("a:\n  b: 1\n  c:\n  - x\n  - y: 2\n    z: 3\nd: e\n", "a/b=1 a/c/0=x a/c/1/y=2 a/c/1/z=3 d=e"),
    "flow style": ("a: {b: [1, {c: 2}], d: 'e f'}\n", "a/b/0=1 a/b/1/c=2 a/d=e f"),
    "JSON over lines": ('{"a": {"b": [\n"x:y", true],\n "c": null}}\n', "a/b/0=x:y a/b/1=true a/c=null"),
    "comments and quotes": ('# no\na: "x # y" # no\nb: it\'s\n', "a=x # y b=it's"),
    "lists of lists and colons": (
        "m: 02:00:00:00:00:01\nr:\n- [sh, -c, 'a b']\n",
        "m=02:00:00:00:00:01 r/0/0=sh r/0/1=-c r/0/2=a b",
    ),
}


@pytest.mark.parametrize("name", FLAT)
def test_the_guest_reads_the_yaml_of_seeds(name: str, tmp_path: Path) -> None:
    text, flat = FLAT[name]
    path = tmp_path / "in"
    path.write_text(text)
    done = subprocess.run(["busybox", "awk", "-f", str(ROOT / "yaml.awk"), str(path)], capture_output=True, text=True)
    assert done.stdout.split("\n")[:-1] == split(flat)


def split(flat: str) -> list[str]:
    """The expected lines, which are separated by a space before each PATH=."""
    lines: list[str] = []
    for word in flat.split(" "):
        if "=" in word:
            lines.append(word)
        else:
            lines[-1] += " " + word
    return lines
