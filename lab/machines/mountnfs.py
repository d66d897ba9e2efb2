"""Builds the lab's own mount.nfs, for kernels without an NFS client. Called by `lab.py` before hosts start."""

import hashlib
import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path

from lab.commands import run
from lab.layout import locked
from lab.programs import cache_root

_SOURCES = Path(__file__).with_name("mount_nfs")
_FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra"]
_LIBRARIES = ["fuse3", "libnfs"]


def build(say: Callable[[str], None]) -> Path:
    """Path of the program, built with gcc unless it is in the cache. Idempotent; blocks about 2 s; LabError."""
    sources = sorted(_SOURCES.glob("*.[ch]"))
    content = b"".join(source.read_bytes() for source in sources)
    key = hashlib.sha256(content + " ".join(_FLAGS + _LIBRARIES).encode()).hexdigest()[:16]
    program = cache_root() / f"mount.nfs-{key}"
    with locked("mount.nfs"):
        if program.exists():
            return program
        began = time.monotonic()
        program.parent.mkdir(parents=True, exist_ok=True)
        draft = program.with_name(f"{program.name}.{os.getpid()}")
        libraries = shlex.split(run(["pkg-config", "--cflags", "--libs", *_LIBRARIES]))
        run(
            [
                "gcc",
                *_FLAGS,
                "-o",
                str(draft),
                *(str(source) for source in sources if source.suffix == ".c"),
                *libraries,
            ]
        )
        draft.chmod(0o755)
        draft.replace(program)
        say(f"built mount.nfs in {time.monotonic() - began:.1f} s")
    return program
