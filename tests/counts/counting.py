"""What the operator in this process has written to the API server and asked of drivers, by its own counters."""

import asyncio
from collections import Counter
from dataclasses import dataclass

from controllers import metrics
from tests.instances.cloud import Cloud

WRITES = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Counts:
    """`writes` by (verb, kind), the Lease's own left out; `calls` by name."""

    writes: Counter[tuple[str, str]]
    calls: Counter[str]

    def since(self, before: "Counts") -> "Counts":
        return Counts(self.writes - before.writes, self.calls - before.calls)

    def of(self, kind: str) -> int:
        return sum(n for (_, other), n in self.writes.items() if other == kind)


def now() -> Counts:
    """The registry belongs to the process, so requests of the test itself count too: take none of its writes between
    two readings but those that you mean."""
    writes: Counter[tuple[str, str]] = Counter()
    for metric in metrics.API_REQUESTS.collect():
        for sample in metric.samples:
            verb, kind = sample.labels["verb"], sample.labels["kind"]
            if sample.name.endswith("_total") and verb in WRITES and kind != "Lease":
                writes[verb, kind] += int(sample.value)
    calls: Counter[str] = Counter()
    for metric in metrics.DRIVER_CALLS.collect():
        for sample in metric.samples:
            if sample.name.endswith("_total"):
                calls[sample.labels["call"]] += int(sample.value)
    return Counts(writes, calls)


async def settled(cloud: Cloud, quiet: float = 1.2) -> Counts:
    """Once nothing was written for so many seconds (events come a little later): the counts of now."""
    async with asyncio.timeout(30.0):
        while True:
            before = now()
            await asyncio.sleep(quiet)
            if now().writes == before.writes and cloud.engine.queue.idle():
                return now()


__all__ = ["Counts", "now", "settled"]
