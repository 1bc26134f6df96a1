"""The engines that infrastructure is tested on."""

from collections.abc import Iterator

import pytest

from tests.infrastructure.cluster import FakeCluster, fake_cluster
from tests.infrastructure.engine import PodmanEngine, engine_or_skip


@pytest.fixture(scope="session")
def engine() -> Iterator[PodmanEngine]:
    """A real container engine."""
    with engine_or_skip() as engine:
        yield engine


@pytest.fixture
def cluster() -> Iterator[FakeCluster]:
    """A Kubernetes API server of the test's own."""
    with fake_cluster() as cluster:
        yield cluster
