"""The control plane of tests/kills, for the long runs."""

from tests.kills.conftest import plane, quiet_logs

__all__ = ["plane", "quiet_logs"]
