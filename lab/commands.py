"""Runs commands of this machine that end soon. Called by lab.machines and lab.guest."""

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.errors import LabError


def run(
    argv: Sequence[str], text: str | None = None, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> str:
    """Run a command to its end, `text` as its input, and return its output. LabError with its message if it fails."""
    try:
        done = subprocess.run(argv, input=text or "", capture_output=True, text=True, check=False, env=env, cwd=cwd)
    except OSError as error:
        raise LabError(f"{argv[0]} cannot be run: {error.strerror}; `make demo` installs what the lab needs") from None
    if done.returncode != 0:
        what = shlex.join(argv) + (f"\n{text}" if text else "")
        raise LabError(f"{what}: {done.stderr.strip() or done.stdout.strip() or f'exit code {done.returncode}'}")
    return done.stdout
