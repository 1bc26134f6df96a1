"""The JSON schema of a flow's parameters."""

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pydantic

from orchestrator import flow
from orchestrator.sdk.docstrings import argument_descriptions
from orchestrator.sdk.schemas import parameter_schema


class Size(enum.Enum):
    BIG = "big"
    SMALL = "small"


@dataclass
class Place:
    city: str
    zip: int = 0


class Model(pydantic.BaseModel):
    n: int = 3


def test_properties_have_types_titles_defaults_descriptions_and_order():
    @flow
    def load(table: str, limit: Annotated[int, msgspec.Meta(ge=1)] = 10, kind: Literal["a", "b"] = "a") -> None:
        """Load a table.

        Args:
            table: Its name
                in the warehouse.
            limit (int): Rows at most.

        Returns:
            Nothing: really.
        """

    assert parameter_schema(load) == {
        "title": "Parameters",
        "type": "object",
        "properties": {
            "table": {"type": "string", "title": "table", "description": "Its name in the warehouse.", "x-order": 0},
            "limit": {
                "type": "integer",
                "minimum": 1,
                "default": 10,
                "title": "limit",
                "description": "Rows at most.",
                "x-order": 1,
            },
            "kind": {"enum": ["a", "b"], "default": "a", "title": "kind", "x-order": 2},
        },
        "required": ["table"],
        "additionalProperties": False,
    }


def test_classes_become_definitions():
    def load(size: Size, place: Place, model: Model, several: list[Place] | None = None) -> None: ...

    schema = parameter_schema(load)
    assert schema["$defs"]["Size"]["enum"] == ["big", "small"]
    assert schema["$defs"]["Place"]["required"] == ["city"]
    assert schema["properties"]["place"]["$ref"] == "#/$defs/Place"
    assert schema["properties"]["several"]["anyOf"][0]["items"] == {"$ref": "#/$defs/Place"}
    assert schema["properties"]["model"]["properties"]["n"]["default"] == 3


def test_what_json_cannot_say_is_left_open():
    def load(frame: msgspec.Struct, path: Path, anything: Any, bare, wrong: "Nonsense") -> None: ...  # type: ignore # noqa: F821

    properties = parameter_schema(load)["properties"]
    assert properties["path"] == {"type": "string", "format": "path", "title": "path", "x-order": 1}
    assert properties["anything"] == {"title": "anything", "x-order": 2}
    assert properties["bare"] == {"title": "bare", "x-order": 3}
    assert properties["wrong"] == {"title": "wrong", "x-order": 4}


def test_default_of_none_makes_null_acceptable():
    def load(n: int = None, m: int | None = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013

    properties = parameter_schema(load)["properties"]
    assert properties["n"]["anyOf"] == [{"type": "integer"}, {"type": "null"}]
    assert properties["m"]["anyOf"] == [{"type": "integer"}, {"type": "null"}]


def test_open_ended_signatures():
    def load(a: int, /, b: int, *rest: int, c: int = 1, **more: int) -> None: ...

    schema = parameter_schema(load)
    assert list(schema["properties"]) == ["b", "c"]
    assert schema["additionalProperties"] is True


def test_unvalidated_flow_takes_anything():
    @flow(validate_parameters=False)
    def load(n: int) -> None: ...

    assert parameter_schema(load)["properties"] == {"n": {"title": "n", "x-order": 0}}


def test_flow_without_parameters():
    assert parameter_schema(flow(lambda: None)) == {
        "title": "Parameters",
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    }


def test_docstring_sections():
    assert argument_descriptions("No section.") == {}
    assert argument_descriptions("") == {}
    assert argument_descriptions(
        "X.\n\n    Args:\n        a, b: Both.\n        *c: Rest.\n            More.\n    Raises:\n        d: No."
    ) == {
        "a": "Both.",
        "b": "Both.",
        "c": "Rest. More.",
    }
