"""The engines that infrastructure is tested on."""

from collections.abc import Iterator

import pytest

from tests.infrastructure.cluster import FakeCluster, fake_cluster
from tests.infrastructure.engine import NoEngine, PodmanEngine, podman_engine


@pytest.fixture(scope="session")
def engine() -> Iterator[PodmanEngine]:
    """A real container engine; without one its tests are skipped, and say what is missing."""
    running = podman_engine()
    try:
        engine = running.__enter__()
    except NoEngine as error:
        pytest.skip(f"no container engine: {error}")
    try:
        yield engine
    finally:
        running.__exit__(None, None, None)


@pytest.fixture
def cluster() -> Iterator[FakeCluster]:
    """A Kubernetes API server of the test's own."""
    with fake_cluster() as cluster:
        yield cluster
