"""Which CPU guests of a cluster see, and when that is known."""

from datetime import UTC, datetime

import pytest

from controllers.logic.hardware import cpu_known
from crds.hostcluster import BaselineCPU, HostClusterSpec, HostClusterStatus


@pytest.mark.parametrize(
    ("asked", "computed", "known"),
    [
        ({"mode": "Baseline"}, None, False),
        ({"mode": "Baseline"}, "Baseline", True),
        ({"mode": "Baseline"}, "HostPassthrough", False),  # What was kept from before the mode was changed.
        ({"mode": "HostPassthrough"}, None, True),
        ({"mode": "Named", "model": "EPYC"}, None, True),
    ],
)
def test_a_baseline_has_to_be_computed_before_a_first_start(
    asked: dict[str, str], computed: str | None, known: bool
) -> None:
    spec = HostClusterSpec.model_validate({"hostPodRef": {"name": "rack-1"}, "hypervisor": "KVM", "cpu": asked})
    kept = BaselineCPU(mode=computed, computed_at=datetime(2026, 1, 1, tzinfo=UTC)) if computed else None
    assert cpu_known(spec, HostClusterStatus(cpu=kept)) is known
