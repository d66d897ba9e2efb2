"""Memory that is free goes back to the system."""

from pathlib import Path

from controllers.engine import memory


def resident() -> int:
    """Bytes of this process' own pages."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def test_holes_in_the_heap_are_given_back() -> None:
    kept, size = [], 200_000_000
    blocks = [bytes(2000) for _ in range(size // 2000)]
    for at in range(0, len(blocks), 100):  # They hold the heap's end where it is.
        kept.append(blocks[at])
    del blocks
    before = resident()
    memory.give_back()
    assert before - resident() > size / 2
    assert kept
