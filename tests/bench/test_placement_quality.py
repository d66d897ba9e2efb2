"""How well the policies use a cloud, against first fit, best fit, random and least allocated, on the same random traces.

The traces are those of `controllers.placement.simulate`, whose docstrings tell their mix. Seeds are fixed, so the figures
are the same on every machine.
"""

from controllers.placement.simulate import REFERENCES, compare
from tests.bench.results import record

SEEDS, HOSTS, LOAD, ARRIVALS = range(100, 118), 30, 1.25, 2500


def test_density_and_rejections() -> None:
    found = compare(HOSTS, LOAD, ARRIVALS, SEEDS)
    densest = max(REFERENCES, key=lambda name: found[name][0].first_rejection)
    kindest = min(REFERENCES, key=lambda name: found[name][1].rejection_rate)
    most, least = found[densest][0].first_rejection, found[kindest][1].rejection_rate
    for name, (full, lived) in found.items():
        print(f"\n{name:16} first rejection at {full.first_rejection:.2%}, {lived.rejection_rate:.2%} rejected", end="")
        ours = name in ("Balanced", "Packed")
        record(
            f"placement quality, {name}, density at the first rejection", round(100 * full.first_rejection, 2), "%",
            reference=densest if ours else "", reference_value=round(100 * most, 2), goal=round(100 * most, 2) if ours else None,
        )  # fmt: skip
        record(
            f"placement quality, {name}, rejected", round(100 * lived.rejection_rate, 2), "%",
            reference=kindest if ours else "", reference_value=round(100 * least, 2), goal=round(100 * least, 2) if ours else None,
            at_most=True,
        )  # fmt: skip
