"""The control plane and the cloud of tests/kills, for the long runs."""

from tests.kills.conftest import plane, quiet_logs, recorded, world

__all__ = ["plane", "quiet_logs", "recorded", "world"]
