"""One cloud for all tests of a file: a control plane and an operator, with hosts once a test has built them."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from lab.controlplane import ControlPlane
from tests.bench.api import Bare, bare
from tests.bench.cloud import HOSTS, Bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(ControlPlane(os.environ.get("STRATIFORM_LAB", "bench")), tmp_path_factory.mktemp("bench"), HOSTS)
    made.prepare()
    yield made
    made.end()


@pytest_asyncio.fixture
async def api(bench: Bench) -> AsyncIterator[Bare]:
    async with bare(bench.plane.kubeconfig) as api:
        yield api
