"""Every physical network of the NICs has an uplink there that carries what is needed, untagged or VLANs."""

from controllers.placement.core.filters.base import Filter, View, by_value, none_of
from controllers.placement.core.hosts import Bools, Rows


def _blocks(view: View, rows: Rows) -> Bools:
    wanted = frozenset((network, vlan != 0) for _, network, vlan in view.shape.networks)
    if not wanted:
        return none_of(rows)
    return by_value(view.hosts.values["networks"], view.hosts.networks, rows, lambda known: not wanted <= known)


def _tells(view: View, row: int) -> str:
    known = view.hosts.records[row].networks
    entry, network, vlan = min(wanted for wanted in view.shape.networks if (wanted[1], wanted[2] != 0) not in known)
    if (network, vlan == 0) not in known:
        return f"has no uplink to physical network {network} (networks[{entry}])"
    if vlan:
        return f"reaches physical network {network} untagged only, networks[{entry}] has VLAN {vlan}"
    return f"reaches physical network {network} by VLAN only, networks[{entry}] is untagged"


FILTER = Filter("NoUplink", _blocks, _tells, "give {host} the uplink ({text})")
