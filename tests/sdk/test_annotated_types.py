"""Values fitted to annotations."""

import datetime as dt
import enum
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypedDict, TypeVar

import numpy as np
import pydantic
import pytest

from orchestrator.sdk.annotated_types import convert


class Size(enum.Enum):
    BIG = "big"


@dataclass
class Place:
    city: str
    zip: int = 0


@dataclass
class Point:
    x: int


class Town(Place):
    """A kind of place."""


class Options(TypedDict):
    n: int


class Closes(Protocol):
    def close(self) -> None: ...


class Model(pydantic.BaseModel):
    n: int


class Frame:
    """A class that nothing is known about."""


FRAME = Frame()
T = TypeVar("T")


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        ("3", int, 3),
        (3, float, 3.0),
        ("1.5", float, 1.5),
        ("true", bool, True),
        ("off", bool, False),
        (True, int, True),
        ("big", Size, Size.BIG),
        (Size.BIG, Size, Size.BIG),
        ("2026-11-22", dt.date, dt.date(2026, 11, 22)),
        ("2026-11-22", dt.datetime, dt.datetime(2026, 11, 22)),  # noqa: DTZ001 - as the user wrote it
        ("2026-11-22T08:00:00Z", dt.datetime, dt.datetime(2026, 11, 22, 8, tzinfo=dt.UTC)),
        (90, dt.timedelta, dt.timedelta(seconds=90)),
        ("12345678-1234-5678-1234-567812345678", uuid.UUID, uuid.UUID("12345678123456781234567812345678")),
        ("1.10", Decimal, Decimal("1.10")),
        ("/tmp/x", Path, Path("/tmp/x")),
        ("x", bytes, b"x"),
        ((1, "2"), list[int], [1, 2]),
        (range(2), list[int], [0, 1]),
        ([1, 1], set[int], {1}),
        (["1", "x"], tuple[int, str], (1, "x")),
        ({"a": "1"}, dict[str, int], {"a": 1}),
        (None, int | None, None),
        ("3", int | None, 3),
        ("3", int | str, "3"),
        ("a", Literal["a", "b"], "a"),
        ({"city": "Paris"}, Place, Place("Paris")),
        ([{"city": "Paris"}], list[Place], [Place("Paris")]),
        ({"x": 1}, Place | Point, Point(1)),
        ({"n": "4"}, Model, Model(n=4)),
        ([{"n": 4}], list[Model], [Model(n=4)]),
        ("5", Annotated[int, pydantic.Field(ge=1)], 5),
        ("2026-11-22 08:00", dt.datetime, dt.datetime(2026, 11, 22, 8)),  # noqa: DTZ001 - as the user wrote it
        ("2026-11-22", dt.datetime | None, dt.datetime(2026, 11, 22)),  # noqa: DTZ001 - as the user wrote it
        ("08:30", dt.time, dt.time(8, 30)),
        ("20261122", dt.date, dt.date(2026, 11, 22)),
        ({"n": "3"}, Options, {"n": 3}),
        ([Town("Paris")], list[Place], [Town("Paris")]),
        (FRAME, Closes, FRAME),
        ([FRAME], list[Closes], [FRAME]),
        (FRAME, Closes | None, FRAME),
        (np.bool_(True), bool, True),
        (np.int64(3), int | None, 3),
        (np.array([1, 2]), list[int], [1, 2]),
        ([np.float64(1.5)], list[float], [np.float64(1.5)]),
        ({"a": np.int64(1)}, dict[str, int], {"a": 1}),
        ((np.int64(1), "x"), tuple[int, str], (1, "x")),
        ((np.int64(1), np.int64(2)), tuple[int, ...], (1, 2)),
        (FRAME, Frame, FRAME),
        ([FRAME], list[Frame], [FRAME]),
        (FRAME, Frame | None, FRAME),
        (len, Callable[[Any], int], len),
        ("x", Any, "x"),
        ("x", T, "x"),
        (None, None, None),
    ],
)
def test_fits(value: Any, annotation: Any, expected: Any):
    got = convert(value, annotation)
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        ("three", int, "expected `int`"),
        (3, str, "expected `str`, got `int`"),
        ("huge", Size, "invalid enum value 'huge'"),
        ("c", Literal["a"], "invalid enum value 'c'"),
        ([1, "x"], list[int], r"expected `int`, got `str` - at `\$\[1\]`"),
        ({"zip": 1}, Place, "missing required field `city`"),
        ("yesterday", dt.date, "invalid"),
        (None, int, "expected `int`, got `null`"),
        ({"n": "x"}, Model, "n: input should be a valid integer"),
        ("0", Annotated[int, pydantic.Field(ge=1)], "greater than or equal to 1"),
        ("frame", Frame, "expected `Frame`"),
        ("no", Callable[[Any], int], "expected `Callable`"),
        ({"y": 1}, Place | Point, "missing required field"),
        ([np.int64(1), "x"], list[int], "expected `int`"),
        ((np.int64(1),), tuple[int, str], "length 2"),
        ({"n": "x"}, Options, "expected `int`"),
        ("8 o'clock", dt.time, "invalid"),
    ],
)
def test_does_not_fit(value: Any, annotation: Any, message: str):
    with pytest.raises(ValueError, match=message):
        convert(value, annotation)


def test_generator_is_read_once():
    with pytest.raises(ValueError, match="expected `int`"):
        convert((item for item in (1, "x")), list[int])


def test_value_that_fits_stays_the_same_object():
    rows = {"a": [1]}
    assert convert(rows, dict) is rows
