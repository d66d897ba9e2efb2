"""Names of namespaces, bridges and cables of a lab, and its address prefixes. Called by every other module here.

The kernel's limit for names of bridges and cables is 15 characters, hence `sl0m` and not the lab's name.
"""

from dataclasses import dataclass
from pathlib import Path

from lab.layout import Layout, open_layout


@dataclass(frozen=True)
class Plan:
    """What of a lab's machines derives from its place on this machine."""

    layout: Layout

    @classmethod
    def of(cls, name: str) -> "Plan":
        """The plan of the lab of this name."""
        return cls(open_layout(name))

    @property
    def name(self) -> str:
        """The lab's name."""
        return self.layout.name

    @property
    def index(self) -> int:
        """The lab's number."""
        return self.layout.index

    @property
    def state_dir(self) -> Path:
        """Everything this lab keeps on disk."""
        return self.layout.state

    @property
    def management_prefix(self) -> str:
        """First three octets, with the dot, of the network of hosts and servers."""
        return str(self.layout.management.network_address).removesuffix("0")

    @property
    def guest_prefix(self) -> str:
        """First three octets, with the dot, of the guest wire."""
        return str(self.layout.wire.network_address).removesuffix("0")

    @property
    def management_bridge(self) -> str:
        """Bridge on this machine that joins the management NICs."""
        return f"sl{self.index}m"

    @property
    def guest_bridge(self) -> str:
        """Bridge on this machine that joins the hosts' guest NICs."""
        return f"sl{self.index}g"

    def namespace(self, machine: str) -> str:
        """Name of a machine's network namespace."""
        return f"sl{self.index}-{machine}"

    def management_link(self, machine: str) -> str:
        """This machine's end of a machine's management cable; at most 15 characters."""
        return f"{self.management_bridge}{machine}"

    def guest_link(self, machine: str) -> str:
        """This machine's end of a machine's guest cable; at most 15 characters."""
        return f"{self.guest_bridge}{machine}"
