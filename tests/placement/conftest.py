"""Decisions are shown on a simulated cloud, as the kinds' tests have it."""

from tests.kinds.conftest import cloud, faults, images

__all__ = ["cloud", "faults", "images"]
