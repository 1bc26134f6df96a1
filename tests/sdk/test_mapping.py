"""`map`: splitting, errors, marks."""

from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator import MapError, allow_failure, flow, task, unmapped
from tests.sdk.conftest import Recorded

pytestmark = pytest.mark.usefixtures("recorded")


@task
def pair(x: Any, y: Any = None) -> tuple[Any, Any]:
    return x, y


@task
def numbers(count: int) -> list[int]:
    return list(range(count))


@task
def fail(x: int) -> None:
    raise ValueError(x)


def _map(*arguments: Any, **keywords: Any) -> Any:
    @flow
    def one() -> Any:
        return pair.map(*arguments, **keywords).result()

    return one()


def _generator() -> Iterator[int]:
    yield from (1, 2)


@pytest.mark.parametrize("iterable", [[1, 2], (1, 2), range(1, 3), {1: "a", 2: "b"}, _generator()])
def test_every_iterable_is_split(iterable: Any):
    assert _map(iterable) == [(1, None), (2, None)]


def test_several_are_zipped_and_the_rest_repeats():
    assert _map([1, 2], y=["a", "b"]) == [(1, "a"), (2, "b")]
    assert _map([1, 2], unmapped([7])) == [(1, [7]), (2, [7])]
    assert _map([1, 2], "text") == [(1, "text"), (2, "text")]
    assert _map([1, 2], 5) == [(1, 5), (2, 5)]


def test_nothing_to_split_is_an_error():
    with pytest.raises(MapError, match=r"Nothing to map 'pair' over.*submit\(\)"):
        _map("text", y=5)


def test_lengths_must_be_equal_and_the_error_names_them():
    with pytest.raises(MapError, match="'x' has 3, 'y' has 2"):
        _map([1, 2, 3], y=[1, 2])


def test_empty_iterable_gives_no_runs(recorded: Recorded):
    assert _map([]) == []
    assert recorded.facts("task_run") == []


def test_futures_among_the_arguments_are_resolved():
    @flow
    def one() -> Any:
        return pair.map(numbers.submit(3), unmapped(numbers.submit(1))).result()

    assert one() == [(0, [0]), (1, [0]), (2, [0])]


def test_futures_of_a_map_go_on_to_the_next():
    @flow
    def one() -> Any:
        return pair.map(pair.map([1, 2])).result()

    assert one() == [((1, None), None), ((2, None), None)]


def test_failed_element_keeps_only_its_own_successor_from_starting():
    @flow
    def one() -> list[str]:
        @task
        def sometimes(x: int) -> int:
            if x == 2:
                raise ValueError(x)
            return x

        first = sometimes.map([1, 2, 3])
        second = pair.map(first)
        third = pair.map(allow_failure(first))
        names = [future.result(raise_on_failure=False) for future in second]
        assert [type(value).__name__ for value in names] == ["tuple", "UpstreamError", "tuple"]
        return [type(value[0]).__name__ for value in third.result()]

    assert one() == ["int", "ValueError", "int"]


def test_first_failure_is_raised_by_the_list():
    @flow
    def one() -> None:
        fail.map([1, 2]).result()

    with pytest.raises(ValueError, match="1"):
        one()


def test_map_with_wait_for():
    @flow(on_unhandled_failure="ignore")
    def one() -> Any:
        failed = fail.submit(1)
        return [future.result(raise_on_failure=False) for future in pair.map([1, 2], wait_for=[failed])]

    assert [type(error).__name__ for error in one()] == ["UpstreamError", "UpstreamError"]


def test_flows_map_as_parallel_subflows(recorded: Recorded):
    @flow
    def child(x: int) -> int:
        return x * 2

    @flow
    def one() -> Any:
        return child.map([1, 2, 3]).result()

    assert one() == [2, 4, 6]
    assert len(recorded.facts("flow_run")) == 4
