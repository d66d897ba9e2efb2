"""Thirty instances are made, changed and deleted while hosts come and go at random: the end is what was declared."""

import random
import time
from pathlib import Path

from lab.controlplane import ControlPlane
from tests.faults.drvworld import DriverCloud, cloud_of
from tests.instances.cloud import managed, nic
from tests.kills.recording import seed


class Weather:
    """One random deed after another; `text` is what was done, for whoever looks at a failure."""

    def __init__(self, cloud: DriverCloud, number: int) -> None:
        self.cloud, self.dice, self.text = cloud, random.Random(number), [f"STRATIFORM_SEED={number}"]
        self.away: set[str] = set()

    def blow(self) -> None:
        """A host goes, comes, loses its power or its connections, or a call goes wrong."""
        faults, host = self.cloud.faults, self.dice.choice(self.cloud.hosts)
        deed = self.dice.choice(["lose", "power", "return", "reboot", "cut", "freeze", "answer", "fail", "lie"])
        self.text.append(f"{deed} {host}")
        match deed:
            case "lose" | "power" if len(self.away) < len(self.cloud.hosts) - 1:
                if deed == "power":
                    self.cloud.cut_power(host)
                else:
                    faults.lose_host(host)
                self.away.add(host)
            case "freeze" if len(self.away) < len(self.cloud.hosts) - 1:
                faults.freeze(host, keepalive=1.0)
                self.away.add(host)
            case "return":
                self.calm(host)
            case "reboot" if host not in self.away:
                faults.reboot_host(host)
                self.cloud.bystanders.power_lost(host)
            case "cut":
                faults.cut_connections(host)
            case "answer":
                faults.lose_answer(1, host=host)
            case "fail":
                faults.fail(1, host=host)
            case "lie":
                faults.lie(1, host=host, call=self.dice.choice(["Define", "StartPaused", "Destroy", "create_disk"]))

    def calm(self, *hosts: str) -> None:
        for host in hosts:
            self.cloud.faults.return_host(host)
            self.cloud.faults.thaw(host)
            self.away.discard(host)


async def storm(cloud: DriverCloud, instances: int, seconds: float, number: int) -> None:
    """Instances come one after another, every third is halted and every fifth deleted; then the weather clears up."""
    weather = Weather(cloud, number)
    print(f"STRATIFORM_SEED={number}")
    end, pause = time.monotonic() + seconds, seconds / instances
    try:
        for number in range(instances):
            name = f"web-{number}"
            cloud.view.started_again.add(name)
            await cloud.make(name, volumes=[managed("root")], networks=[nic()])
            weather.blow()
            if number % 3 == 2:
                await cloud.change(f"web-{number - 1}", runStrategy="Halted")
            if number % 5 == 4:
                await cloud.delete(f"web-{number - 4}")
            await cloud.settle(min(pause, max(0.0, end - time.monotonic())))
        weather.calm(*cloud.hosts)
        cloud.faults.release()
        for host in cloud.hosts:
            await cloud.up(host, deadline=45.0)
        await cloud.as_declared(90.0)
    except AssertionError as error:
        raise AssertionError("\n".join(weather.text) + f"\n{error}") from None


async def test_thirty_instances_in_bad_weather(wiped_plane: ControlPlane, tmp_path: Path) -> None:
    async with cloud_of(wiped_plane, tmp_path / "cloud.db", hosts=3) as cloud:
        await storm(cloud, 30, 15.0, seed())
