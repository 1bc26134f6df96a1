"""A user's script, as type checkers see it: `make check` runs mypy over it, and a test runs it."""

import asyncio
from collections.abc import Iterator
from typing import assert_type

from orchestrator import Future, FutureList, State, as_completed, flow, task, unmapped


@task
def add(x: int, y: int = 1) -> int:
    return x + y


@task(retries=1)
async def shout(text: str) -> str:
    return text.upper()


@task
def count(n: int) -> Iterator[int]:
    yield from range(n)


class Loader:
    @task
    def load(self, x: int) -> str:
        return str(x)

    @staticmethod
    @task
    def static(x: int) -> int:
        return x

    @flow(name="loading")
    def run(self, x: int) -> str:
        return self.load(x)


@flow(name="small")
def small(x: int = 1) -> int:
    return x


@flow
def sync_flow(x: int) -> State[int]:
    assert_type(add(x), int)
    assert_type(add(x, return_state=True), State[int])
    future = add.submit(x)
    assert_type(future, Future[int])
    assert_type(future.result(), int)
    assert_type(future.state.result(), int)
    assert_type(add(x, wait_for=[future]), int)
    mapped = add.map([1, 2], unmapped(future))
    assert_type(mapped, FutureList[int])
    assert_type(mapped.result(), list[int])
    for done in as_completed(mapped):
        assert_type(done.result(), int)
    assert_type(shout.submit("x"), Future[str])
    assert_type(add.with_options(retries=2)(1), int)
    assert_type(list(count(2)), list[int])
    assert_type(Loader().load(1), str)
    assert_type(Loader().static(1), int)
    assert_type(Loader().run(1), str)
    assert_type(small.submit(2).result(), int)
    assert_type(small(return_state=True).result(), int)
    return add(x, return_state=True)


@flow
async def async_flow(x: int) -> int:
    assert_type(await shout("x"), str)
    assert_type(await shout("x", return_state=True), State[str])
    assert_type(await shout.submit("x"), str)
    first, second = await asyncio.gather(shout("x"), shout("y"))
    assert_type(first + second, str)
    return x


def mistakes() -> None:
    add("x")  # type: ignore[call-overload]
    small("x")  # type: ignore[call-overload]
    add.submit(1).result().upper()  # type: ignore[attr-defined]


def bare(future: Future, state: State) -> None:
    """Both mean any result where nothing is said."""
    print(future.result(), state.result())


if __name__ == "__main__":
    sync_flow(1)
    asyncio.run(async_flow(1))
