"""The NoCloud files that a guest's cloud-init reads: who it is, what its network is, what its user wants. Pure.

The instance-id derives from the instance's UUID (safety.md I2), so that a rebuilt cluster does not make cloud-init
start over. User data is secret: it goes from the Secret into the seed and nowhere else.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import yaml

from drivers.base import Seed

_TYPES = {
    "#!": "x-shellscript",
    "#cloud-config-archive": "cloud-config-archive",
    "#cloud-config": "cloud-config",
    "#include": "x-include-url",
    "#part-handler": "part-handler",
    "#cloud-boothook": "cloud-boothook",
    "## template: jinja": "jinja2",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """One NIC as the guest shall set it up. Without addresses it asks the wire (DHCP)."""

    name: str
    mac: str
    addresses: tuple[str, ...] = ()
    """With prefix lengths: 10.91.0.60/24."""
    gateways: tuple[str, ...] = ()
    """Of the primary NIC only."""
    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    primary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """Everything that goes into a seed."""

    uuid: str
    hostname: str
    keys: tuple[str, ...] = ()
    user_data: bytes = field(default=b"", repr=False)
    interfaces: tuple[Interface, ...] = ()


class NotText(ValueError):
    """The Secret's user data is not UTF-8 text."""


def seed(guest: Guest) -> Seed:
    """The three files. Raises NotText."""
    meta: dict[str, object] = {
        "instance-id": guest.uuid,
        "local-hostname": guest.hostname,
    }
    if guest.keys:
        meta["public-keys"] = list(guest.keys)
    return Seed(
        meta_data=_yaml(meta),
        user_data=user_data(guest),
        network_config=_yaml(network_config(guest.interfaces)),
    )


def user_data(guest: Guest) -> str:
    """As the user wrote it where that says it all; one cloud-config where the two can be one; else a multipart message.

    A script (`#!`) stays a script for guests that know nothing but that: host name and keys are in meta-data too.
    """
    try:
        text = guest.user_data.decode()
    except UnicodeDecodeError as error:
        raise NotText("userData is not UTF-8 text") from error
    if text and text.startswith(("#!", "Content-Type:", "MIME-Version:")):
        return text
    own = "#cloud-config\n" + _yaml(_own(guest, {}))
    if not text.strip():
        return own
    if text.startswith("#cloud-config\n"):
        merged = _merged(guest, text)
        if merged is not None:
            return merged
    message = MIMEMultipart(boundary="stratiform-user-data")
    message.attach(_part(own))
    message.attach(_part(text))
    return message.as_string()


def _own(guest: Guest, theirs: dict[str, object]) -> dict[str, object]:
    """What the API asks for, behind what the user's own document says."""
    config: dict[str, object] = {"hostname": guest.hostname, "preserve_hostname": False, **theirs}
    had = theirs.get("ssh_authorized_keys")
    keys = [*(had if isinstance(had, list) else []), *guest.keys]
    if keys:
        config["ssh_authorized_keys"] = list(dict.fromkeys(map(str, keys)))
    return config


def _merged(guest: Guest, text: str) -> str | None:
    """One document of the user's and ours; None where the user's is no mapping that can be read."""
    try:
        theirs = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    if not isinstance(theirs, dict) or not all(isinstance(key, str) for key in theirs):
        return None
    return "#cloud-config\n" + _yaml(_own(guest, theirs))


def _part(text: str) -> MIMEText:
    kind = next((kind for start, kind in _TYPES.items() if text.startswith(start)), "plain")
    part = MIMEText(text, kind, "utf-8" if not text.isascii() else "us-ascii")
    if kind == "cloud-config":
        part["Merge-Type"] = "list(append)+dict(recurse_array)+str()"
    return part


def network_config(interfaces: Iterable[Interface]) -> dict[str, object]:
    """Version 2; NICs are matched by MAC, so that their names in the guest do not matter."""
    ethernets: dict[str, object] = {}
    for nic in interfaces:
        entry: dict[str, object] = {"match": {"macaddress": nic.mac}}
        if nic.addresses:
            entry["addresses"] = list(nic.addresses)
            routes = [{"to": "::/0" if ":" in g else "0.0.0.0/0", "via": g} for g in nic.gateways]
            if routes:
                entry["routes"] = routes
            servers = {"addresses": list(nic.servers), "search": list(nic.search)}
            if nic.primary and nic.servers:
                entry["nameservers"] = {k: v for k, v in servers.items() if v}
        else:
            entry["dhcp4"] = True
            entry["dhcp6"] = False
            if not nic.primary:
                entry["dhcp4-overrides"] = {"use-routes": False, "use-dns": False}
        ethernets[nic.name] = entry
    return {"version": 2, "ethernets": ethernets}


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, default_flow_style=False, allow_unicode=True)
