"""A small cloud in virtual time for each test, and the server of its images."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drivers.images import ImageServer
from tests.model.searching import quietly
from tests.model.world import World


@pytest.fixture
def world(images: ImageServer, tmp_path: Path) -> Iterator[World]:
    """Its operator runs, and nothing is in it but its infrastructure, Network `lan` and Template `tiny`."""
    made = World(tmp_path, images, 1)
    with quietly(), made.clock.rules():
        made.begin()
        yield made
        made.end()
