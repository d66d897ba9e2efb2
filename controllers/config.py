"""The operator's settings: from arguments, else from STRATIFORM_* variables, else the defaults below.

Read once by `python -m controllers`; tests make a `Settings` directly, with everything scaled down.
"""

import argparse
import dataclasses
import os
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crds.base import SYSTEM_NAMESPACE

PREFIX = "STRATIFORM_"


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All durations in seconds."""

    namespace: str = _setting(SYSTEM_NAMESPACE, "Namespace of the operator: credentials and the Lease live there.")
    installation: str = _setting("", "Installation id in our marks. Empty: uid of the kube-system namespace.")
    take_over: tuple[str, ...] = _setting((), "Comma-separated installation ids whose marks count as ours.")
    kubeconfig: Path | None = _setting(None, "Kubeconfig. Unset: $KUBECONFIG, else the pod's service account.")

    leader_election: bool = _setting(True, "Whether a Lease is taken before anything is done.")
    lease_name: str = _setting("stratiform", "metadata.name of the Lease.")
    lease_duration: float = _setting(15.0, "How long the Lease holds without being renewed.")
    lease_renew: float = _setting(2.0, "Pause between two renewals.")
    lease_margin: float = _setting(3.0, "Side effects stop so long before the Lease ends.")
    kernel_timer: bool = _setting(True, "Whether a kernel timer kills the process at the Lease's end (W6).")

    workers: int = _setting(32, "Reconciles that run at once, those not counted that wait for a driver.")
    resync: float = _setting(600.0, "Every object is reconciled at least so often.")
    relist: float = _setting(240.0, "How often objects lost by the watch are looked for.")
    page: int = _setting(500, "Objects a page of a list.")
    roll_up: float = _setting(5.0, "A parent is reconciled for its children's sake at most so often.")
    backoff_first: float = _setting(1.0, "Wait after the first failure of an object.")
    backoff_most: float = _setting(120.0, "Longest wait after failures of an object.")

    request_timeout: float = _setting(20.0, "Limit of one request to the API server.")
    connections: int = _setting(64, "Connections to the API server.")
    watch_server_timeout: int = _setting(300, "How long the API server keeps a watch open.")
    watch_backoff_most: float = _setting(30.0, "Longest wait before Kopf's operator is started again.")

    lane_threads: int = _setting(4, "Driver calls at once per end-point.")
    lane_hang: float = _setting(30.0, "A driver call without answer for so long counts as hung.")
    listing_interval: float = _setting(10.0, "How often each host is listed as a whole.")
    simulated_state: Path = _setting(
        Path("/var/lib/stratiform/simulated"), "Where hosts of hypervisor Simulated keep their state."
    )

    bind: str = _setting("127.0.0.1", "Address on which metrics and health are served.")
    health_port: int = _setting(8080, "Port of /metrics, /livez and /readyz; 0: any free one, -1: none.")
    wedged_after: float = _setting(60.0, "/livez fails when the loop, or an object in the queue, stands so long.")
    log_format: str = _setting("console", "console or JSON.")
    log_level: str = _setting("INFO", "DEBUG, INFO, WARNING or ERROR.")

    def __post_init__(self) -> None:
        if not 0 < self.lease_margin < self.lease_duration - self.lease_renew:
            raise ValueError(
                f"lease-margin is {self.lease_margin}: it must be above 0 and below lease-duration - lease-renew "
                f"({self.lease_duration} - {self.lease_renew})"
            )
        if self.log_format not in ("console", "JSON"):
            raise ValueError(f"log-format is {self.log_format!r}: use console or JSON")


def read(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process. Ends it with a message (SystemExit) when an argument makes no sense."""
    environment = os.environ if environment is None else environment
    parser = argparse.ArgumentParser(
        prog="python -m controllers", description="Stratiform's operator.", argument_default=argparse.SUPPRESS
    )
    hints = typing.get_type_hints(Settings)
    for entry in dataclasses.fields(Settings):
        parser.add_argument(
            f"--{entry.name.replace('_', '-')}",
            dest=entry.name,
            metavar="VALUE",
            help=f"{entry.metadata['help']} (default: {entry.default!s}; {PREFIX}{entry.name.upper()})",
        )
    given = {
        entry.name: environment[PREFIX + entry.name.upper()]
        for entry in dataclasses.fields(Settings)
        if PREFIX + entry.name.upper() in environment
    }
    given.update(vars(parser.parse_args(arguments)))
    if "kubeconfig" not in given and environment.get("KUBECONFIG"):
        given["kubeconfig"] = environment["KUBECONFIG"]
    try:
        return Settings(**{name: _convert(name, hints[name], value) for name, value in given.items()})
    except ValueError as error:
        parser.error(str(error))


def _convert(name: str, hint: Any, value: str) -> Any:
    """`value` as the setting's type. Raises ValueError that names the setting."""
    if isinstance(hint, types.UnionType):
        hint = next(choice for choice in typing.get_args(hint) if choice is not types.NoneType)
    if typing.get_origin(hint) is tuple:
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if hint is bool:
        if value.lower() not in ("true", "false"):
            raise ValueError(f"{name.replace('_', '-')} is {value!r}: use true or false")
        return value.lower() == "true"
    try:
        return hint(value)
    except ValueError:
        raise ValueError(f"{name.replace('_', '-')} is {value!r}: {hint.__name__} expected") from None
