"""What the operator in this process has written to the API server and asked of drivers, by its own counters."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import prometheus_client

from controllers import metrics
from tests.instances.cloud import Cloud

WRITES = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Counts:
    """`writes` and the bytes `sent` by (verb, kind), Leases left out; `calls` by name."""

    writes: Counter[tuple[str, str]]
    sent: Counter[tuple[str, str]]
    calls: Counter[str]

    def since(self, before: "Counts") -> "Counts":
        return Counts(self.writes - before.writes, self.sent - before.sent, self.calls - before.calls)

    def of(self, kind: str) -> int:
        return sum(n for (_, other), n in self.writes.items() if other == kind)


def now() -> Counts:
    """The registry belongs to the process, so requests of the test itself count too: take none of its writes between
    two readings but those that you mean."""
    calls: Counter[str] = Counter()
    for labels, value in _totals(metrics.DRIVER_CALLS):
        calls[labels["call"]] += value
    return Counts(_written(metrics.API_REQUESTS), _written(metrics.API_BYTES), calls)


def _written(counter: prometheus_client.Counter) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for labels, value in _totals(counter):
        if labels["verb"] in WRITES and labels["kind"] != "Lease":
            found[labels["verb"], labels["kind"]] += value
    return found


def _totals(counter: prometheus_client.Counter) -> Iterator[tuple[dict[str, str], int]]:
    for metric in counter.collect():
        for sample in metric.samples:
            if sample.name.endswith("_total"):
                yield sample.labels, int(sample.value)


async def settled(cloud: Cloud, quiet: float = 1.2) -> Counts:
    """Once nothing was written for so many seconds (events come a little later): the counts of now."""
    async with asyncio.timeout(30.0):
        while True:
            before = now()
            await asyncio.sleep(quiet)
            if now().writes == before.writes and cloud.engine.queue.idle():
                return now()


__all__ = ["Counts", "now", "settled"]
