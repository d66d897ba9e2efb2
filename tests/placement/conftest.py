"""Decisions are shown on a simulated cloud, as the kinds' tests have it."""

from tests.kinds.conftest import cloud, faults

__all__ = ["cloud", "faults"]
