"""The CPU that guests of a cluster see: what every host can do, so that guests may move between them. Pure.

A driver's `CPUFacts.features` are everything the host can give a guest, those that the model implies included. The
baseline is computed once and kept: a host that would narrow it is refused, one that leaves does not widen it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from controllers.logic.references import some
from drivers.base import CPUFacts

SHOWN = 8


@dataclass(frozen=True, slots=True)
class Baseline:
    """`model` is that of the least able host; `disabled` are its features that another host lacks."""

    model: str
    vendor: str
    features: tuple[str, ...]
    disabled: tuple[str, ...] = ()


def baseline(cpus: Sequence[CPUFacts]) -> Baseline:
    """Of at least one host. Hosts of several vendors have the features in common and no vendor."""
    least = min(cpus, key=lambda c: (len(c.features), c.model))
    common = set(cpus[0].features).intersection(*(c.features for c in cpus[1:]))
    vendors = {c.vendor for c in cpus}
    return Baseline(
        model=least.model,
        vendor=vendors.pop() if len(vendors) == 1 else "",
        features=tuple(sorted(common)),
        disabled=tuple(sorted(set(least.features) - common)),
    )


def narrows(cpu: CPUFacts, model: str | None, vendor: str | None, features: Sequence[str]) -> str:
    """Why a host with this CPU would narrow the baseline, in words; "" if it can do all of it."""
    missing = sorted(set(features) - set(cpu.features))
    if missing:
        return f"its CPU ({cpu.model}) lacks {some(missing, SHOWN)}"
    if vendor and cpu.vendor and cpu.vendor != vendor:
        return f"its CPU is of {cpu.vendor}, the cluster's baseline of {vendor}"
    if not features and model and cpu.model != model:
        return f"its CPU is a {cpu.model}, the cluster's baseline a {model}"
    return ""
