"""Memory that is free goes back to the system."""

import os

from controllers.engine import memory
from tests.bench.api import memory_of


def test_holes_in_the_heap_are_given_back() -> None:
    kept, size = [], 200_000_000
    blocks = [bytes(2000) for _ in range(size // 2000)]
    for at in range(0, len(blocks), 100):  # They hold the heap's end where it is.
        kept.append(blocks[at])
    del blocks
    before = memory_of(os.getpid())
    memory.give_back()
    assert before - memory_of(os.getpid()) > size / 2
    assert kept
