"""Import of a template's bytes on every driver: what is refused, and that a refusal leaves nothing behind."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from drivers.base import DiskDefinition, EndPoint, ImageSource, PoolDefinition, Progress
from drivers.errors import BadImage, DriverError, Invalid
from drivers.marks import DiskState
from tests.drivers.backend import Backend
from tests.drivers.builders import disk_definition, new_uuid
from tests.drivers.images import MIB, ImageServer, qcow2


def base_image() -> DiskDefinition:
    return disk_definition(size=8 * MIB, kind="Template")


def ignore(done: Progress) -> None:
    return


def test_a_verified_image_becomes_a_ready_disk(endpoint: EndPoint, pool: PoolDefinition, images: ImageServer) -> None:
    body = qcow2(8 * MIB)
    told: list[Progress] = []
    wanted = base_image()
    facts = endpoint.storage.import_image(pool, wanted, images.put(body), told.append)
    assert facts.mark is not None
    assert (facts.mark.state, facts.size, facts.exists) == (DiskState.READY, 8 * MIB, True)
    assert told[-1] == Progress(bytes=len(body), total=len(body))
    assert endpoint.storage.observe_disk(pool, wanted.disk) == facts


def test_a_raw_image_is_imported(endpoint: EndPoint, pool: PoolDefinition, images: ImageServer) -> None:
    wanted = base_image()
    wanted = replace(wanted, format="raw", mark=replace(wanted.mark, format="raw"))
    facts = endpoint.storage.import_image(pool, wanted, images.put(b"\x55\xaa" * MIB, declared="raw"), ignore)
    assert facts.size == 2 * MIB


def test_an_image_that_is_there_is_not_fetched_again(
    endpoint: EndPoint, pool: PoolDefinition, images: ImageServer
) -> None:
    wanted = base_image()
    first = endpoint.storage.import_image(pool, wanted, images.put(qcow2()), ignore)
    assert endpoint.storage.import_image(pool, wanted, images.missing(), ignore) == first


BAD: dict[str, Callable[[ImageServer], ImageSource]] = {
    "a wrong checksum": lambda images: images.put(qcow2(), checksum="sha256:" + "0" * 64),
    "qcow2 declared as raw": lambda images: images.put(qcow2(), declared="raw"),
    "raw declared as qcow2": lambda images: images.put(b"\x55\xaa" * MIB),
    "more bytes than allowed": lambda images: images.put(qcow2(), max_bytes=1000),
    "a virtual size beyond the bound": lambda images: images.put(qcow2(1 << 40)),
    "a backing file": lambda images: images.put(qcow2(backing=b"/etc/passwd")),
    "a backing over the network": lambda images: images.put(qcow2(backing=b"nbd://10.0.0.1/x")),
    "an external data file": lambda images: images.put(qcow2(external_data=True)),
    "a torn header": lambda images: images.put(b"QFI\xfb\0\0\0\3"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_image_is_refused_and_leaves_nothing(
    backend: Backend, endpoint: EndPoint, pool: PoolDefinition, images: ImageServer, what: str
) -> None:
    with pytest.raises(BadImage):
        endpoint.storage.import_image(pool, base_image(), BAD[what](images), ignore)
    assert backend.files(pool) == set()


def test_a_missing_image_is_refused_and_leaves_nothing(
    backend: Backend, endpoint: EndPoint, pool: PoolDefinition, images: ImageServer
) -> None:
    with pytest.raises(DriverError):
        endpoint.storage.import_image(pool, base_image(), images.missing(), ignore)
    assert backend.files(pool) == set()


def test_a_loopback_source_that_is_not_allowed_is_refused(
    backend: Backend, endpoint: EndPoint, pool: PoolDefinition, images: ImageServer
) -> None:
    source = replace(images.put(qcow2()), allowed_cidrs=())
    with pytest.raises(Invalid):
        endpoint.storage.import_image(pool, base_image(), source, ignore)
    assert backend.files(pool) == set()


def test_giving_up_in_the_middle_leaves_nothing(
    backend: Backend, endpoint: EndPoint, pool: PoolDefinition, images: ImageServer
) -> None:
    class GivenUp(Exception):
        pass

    def give_up(done: Progress) -> None:
        raise GivenUp

    with pytest.raises(GivenUp):
        endpoint.storage.import_image(pool, base_image(), images.put(qcow2()), give_up)
    assert backend.files(pool) == set()


def test_m2_an_image_torn_by_a_crash_is_creating_and_made_anew(
    endpoint: EndPoint, pool: PoolDefinition, images: ImageServer
) -> None:
    wanted = base_image()
    endpoint.storage.import_image(pool, wanted, images.put(qcow2()), ignore)
    endpoint.storage.write_disk_mark(pool, wanted.disk, replace(wanted.mark, state=DiskState.CREATING))
    facts = endpoint.storage.import_image(pool, wanted, images.put(qcow2(16 * MIB)), ignore)
    assert facts.mark is not None
    assert (facts.mark.state, facts.size) == (DiskState.READY, 16 * MIB)


def test_a_template_is_copied_from_its_image_store_to_a_pool(
    backend: Backend, endpoint: EndPoint, pool: PoolDefinition, images: ImageServer
) -> None:
    store = backend.pool(new_uuid())
    endpoint.storage.connect_pool(store)
    origin = endpoint.storage.import_image(store, base_image(), images.put(qcow2()), ignore)
    wanted = base_image()
    copy = endpoint.storage.copy_image(store, origin.disk, pool, wanted)
    assert copy.mark is not None
    assert (copy.mark.state, copy.size) == (DiskState.READY, origin.size)
    assert endpoint.storage.copy_image(store, origin.disk, pool, wanted) == copy


def test_a_copy_of_an_image_that_is_not_there_is_invalid(
    backend: Backend, endpoint: EndPoint, pool: PoolDefinition
) -> None:
    store = backend.pool(new_uuid())
    endpoint.storage.connect_pool(store)
    with pytest.raises(Invalid):
        endpoint.storage.copy_image(store, f"{new_uuid()}-1", pool, base_image())
    assert backend.files(pool) == set()
