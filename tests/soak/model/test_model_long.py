"""The model's machine for as long as there is time: other sequences each time, longer ones, one seed after the other.

STRATIFORM_SEED=<number> begins with that seed: it replays the round that failed, which was printed, with its sequence
of steps as a program.
"""

import time
from collections.abc import Iterator

import pytest

from tests.drivers.images import ImageServer
from tests.kills.recording import seed
from tests.model.searching import quietly, search
from tests.soak.budget import seconds

SECONDS = seconds(480.0)
EXAMPLES, STEPS = 20, 60


@pytest.fixture
def images() -> Iterator[ImageServer]:
    server = ImageServer()
    with quietly():
        yield server
    server.close()


@pytest.mark.takes(SECONDS + 120)
@pytest.mark.timeout(1800)
def test_whatever_happens_for_minutes_invariants_hold_and_all_comes_to_rest_as_declared(images: ImageServer) -> None:
    end, number = time.monotonic() + SECONDS, seed()
    while time.monotonic() < end:
        print(f"STRATIFORM_SEED={number}")
        print(search(images, examples=EXAMPLES, steps=STEPS, number=number))
        number += 1
