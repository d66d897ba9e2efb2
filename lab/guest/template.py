"""Builds the disk image of the lab's guest: a Debian kernel and one initramfs on a FAT partition, 5 s to boot.

Called by `lab.machines` at `up`. The same Debian packages give the same bytes: examples/ carries the checksum. It boots
by BIOS (MBR, syslinux) and by UEFI (systemd-boot on the same partition). Needs no root and no loop device.
"""

import hashlib
import json
import os
import re
import shutil
import struct
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.commands import run
from lab.errors import LabError
from lab.guest import packages
from lab.guest.cpio import Archive
from lab.guest.packages import Package
from lab.layout import locked
from lab.programs import cache_root

FILE_NAME = "guest.qcow2"
Say = Callable[[str], None]

_ROOT = Path(__file__).with_name("root")
_BUSYBOX = Path("/bin/busybox")
_MBR = Path("/usr/lib/syslinux/mbr/mbr.bin")
_LIBRARIES = Path("/lib/x86_64-linux-gnu")
_APT_LISTS = Path("/var/lib/apt/lists")
_SECTOR = 512
_DISK_BYTES = 64 << 20
_FIRST_SECTOR = 2048
_SIGNATURE = b"STRA"  # root/guest finds its boot disk by it.
_EPOCH = 1_700_000_000
_KERNEL_LINE = (
    "console=ttyS0,115200 panic=5 mitigations=off random.trust_cpu=on net.ifnames=0 no_timer_check loglevel=6"
)
_MODULES = (
    *("virtio_pci", "virtio_blk", "virtio_net", "virtio_scsi", "virtio_console", "virtio_balloon", "virtio-rng"),
    *("sd_mod", "sr_mod", "isofs", "vfat", "nls_cp437", "nls_ascii", "nls_iso8859-1", "nls_utf8", "efivarfs"),
    *("button", "evdev", "pvpanic-pci", "pvpanic-mmio", "i6300esb"),
)
_BOOT_FILES = {
    "syslinux.cfg": "SERIAL 0 115200\nDEFAULT guest\nPROMPT 0\nTIMEOUT 0\n"
    f"LABEL guest\n  LINUX /vmlinuz\n  INITRD /initrd\n  APPEND {_KERNEL_LINE}\n",
    "loader/loader.conf": "default guest.conf\ntimeout 0\n",
    "loader/entries/guest.conf": f"title guest\nlinux /vmlinuz\ninitrd /initrd\noptions {_KERNEL_LINE}\n",
}
_PACKAGES = ("qemu-guest-agent", "systemd-boot-efi")  # And the kernel, whose name changes.
# Where each file of root/ goes in the guest.
_PLACES = {
    "init": "init",
    "guest": "lib/guest",
    "yaml.awk": "lib/yaml.awk",
    "hotplug": "etc/hotplug",
    "udhcpc": "etc/udhcpc",
    "shutdown": "sbin/shutdown",
    "run.cgi": "www/cgi-bin/run",
}


@dataclass(frozen=True)
class Template:
    """A built image and the checksum of its bytes, in hexadecimal."""

    path: Path
    sha256: str


def build(say: Say = lambda text: None) -> Template:
    """The image for the packages apt offers now, from the cache or built. Idempotent; blocks 5 to 10 s; LabError."""
    with locked("template"):
        folder = cache_root() / "guest"
        folder.mkdir(parents=True, exist_ok=True)
        chosen = _choose(folder)
        key = _key(chosen)
        done = folder / f"{key}.qcow2"
        checksum = folder / f"{key}.sha256"
        if not checksum.exists():
            began = time.monotonic()
            say("building the guest's disk image (Debian kernel, busybox, guest agent)")
            with tempfile.TemporaryDirectory(dir=folder) as work:
                built = _build(chosen, folder / "packages", Path(work))
                built.replace(done)
            checksum.write_text(hashlib.sha256(done.read_bytes()).hexdigest() + "\n")
            say(f"built the guest's disk image in {time.monotonic() - began:.1f} s")
        return Template(done, checksum.read_text().strip())


def build_again(folder: Path) -> Template:
    """Build in `folder`, past the cache: shows that the same packages give the same bytes."""
    store = cache_root() / "guest"
    built = _build(_choose(store), store / "packages", folder)
    return Template(built, hashlib.sha256(built.read_bytes()).hexdigest())


# -- what goes in -----------------------------------------------------------------------------------------------------


def _choose(folder: Path) -> list[Package]:
    """What apt offers; while its lists are those of the last time, or without lists, what it offered then."""
    last = folder / "packages.json"
    kept = _kept(last)
    if kept and last.stat().st_mtime > _APT_LISTS.stat().st_mtime:
        return kept
    try:
        kernel = packages.dependency("linux-image-cloud-amd64", r"linux-image-\S+-cloud-amd64")
        chosen = packages.resolve([kernel, *_PACKAGES])
    except LabError:
        if not kept:
            raise
        return kept
    last.write_text(json.dumps([vars(package) for package in chosen]) + "\n")
    return chosen


def _kept(last: Path) -> list[Package]:
    """What was chosen the last time; nothing when that was for an image made from other packages."""
    kept = [Package(**values) for values in json.loads(last.read_text())] if last.exists() else []
    return kept if set(_PACKAGES) <= {package.name for package in kept} else []


def _key(chosen: list[Package]) -> str:
    """A name for everything the image is made from: packages, files of this machine, our own sources."""
    digest = hashlib.sha256(repr(chosen).encode())
    own = [*sorted(_ROOT.iterdir()), *sorted(Path(__file__).parent.glob("*.py"))]
    for path in [
        *own,
        _BUSYBOX,
        _MBR,
        Path("/usr/bin/syslinux"),
        Path("/usr/bin/mtools"),
        *_agent_libraries(),
    ]:
        if not path.exists():
            raise LabError(f"{path} is missing; `make demo` installs what the lab needs")
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _agent_libraries() -> list[Path]:
    """Every library that qemu-ga of Debian 12 needs; `_check_libraries` says if that ever changes."""
    names = "libudev.so.1 libnuma.so.1 liburing.so.2 libglib-2.0.so.0 libgmodule-2.0.so.0 libm.so.6 libc.so.6"
    return [_LIBRARIES / name for name in [*names.split(), "libpcre2-8.so.0"]] + [Path("/lib64/ld-linux-x86-64.so.2")]


# -- making it --------------------------------------------------------------------------------------------------------


def _build(chosen: list[Package], store: Path, work: Path) -> Path:
    unpacked = work / "packages"
    packages.unpack(chosen, store, unpacked)
    (kernel,) = (unpacked / "boot").glob("vmlinuz-*")
    content = work / "content"
    content.mkdir()
    shutil.copyfile(kernel, content / "vmlinuz")
    raw = work / "initrd"
    raw.write_bytes(_initramfs(unpacked))
    run(["gzip", "-9n", str(raw)])
    (work / "initrd.gz").rename(content / "initrd")
    return _disk(content, unpacked, work)


def _initramfs(unpacked: Path) -> bytes:
    archive = Archive()
    for folder in ("bin", "sbin", "dev", "etc", "lib64", "proc", "run", "seed", "sys", "tmp", "root", "usr"):
        archive.folder(folder)
    archive.character_device("dev/console", 5, 1)
    archive.file("bin/busybox", _BUSYBOX.read_bytes(), 0o755)
    for name in run([str(_BUSYBOX), "--list"]).split():
        if name not in ("busybox", "init"):
            archive.link(f"bin/{name}", "busybox")
    for name, place in _PLACES.items():
        archive.file(place, (_ROOT / name).read_bytes(), 0o755)
    archive.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    archive.file("etc/group", b"root:x:0:\n")
    archive.file("etc/os-release", b'ID=stratiform-guest\nNAME="Stratiform lab guest"\nVERSION_ID=1\n')
    archive.link("usr/sbin", "/sbin")
    archive.link("usr/bin", "/bin")
    agent = unpacked / "usr/sbin/qemu-ga"
    _check_libraries(agent)
    archive.file("bin/qemu-ga", agent.read_bytes(), 0o755)
    for library in _agent_libraries():
        archive.file(f"lib/x86_64-linux-gnu/{library.name}", library.read_bytes(), 0o755)
    archive.link("lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
    _add_modules(archive, unpacked)
    return archive.finish()


def _check_libraries(program: Path) -> None:
    needed = {line.split()[0].rpartition("/")[2] for line in run(["ldd", str(program)]).splitlines()}
    missing = needed - {library.name for library in _agent_libraries()} - {"linux-vdso.so.1"}
    if missing:
        raise LabError(f"qemu-guest-agent of this Debian also needs {', '.join(sorted(missing))}; add it in {__file__}")


def _add_modules(archive: Archive, unpacked: Path) -> None:
    """The modules and what they need, with a list in the order of loading. What the kernel has built in is left out."""
    found = {_module_name(path.stem): path for path in (unpacked / "lib/modules").rglob("*.ko")}
    order: list[str] = []

    def add(name: str) -> None:
        if name in order or name not in found:
            return
        content = found[name].read_bytes()
        depends = re.search(rb"\0depends=([^\0]*)\0", content)
        for other in depends[1].decode().split(",") if depends and depends[1] else []:
            add(_module_name(other))
        order.append(name)
        archive.file(f"modules/{name}.ko", content)

    for module in _MODULES:
        add(_module_name(module))
    archive.file("modules/order", "".join(f"{name}\n" for name in order).encode())


def _module_name(name: str) -> str:
    return name.replace("-", "_")


def _disk(content: Path, unpacked: Path, work: Path) -> Path:
    """A partition table, one FAT16 partition with boot loaders for both firmwares, as qcow2."""
    raw = work / "disk.raw"
    with raw.open("wb") as disk:
        disk.truncate(_DISK_BYTES)
        disk.write(_partition_table())
    drive = f"{raw}@@{_FIRST_SECTOR * _SECTOR}"
    env = {**os.environ, "SOURCE_DATE_EPOCH": str(_EPOCH), "TZ": "UTC", "MTOOLS_SKIP_CHECK": "1", "LC_ALL": "C"}
    sectors = _DISK_BYTES // _SECTOR - _FIRST_SECTOR
    geometry = ["-h", "255", "-s", "63", "-T", str(sectors), "-H", str(_FIRST_SECTOR), "-N", "53545241"]
    run(["mformat", "-i", drive, *geometry, "-v", "STRATIFORM", "::"], env=env)
    run(["syslinux", "--install", "--offset", str(_FIRST_SECTOR * _SECTOR), str(raw)], env=env)
    for name, text in _BOOT_FILES.items():
        path = content / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (content / "EFI/BOOT").mkdir(parents=True)
    shutil.copyfile(unpacked / "usr/lib/systemd/boot/efi/systemd-bootx64.efi", content / "EFI/BOOT/BOOTX64.EFI")
    for path in sorted(content.rglob("*")):
        os.utime(path, (_EPOCH, _EPOCH))
        place = f"::{path.relative_to(content)}"
        run(["mmd", "-i", drive, place] if path.is_dir() else ["mcopy", "-m", "-i", drive, str(path), place], env=env)
    image = work / "disk.qcow2"
    run(["qemu-img", "convert", "-m", "1", "-f", "raw", "-O", "qcow2", "-o", "compat=1.1", str(raw), str(image)])
    return image


def _partition_table() -> bytes:
    """An MBR with syslinux's boot code and one active EFI system partition to the disk's end."""
    sectors = _DISK_BYTES // _SECTOR - _FIRST_SECTOR
    anywhere = b"\xfe\xff\xff"  # Cylinders, heads and sectors mean nothing here.
    entry = struct.pack("<B3sB3sII", 0x80, anywhere, 0xEF, anywhere, _FIRST_SECTOR, sectors)
    code = _MBR.read_bytes()[:440].ljust(440, b"\0")
    return code + _SIGNATURE + b"\0\0" + entry + bytes(48) + b"\x55\xaa"
