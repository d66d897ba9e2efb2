"""From an object to its status: what is written, how often, and what is not."""

from controllers.engine.base import Services
from tests.engine.harness import Cluster, running, until
from tests.engine.recorders import Racks, Widgets


async def test_a_new_object_becomes_ready_and_its_parent_sums_it_up(cluster: Cluster) -> None:
    made: list[Widgets] = []

    def reconcilers(services: Services) -> list[Widgets | Racks]:
        made.append(Widgets(services))
        return [made[0], Racks(services)]

    async with running(cluster, reconcilers):
        await cluster.create("Widget", "one", {"size": 3, "rackRef": {"name": "r"}}, namespace="team-a")
        await cluster.create("Rack", "r", {})
        await cluster.until_condition("Widget", "one", "Ready", "True", "Made", namespace="team-a")
        await cluster.until_condition("Rack", "r", "Ready", "True")

        async def total() -> bool:
            return (await cluster.get("Rack", "r") or {})["status"].get("total") == 3

        await until(total)
