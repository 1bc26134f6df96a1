"""The form made from a flow's parameter schema."""

from django.http import QueryDict

from runs.parameter_form import OTHERS, fields_of, read
from tests.pages.sample import SCHEMA


def typed(**values: str) -> QueryDict:
    query = QueryDict(mutable=True)
    for name, value in values.items():
        query[f"parameter.{name}"] = value
    return query


def test_fields_follow_the_annotations() -> None:
    fields = {field.name: field for field in fields_of(SCHEMA, {"table": "delays"})}
    assert {name: field.kind for name, field in fields.items()} == {
        "year": "integer",
        "carriers": "json",
        "share": "number",
        "mode": "choice",
        "since": "date",
        "notify": "boolean",
        "table": "text",
    }
    assert fields["year"].text == "2013"
    assert fields["year"].minimum == 2000
    assert fields["notify"].is_checked
    assert fields["since"].nullable
    assert fields["since"].text == ""
    assert fields["table"].required
    assert fields["table"].text == "delays"
    assert [choice.title for choice in fields["mode"].choices] == ["append", "replace"]


def test_values_are_read_by_their_kind() -> None:
    filled = read(
        SCHEMA, typed(year="2014", carriers='["AA"]', share="0.1", mode='"replace"', table="t", notify="true")
    )
    assert filled.values == {
        "year": 2014, "carriers": ["AA"], "share": 0.1, "mode": "replace", "since": None, "notify": True, "table": "t",
    }  # fmt: skip
    assert not filled.errors


def test_what_is_left_empty_is_left_out_or_null() -> None:
    values = read(SCHEMA, typed()).values
    assert values == {"since": None, "notify": False}
    assert read(SCHEMA, typed(), partial=True).values == {}


def test_bad_json_is_said_beside_its_field_and_kept() -> None:
    data = typed(carriers="[AA")
    filled = read(SCHEMA, data)
    assert "not JSON" in filled.errors["carriers"][0]
    field = next(field for field in fields_of(SCHEMA, {}, data, filled.errors) if field.name == "carriers")
    assert field.text == "[AA"
    assert field.errors


def test_an_unreadable_number_goes_to_the_check_as_it_was_typed() -> None:
    assert read(SCHEMA, typed(year="soon")).values["year"] == "soon"


def test_errors_inside_a_value_belong_to_its_field() -> None:
    fields = fields_of(SCHEMA, {}, typed(), {"parameters.carriers.0": ["This has to be text, not 1."]})
    assert next(field for field in fields if field.name == "carriers").errors == ["0: This has to be text, not 1."]


def test_references_and_alternatives() -> None:
    schema = {
        "properties": {
            "colour": {"$ref": "#/$defs/Colour"},
            "either": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            "flag": {"anyOf": [{"type": "boolean"}, {"type": "null"}], "default": None},
        },
        "$defs": {"Colour": {"enum": ["red", "green"], "type": "string"}},
    }
    kinds = {field.name: field.kind for field in fields_of(schema, {}, partial=True)}
    assert kinds == {"colour": "choice", "either": "any", "flag": "choice"}
    assert read(schema, typed(either="3")).values["either"] == 3
    assert read(schema, typed(either="three")).values["either"] == "three"


def test_a_flow_without_annotations_takes_an_object() -> None:
    (field,) = fields_of({}, {"a": 1})
    assert field.name == OTHERS
    assert '"a": 1' in field.text
    assert read({}, typed(**{OTHERS: '{"a": 2}'})).values == {"a": 2}
    assert OTHERS in read({}, typed(**{OTHERS: "[1]"})).errors
