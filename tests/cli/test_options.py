"""How texts of the command line become values."""

import click
import pytest

from orchestrator.cli.options import parameter_value, read_parameters, read_schedule, weekly_expression

SCHEMA = {
    "properties": {
        "limit": {"type": "integer"},
        "ratio": {"type": "number"},
        "name": {"type": "string"},
        "fail": {"type": "boolean"},
        "names": {"type": "array"},
        "label": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "count": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        "size": {"$ref": "#/$defs/Size"},
        "any": {},
    },
    "$defs": {"Size": {"enum": [1, 2]}},
}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("limit", "3", 3),
        ("limit", "three", "three"),
        ("ratio", "3", 3),
        ("name", "3", "3"),
        ("name", "true", "true"),
        ("name", '"x"', '"x"'),
        ("fail", "true", True),
        ("names", '["a"]', ["a"]),
        ("label", "null", None),
        ("label", "7", "7"),
        ("count", "7", 7),
        ("count", "seven", "seven"),
        ("size", "2", 2),
        ("any", "7", 7),
        ("any", "a b", "a b"),
        ("unknown", "1", 1),
    ],
)
def test_a_value_is_json_where_the_schema_wants_that(name: str, text: str, value: object) -> None:
    assert parameter_value(text, SCHEMA["properties"].get(name, {}), SCHEMA) == value


def test_parameters_come_from_both_options() -> None:
    assert read_parameters(("limit=2", "name=a=b"), '{"limit": 1, "fail": true}', SCHEMA) == {
        "limit": 2,
        "fail": True,
        "name": "a=b",
    }


@pytest.mark.parametrize(("param", "params"), [(("limit",), ""), (("=3",), ""), ((), "{"), ((), "[1]")])
def test_what_cannot_be_read_is_a_usage_error(param: tuple[str, ...], params: str) -> None:
    with pytest.raises(click.UsageError):
        read_parameters(param, params, SCHEMA)


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("MON 08:00", "MO 08:00"),
        ("mon,Wed 8:00", "MO,WE 08:00"),
        ("Monday, Friday 17:30", "MO,FR 17:30"),
        ("MO,WE 08:00", "MO,WE 08:00"),
        ("Funday 08:00", "Funday 08:00"),
        ("08:00", "08:00"),
    ],
)
def test_days_are_written_in_many_ways(text: str, expression: str) -> None:
    assert weekly_expression(text).strip() == expression


def test_one_kind_of_schedule_at_a_time() -> None:
    assert read_schedule(None, None, None, None) is None
    assert read_schedule(None, 60, None, None) == {"kind": "interval", "expression": "60", "timezone": "UTC"}
    with pytest.raises(click.UsageError, match="--cron, --interval"):
        read_schedule("* * * * *", 60, None, None)
    with pytest.raises(click.UsageError, match="--timezone"):
        read_schedule(None, None, None, "Europe/Paris")
