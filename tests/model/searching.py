"""One search by Hypothesis: so many sequences of so many steps. Used by the short run and by the long one."""

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import structlog
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.drivers.images import ImageServer
from tests.model.machine import CloudMachine


@dataclass(frozen=True)
class Covered:
    """What a search went through."""

    examples: int
    steps: int
    lives: int
    """Operators, started and ended."""
    hours: float
    """In the time of the model."""
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.examples} sequences, {self.steps} steps, {self.lives} operators, {self.hours:.1f} hours "
            f"in {self.seconds:.0f} s"
        )


def search(images: ImageServer, *, examples: int, steps: int, number: int | None = None) -> Covered:
    """Raises what a failing sequence raised, which is printed as a program. Without a `number` it is always the same
    search. A shorter failing sequence is looked for with STRATIFORM_SHRINK=1: that takes up to half an hour."""

    class Machine(CloudMachine):
        pass

    Machine.images, begun = images, time.perf_counter()
    phases = [Phase.generate, Phase.shrink] if os.environ.get("STRATIFORM_SHRINK") else [Phase.generate]
    run_state_machine_as_test(
        Machine if number is None else seed(number)(Machine),
        settings=settings(
            max_examples=examples, stateful_step_count=steps, derandomize=number is None, deadline=None, database=None,
            suppress_health_check=list(HealthCheck), phases=phases, report_multiple_bugs=False,
        ),
    )  # fmt: skip
    return Covered(Machine.examples, Machine.steps, Machine.lives, Machine.hours, time.perf_counter() - begun)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Nobody reads the operators' lines, and writing them takes a third of the time."""
    before = structlog.get_config()
    logger = logging.getLogger("drivers.simulated")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        structlog.configure(**before)
        logger.setLevel(logging.NOTSET)
