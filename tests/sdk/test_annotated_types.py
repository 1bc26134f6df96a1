"""Values fitted to annotations."""

import datetime as dt
import enum
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

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
    ],
)
def test_does_not_fit(value: Any, annotation: Any, message: str):
    with pytest.raises(ValueError, match=message):
        convert(value, annotation)


def test_value_that_fits_stays_the_same_object():
    rows = {"a": [1]}
    assert convert(rows, dict) is rows
