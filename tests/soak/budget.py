"""How long the long runs may take: $SOAK_SECONDS in all (.ci/run sets it); unset, each takes as long as it wants.

Imported by the conftest of every folder that `make soak` runs: a test that does not fit any more is skipped and says so.
Tests that take minutes say how many with `@pytest.mark.takes(seconds)`.
"""

import os
import time

import pytest

LIMIT = float(os.environ.get("SOAK_SECONDS", "inf"))
BEGUN = time.monotonic()
SHARE = 22
"""Of all the time a run that could go on for ever takes this part."""


def seconds(wanted: float) -> float:
    """How long a run that has no end of its own lasts here."""
    return min(wanted, LIMIT / SHARE)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    marker = item.get_closest_marker("takes")
    needs = float(marker.args[0]) if marker else 0.0
    left = LIMIT - (time.monotonic() - BEGUN)
    if needs > left:
        pytest.skip(f"takes {needs:.0f} s, and of the {LIMIT:.0f} s for long runs {max(left, 0.0):.0f} are left")


__all__ = ["pytest_runtest_setup", "seconds"]
