"""Decisions are shown on a simulated cloud, as the kinds' tests have it; reading the API on the engine's small server."""

from tests.engine.conftest import server
from tests.kinds.conftest import cloud, faults

__all__ = ["cloud", "faults", "server"]
