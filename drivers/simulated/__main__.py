"""`python -m drivers.simulated STATE COMMAND …`: the hands of an administrator on a simulated cloud.

Typed by people, and by scripts that have no Python at hand. Every method of `Faults` is a command, its arguments are
the command's; `show` prints what is there.
"""

import argparse
import inspect
import sys
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from drivers.errors import DriverError
from drivers.simulated.faults import Faults
from drivers.simulated.gate import ERRORS

NOT_COMMANDS = ("close", "domains", "disks", "write_mark", "write_disk_mark")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m drivers.simulated", description=__doc__)
    parser.add_argument("state", help="path of the state file")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("show", help="print hosts, domains and violations")
    methods = {
        name.replace("_", "-"): method
        for name, method in vars(Faults).items()
        if not name.startswith("_") and name not in NOT_COMMANDS
    }
    for name, method in methods.items():
        _describe(commands.add_parser(name, help=inspect.getdoc(method) or name), method)
    given = vars(parser.parse_args(arguments))
    path, command = given.pop("state"), given.pop("command")
    if not Path(path).exists():
        parser.error(f"there is no state file {path}")
    faults = Faults(path)
    try:
        if command == "show":
            _show(faults)
        else:
            _print(_call(methods[command], faults, given))
    except LookupError as error:
        print(error.args[0], file=sys.stderr)
        return 1
    finally:
        faults.close()
    return 0


def _describe(parser: argparse.ArgumentParser, method: Callable[..., Any]) -> None:
    """Positional parameters become arguments, keyword-only ones options."""
    hints = typing.get_type_hints(method)
    for name, parameter in inspect.signature(method).parameters.items():
        if name == "self":
            continue
        kind = _converter(hints[name])
        required = parameter.default is inspect.Parameter.empty
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            parser.add_argument(f"--{name.replace('_', '-')}", dest=name, type=kind, default=parameter.default)
        else:
            parser.add_argument(
                name, type=kind, nargs=None if required else "?", default=None if required else parameter.default
            )


def _converter(hint: Any) -> Callable[[str], Any]:
    if isinstance(hint, types.UnionType):
        inner = _converter(next(h for h in hint.__args__ if h is not type(None)))
        return lambda text: None if text in ("all", "never", "none") else inner(text)
    if hint is bool:
        return lambda text: text.lower() in ("true", "yes", "1")
    if typing.get_origin(hint) is type:
        return _error
    if typing.get_origin(hint) is Sequence:
        return lambda text: tuple(text.split(","))
    return typing.cast(Callable[[str], Any], hint)


def _error(name: str) -> type[DriverError]:
    if name not in ERRORS:
        raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(ERRORS)}")
    return ERRORS[name]


def _call(method: Callable[..., Any], faults: Faults, given: dict[str, Any]) -> Any:
    positional, named = [], {}
    for name, parameter in inspect.signature(method).parameters.items():
        if name != "self" and parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            named[name] = given[name]
        elif name != "self":
            positional.append(given[name])
    return method(faults, *positional, **named)


def _show(faults: Faults) -> None:
    for domain in faults.domains():
        print(f"{domain.host}\t{domain.uuid}\t{domain.title}\t{domain.power.value}\t{domain.why.value}")
    for text in faults.violations(""):
        print(f"violation: {text}")


def _print(answer: Any) -> None:
    if isinstance(answer, tuple):
        for line in answer:
            print(line)
    elif answer is not None:
        print(answer)


if __name__ == "__main__":
    sys.exit(main())
