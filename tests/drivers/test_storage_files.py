"""Names, claims and sources that every back-end's storage shares."""

import pytest

from drivers.base import LocalSource, NFSSource
from drivers.errors import Invalid, WrongPool
from drivers.storage import claim as claims
from drivers.storage.claim import Claim
from drivers.storage.names import CLAIM, sort_names
from drivers.storage.sources import check_local, check_nfs, nfs_options

DISK = "0b2ad7e4-9c1c-4a86-8f55-2d9a7f3f5b10-1"
MINE = Claim(uuid="pool-1", installation="ours", name="nfs-1")


def test_a_pools_files_are_told_apart_by_name() -> None:
    names = [DISK, f"{DISK}.json", f"{DISK}.seed", f"{DISK}.nvram", f"{DISK}.part", CLAIM, "iso", "notes.json"]
    found = sort_names(names)
    assert found.disks == (DISK,)
    assert found.marks == (DISK,)
    assert found.foreign == ("iso", "notes.json")


def test_h3_a_claim_is_one_block_and_read_back() -> None:
    content = claims.encode(MINE)
    assert len(content) == claims.BYTES
    assert claims.decode(content) == MINE


def test_h3_an_empty_claim_is_not_written_yet() -> None:
    assert claims.decode(bytes(claims.BYTES)) is None
    assert claims.decode(b"") is None


@pytest.mark.parametrize("content", [b"{", b'{"stratiform": 99, "pool": "x"}', b'{"pool": "x"}', b"[]"])
def test_h3_an_unreadable_claim_is_held(content: bytes) -> None:
    with pytest.raises(WrongPool):
        claims.decode(content)


def test_h3_another_pools_claim_is_refused_and_named() -> None:
    with pytest.raises(WrongPool, match=r"pool-2 .*nfs-2"):
        claims.check(Claim(uuid="pool-2", installation="ours", name="nfs-2"), MINE, "10.0.0.1:/x")


def test_h3_a_rebuilt_cluster_takes_the_pool_of_its_uuid() -> None:
    claims.check(Claim(uuid="pool-1", installation="before", name="old-name"), MINE, "10.0.0.1:/x")


def test_our_mount_options_stand_back_for_the_users() -> None:
    assert nfs_options(NFSSource(server="s", path="/p")) == ("retry=0", "acdirmin=0", "acdirmax=1")
    mine = NFSSource(server="s", path="/p", options=("vers=4.1", "retry=2", "actimeo=5"))
    assert nfs_options(mine) == ("vers=4.1", "retry=2", "actimeo=5")


@pytest.mark.parametrize(
    "source",
    [
        NFSSource(server="", path="/p"),
        NFSSource(server="s; rm -rf", path="/p"),
        NFSSource(server="s", path="p"),
        NFSSource(server="s", path="/a/../b"),
        NFSSource(server="s", path="/p", options=("rw,exec",)),
    ],
)
def test_a_nonsensical_nfs_source_is_invalid(source: NFSSource) -> None:
    with pytest.raises(Invalid, match=r"nfs-1: nfs\."):
        check_nfs(source, "nfs-1")


def test_paths_are_normalised() -> None:
    assert check_nfs(NFSSource(server="10.0.0.1", path="//a//b/"), "nfs-1").path == "/a/b"
    assert check_local(LocalSource(path="/srv/pool/"), "local-1").path == "/srv/pool"
