"""Long runs. $SOAK_SECONDS bounds them: a test that would begin after that is skipped and says so (.ci/run sets it)."""

import os
import time

import pytest

BUDGET = float(os.environ.get("SOAK_SECONDS", "inf"))
BEGUN = time.monotonic()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if time.monotonic() - BEGUN > BUDGET:
        pytest.skip(f"the {BUDGET:.0f} s for long runs are over")
