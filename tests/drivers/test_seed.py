"""The NoCloud image as others read it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from drivers.base import Seed
from drivers.storage.seed import ROUND, seed_image

SEED = Seed(meta_data="instance-id: i-1\n", user_data="#cloud-config\n" + "x" * 5000, network_config="version: 2\n")
FILES = {"meta-data": SEED.meta_data, "user-data": SEED.user_data, "network-config": SEED.network_config}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "seed.iso"
    path.write_bytes(seed_image(SEED))
    return path


def isoinfo(image: Path, *arguments: str) -> str:
    if shutil.which("isoinfo") is None:
        pytest.skip("isoinfo (genisoimage) is not installed")
    return subprocess.run(["isoinfo", "-i", str(image), *arguments], check=True, capture_output=True, text=True).stdout


def test_the_same_content_gives_the_same_bytes() -> None:
    assert seed_image(SEED) == seed_image(SEED)


def test_it_is_labelled_cidata(image: Path) -> None:
    assert "Volume id: cidata" in isoinfo(image, "-d")


@pytest.mark.parametrize("name", FILES)
def test_each_file_is_read_back_whole_under_its_long_name(image: Path, name: str) -> None:
    assert isoinfo(image, "-J", "-x", f"/{name}") == FILES[name]


def test_without_a_network_config_there_is_no_such_file(tmp_path: Path) -> None:
    path = tmp_path / "seed.iso"
    path.write_bytes(seed_image(Seed(meta_data="a", user_data="b", network_config="")))
    assert "network-config" not in isoinfo(path, "-J", "-f")


def test_its_size_is_whole_steps_so_that_small_changes_stay_in_place() -> None:
    assert len(seed_image(SEED)) == ROUND
    assert len(seed_image(Seed(meta_data="", user_data="y" * 100_000, network_config=""))) == 3 * ROUND


def test_it_is_in_no_repr() -> None:
    assert "cloud-config" not in repr(SEED)
