"""Things of a lab that start at the same time. Called by lab.__main__, lab.demo and test fixtures."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def together(*actions: Callable[[], object]) -> None:
    """Run all of them at once and wait for all. Raises the first error, after the others have ended."""
    with ThreadPoolExecutor(len(actions)) as pool:
        futures = [pool.submit(action) for action in actions]
    for future in futures:
        future.result()
