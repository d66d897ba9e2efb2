"""How well the policies use a cloud, against first fit, best fit, random and least allocated, on the same random traces.

The traces are those of `controllers.placement.simulate`, whose docstrings tell their mix. Seeds are fixed, so the figures
are the same on every machine; they are not those on which the weights were tuned (docs/placement.md). Two loads: one
that a cloud just cannot carry, and one far beyond it.
"""

import pytest

from controllers.placement.simulate import POLICIES, REFERENCES, Report, compare
from tests.bench.results import record

SEEDS, HOSTS, ARRIVALS = range(5000, 5040), 30, 2500
LOADS = {"full": 1.05, "overrun": 1.25}
"""Part of the CPUs that is asked for on the average."""
OURS = ("Balanced", "Packed")
CROWDED = (
    "where a quarter more is asked for than there is, fewest are rejected by who turns the big ones away and lets many "
    "small ones in, as chance does: it rejects more when rejections are counted by size (see there)"
)


@pytest.mark.parametrize("load", LOADS)
def test_density_and_rejections(load: str) -> None:
    found = compare(HOSTS, LOADS[load], ARRIVALS, SEEDS)
    if load == "full":
        _record({name: full for name, (full, _) in found.items()}, "density at the first rejection", "first_rejection")
    lived = {name: report for name, (_, report) in found.items()}
    _record(lived, f"rejected, {load}", "rejection_rate", at_most=True)
    _record(lived, f"rejected by size, {load}", "rejected_size", at_most=True)


def _record(reports: dict[str, Report], what: str, figure: str, *, at_most: bool = False) -> None:
    values = {name: round(100 * getattr(report, figure), 3) for name, report in reports.items()}
    best = (min if at_most else max)(REFERENCES, key=lambda name: values[name])
    for name in (*POLICIES, *REFERENCES):
        ours = name in OURS
        goal = values[best] if ours and figure != "rejected_size" else None
        print(f"\n{name:16} {what}: {values[name]:.3f} %", end="")
        record(
            f"placement quality, {name}, {what}", values[name], "%", reference=best if ours else "",
            reference_value=values[best], goal=goal, at_most=at_most, limits=CROWDED if goal else "",
        )  # fmt: skip
