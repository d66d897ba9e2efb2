"""What the demo says of an object while it comes up."""

from typing import Any

import pytest

from lab.progress import view


def instance(**status: Any) -> dict[str, Any]:
    metadata = {"name": "web-1", "namespace": "team-a", "generation": 2}
    return {"apiVersion": "stratiform.dev/v1alpha1", "kind": "Instance", "metadata": metadata, "status": status}


def ready(status: str, reason: str) -> list[dict[str, str]]:
    return [
        {"type": "Synced", "status": "True", "reason": "Done"},
        {"type": "Ready", "status": status, "reason": reason},
    ]


@pytest.mark.parametrize(
    ("given", "line", "current"),
    [
        pytest.param(instance(), "Ready=Unknown", False, id="an object without status is not Ready"),
        pytest.param(
            instance(observedGeneration=1, state="Running", conditions=ready("True", "Running")),
            "Running        Ready=True Running",
            False,
            id="Ready for an older generation is not yet what was applied",
        ),
        pytest.param(
            instance(observedGeneration=2, state="Importing", percent=40, conditions=ready("False", "Importing")),
            "Importing 40%  Ready=False Importing",
            True,
            id="progress is shown in percent",
        ),
    ],
)
def test_a_line_tells_state_and_reason(given: dict[str, Any], line: str, current: bool) -> None:
    seen = view(given)
    assert seen.name == "Instance team-a/web-1"
    assert line in seen.line
    assert seen.current is current
