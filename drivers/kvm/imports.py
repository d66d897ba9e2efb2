"""A template's bytes into a pool (design.md §5). Called by `storage.py`.

The stream goes to `<disk>.part`, inspected before its first byte is written; only when size and checksum are right does
the host copy it to the disk's own name, in the wanted format. So nothing unverified ever lies under a final name, and
every base image is one that our own QEMU has written.
"""

from collections.abc import Callable
from typing import Any

from drivers import images
from drivers.base import DiskDefinition, DiskFacts, ImageSource, PoolDefinition, Progress
from drivers.errors import NoSpace
from drivers.kvm.disks import Disks, copy_volume, delete_volume
from drivers.kvm.pool_xml import volume_element
from drivers.kvm.volume_io import upload
from drivers.kvm.xml import to_text
from drivers.storage.names import PART


def import_image(
    disks: Disks,
    pool: PoolDefinition,
    wanted: DiskDefinition,
    source: ImageSource,
    progress: Callable[[Progress], None],
) -> DiskFacts:
    """See Storage.import_image."""

    def make(raw: Any, there: Any) -> int:
        with images.open_image(source, progress) as image:
            free = there.info()[3]
            if image.total > free:
                raise NoSpace(f"pool {pool.name}: {source.url} has {image.total} bytes, {free} are free")
            # Without a size of its own, so that the file ends where the image does.
            element = volume_element(wanted.disk + PART, capacity=0, image_format="raw", allocation=0)
            part = there.createXML(to_text(element), 0)
            upload(raw, part, image)
        disks.mounts.refresh(there)  # libvirt reads the arrived file's header, and knows its format for the copy.
        part = there.storageVolLookupByName(wanted.disk + PART)
        size = copy_volume(there, wanted, part)
        delete_volume(there, wanted.disk + PART)
        return size

    return disks.make(pool, wanted, "import image", make)
