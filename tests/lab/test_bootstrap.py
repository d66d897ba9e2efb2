"""The set-up says nothing and changes nothing when everything is there, as it is whenever tests run."""

import subprocess
from pathlib import Path

from lab import programs

CHECKOUT = Path(__file__).resolve().parents[2]


def test_bootstrap_is_silent_when_nothing_is_missing() -> None:
    done = subprocess.run([CHECKOUT / "lab/bootstrap.sh"], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout + done.stderr == ""


def test_every_program_has_a_cache_folder_named_after_its_go_sum() -> None:
    folder = programs.binaries()
    assert folder.parent == programs.cache_root()
    assert {program.name for program in programs.CONTROL_PLANE} <= {path.name for path in folder.iterdir()}
    assert programs.binaries(programs.HELM_MODULE) != folder


def test_an_unknown_option_is_refused() -> None:
    done = subprocess.run(
        [CHECKOUT / "lab/bootstrap.sh", "--all"], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 2
    assert "unknown option --all" in done.stderr
