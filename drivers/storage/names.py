"""The files of a pool: a disk, its mark and its companions (safety.md I4, M2, D5). Used by every back-end's storage."""

import re
from dataclasses import dataclass

CLAIM = ".stratiform-claim.json"
MARK, SEED, NVRAM, PART = ".json", ".seed", ".nvram", ".part"
COMPANIONS = (SEED, NVRAM, PART)
"""They live and die with their disk. `.part` is an image that is still arriving."""

_DISK = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}-[1-9][0-9]{0,8}")


def is_disk(name: str) -> bool:
    """Whether `name` is `<volume uuid>-<n>`."""
    return _DISK.fullmatch(name) is not None


def mark_of(disk: str) -> str:
    return disk + MARK


@dataclass(frozen=True, slots=True)
class Sorted:
    """The files of a pool, told apart by name alone."""

    disks: tuple[str, ...]
    """With a disk's name of ours; whether it is ours its mark says."""
    marks: tuple[str, ...]
    """Disk names that have a mark file."""
    foreign: tuple[str, ...]


def sort_names(names: list[str]) -> Sorted:
    disks, marked, foreign = [], [], []
    for name in sorted(names):
        stem, dot, end = name.rpartition(".")
        if is_disk(name):
            disks.append(name)
        elif dot and is_disk(stem) and dot + end == MARK:
            marked.append(stem)
        elif name != CLAIM and not (dot and is_disk(stem) and dot + end in COMPANIONS):
            foreign.append(name)
    return Sorted(tuple(disks), tuple(marked), tuple(foreign))
