"""Parameters against the schema of a flow's annotations."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from flows.parameters import check_parameters, check_schema, merge

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "month": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
        "carrier": {"type": "string", "maxLength": 2},
        "dry_run": {"type": "boolean"},
        "ratio": {"type": "number", "maximum": 1},
        "mode": {"enum": ["fast", "full"]},
        "since": {"type": "string", "format": "date-time"},
        "config": {"$ref": "#/$defs/Config"},
        "limits": {"anyOf": [{"type": "object", "additionalProperties": {"type": "integer"}}, {"type": "null"}]},
        "names": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["carrier"],
    "$defs": {"Config": {"type": "object", "properties": {"retries": {"type": "integer"}}, "required": ["retries"]}},
}


@pytest.mark.parametrize(
    "given",
    [
        {"carrier": "AA"},
        {"carrier": "AA", "month": None},
        {"carrier": "AA", "month": 3, "dry_run": True, "ratio": 0.5},
        {"carrier": "AA", "month": "3", "dry_run": "true", "ratio": "0.5"},  # as forms send them
        {"carrier": "AA", "mode": "fast", "since": "2027-01-04T08:00:00+01:00", "names": ["a"]},
        {"carrier": "AA", "since": "2027-01-04", "config": {"retries": 2}, "limits": {"a": 1}},
        {"carrier": "AA", "since": 1_800_000_000},
    ],
)
def test_right_parameters_pass(given: dict[str, Any]) -> None:
    check_parameters(SCHEMA, given)


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({}, "parameters.carrier", "“carrier” is required"),
        ({"carrier": 1}, "parameters.carrier", "has to be text, not 1."),
        ({"carrier": "AA", "month": "March"}, "parameters.month", 'a whole number or null, not "March".'),
        ({"carrier": "AA", "dry_run": "maybe"}, "parameters.dry_run", "true or false"),
        ({"carrier": "AA", "ratio": 2}, "parameters.ratio", "maximum"),
        ({"carrier": "AA", "mode": "slow"}, "parameters.mode", 'one of "fast", "full", not "slow".'),
        ({"carrier": "AA", "since": "yesterday"}, "parameters.since", "a time such as"),
        ({"carrier": "AA", "config": {"retries": "x"}}, "parameters.config.retries", "a whole number"),
        ({"carrier": "AA", "config": {}}, "parameters.config", "'retries' is a required property"),
        ({"carrier": "AA", "names": ["a", 1]}, "parameters.names.1", "text"),
        ({"carrier": "AA", "yaer": 1}, "parameters.yaer", "no parameter “yaer”. It takes month, carrier"),
        ({"carrier": "AA", "limits": {"a": "q"}}, "parameters.limits.a", "a whole number"),
        ({"carrier": "AA", "limits": 3}, "parameters.limits", "an object or null, not 3"),
        ({"carrier": "AA", "since": True}, "parameters.since", "text"),
        ([], "parameters", "an object"),
        ({"carrier": "A" * 600_000}, "parameters", "at most 524,288"),
    ],
)
def test_wrong_ones_are_named(given: Any, field: str, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        check_parameters(SCHEMA, given)
    assert list(caught.value.message_dict) == [field]
    assert words in caught.value.message_dict[field][0]


def test_required_ones_may_be_missing_from_a_deployment() -> None:
    check_parameters(SCHEMA, {"month": 1}, partial=True)


def test_no_schema_takes_anything_and_kwargs_take_any_name() -> None:
    check_parameters({}, {"anything": [1]})
    check_parameters({"type": "object", "properties": {}, "additionalProperties": True}, {"anything": 1})
    with pytest.raises(ValidationError, match="It takes none"):
        check_parameters({"type": "object", "properties": {}}, {"anything": 1})


def test_schema_that_refers_elsewhere_fetches_nothing() -> None:
    schema = {"type": "object", "properties": {"x": {"$ref": "http://127.0.0.1:9/schema.json"}}}
    with pytest.raises(ValidationError, match="refers to something that is not in it"):
        check_parameters(schema, {"x": 1})


def test_schema_that_refers_to_itself_without_end_is_said_so() -> None:
    schema = {"type": "object", "properties": {"x": {"$ref": "#/properties/x"}}}
    with pytest.raises(ValidationError, match="refers to itself without end"):
        check_parameters(schema, {"x": 1})


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, [], {"type": "array"}, {"properties": 3}])
def test_what_is_no_schema_of_an_object_is_refused(schema: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        check_schema(schema)
    assert "parameter_schema" in caught.value.message_dict


def test_later_parameters_win_by_name() -> None:
    assert merge({"a": 1, "b": {"x": 1}}, {"b": {"y": 2}}, {"c": 3}) == {"a": 1, "b": {"y": 2}, "c": 3}
