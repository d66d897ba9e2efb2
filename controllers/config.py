"""The operator's settings: from arguments, else from STRATIFORM_* variables, else the defaults below.

Read once by `python -m controllers`; tests make a `Settings` directly, with everything scaled down.
"""

import argparse
import dataclasses
import os
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from crds.base import SYSTEM_NAMESPACE

PREFIX = "STRATIFORM_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All durations in seconds."""

    namespace: Annotated[str, "Namespace of the operator: credentials and the Lease live there."] = SYSTEM_NAMESPACE
    installation: Annotated[str, "Installation id in our marks. Empty: uid of the kube-system namespace."] = ""
    take_over: Annotated[tuple[str, ...], "Comma-separated installation ids whose marks count as ours."] = ()
    kubeconfig: Annotated[Path | None, "Kubeconfig. Unset: $KUBECONFIG, else the pod's service account."] = None

    leader_election: Annotated[bool, "Whether a Lease is taken before anything is done."] = True
    lease_name: Annotated[str, "metadata.name of the Lease."] = "stratiform"
    lease_duration: Annotated[float, "How long the Lease holds without being renewed."] = 15.0
    lease_renew: Annotated[float, "Pause between two renewals."] = 2.0
    lease_margin: Annotated[float, "Side effects stop so long before the Lease ends."] = 3.0
    kernel_timer: Annotated[bool, "Whether a kernel timer kills the process at the Lease's end (W6)."] = True

    workers: Annotated[int, "Reconciles that run at once, those not counted that wait for a driver."] = 32
    resync: Annotated[float, "Every object is reconciled at least so often."] = 600.0
    relist: Annotated[float, "How often objects lost by the watch are looked for."] = 240.0
    relist_delay: Annotated[
        float, "How long after the API server is back objects lost by the watch are looked for."
    ] = 3.0
    page: Annotated[int, "Objects a page of a list."] = 500
    roll_up: Annotated[float, "A parent is reconciled for its children's sake at most so often."] = 5.0
    backoff_first: Annotated[float, "Wait after the first failure of an object."] = 1.0
    backoff_most: Annotated[float, "Longest wait after failures of an object."] = 120.0

    request_timeout: Annotated[float, "Limit of one request to the API server."] = 20.0
    connections: Annotated[int, "Connections to the API server."] = 64
    watch_server_timeout: Annotated[int, "How long the API server keeps a watch open."] = 300
    watch_backoff_most: Annotated[float, "Longest wait before Kopf's operator is started again."] = 30.0

    lane_threads: Annotated[int, "Driver calls at once per end-point."] = 4
    lane_hang: Annotated[float, "A driver call without answer for so long counts as hung."] = 30.0
    listing_interval: Annotated[float, "How often each host is listed as a whole."] = 5.0
    pool_interval: Annotated[float, "How often each host is asked for each of its pools."] = 60.0
    cluster_cidrs: Annotated[
        tuple[str, ...], "Comma-separated ranges of the cluster itself: no Template is fetched from there."
    ] = ("10.96.0.0/12",)
    simulated_state: Annotated[Path, "Where hosts of hypervisor Simulated keep their state."] = Path(
        "/var/lib/stratiform/simulated"
    )

    bind: Annotated[str, "Address on which metrics and health are served."] = "127.0.0.1"
    health_port: Annotated[int, "Port of /metrics, /livez and /readyz; 0: any free one, -1: none."] = 8080
    wedged_after: Annotated[float, "/livez fails when the loop, or an object in the queue, stands so long."] = 60.0
    log_format: Annotated[str, "console or JSON."] = "console"
    log_level: Annotated[str, "DEBUG, INFO, WARNING or ERROR."] = "INFO"

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
    hints = typing.get_type_hints(Settings, include_extras=True)
    for entry in dataclasses.fields(Settings):
        parser.add_argument(
            f"--{entry.name.replace('_', '-')}",
            dest=entry.name,
            metavar="VALUE",
            help=f"{hints[entry.name].__metadata__[0]} (default: {entry.default!s}; {PREFIX}{entry.name.upper()})",
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
    hint = typing.get_args(hint)[0]
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
