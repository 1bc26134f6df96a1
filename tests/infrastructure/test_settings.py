"""What is wrong with a block's values is said to whoever wrote them, not to a programmer."""

from typing import Any

import msgspec
import pytest

from flows.credentials import GitCredentials
from orchestrator.sdk.infrastructure.docker import DockerSettings
from orchestrator.sdk.infrastructure.process import ProcessSettings
from orchestrator.sdk.infrastructure.settings import check, fields_of


@pytest.mark.parametrize(
    ("settings", "name", "value", "said"),
    [
        (ProcessSettings, "memory_mb", 100, "At least 128 MB."),
        (ProcessSettings, "memory_mb", 2**31, "At most 16,777,216 MB."),
        (ProcessSettings, "memory_mb", "lots", "Write a whole number."),
        (ProcessSettings, "memory_mb", 200.5, "Write a whole number."),
        (ProcessSettings, "user", "No Body", "Write it like nobody."),
        (ProcessSettings, "user", 5, "Write text."),
        (ProcessSettings, "environment", {"A": 1}, "Write a text for each name."),
        (ProcessSettings, "environment", ["A=1"], "Write a text for each name."),
        (DockerSettings, "cpus", 0, "At least 0.01."),
        (DockerSettings, "cpus", "all", "Write a number."),
        (DockerSettings, "image", "x" * 501, "At most 500 characters."),
        (DockerSettings, "working_directory", "data", "It has to match ^(/.*)?$."),
        (DockerSettings, "pull_policy", "often", "One of if-missing, always, never."),
        (DockerSettings, "auto_remove", "perhaps", "Write true or false."),
        (DockerSettings, "volumes", "/a:/b", "Write a list of texts."),
        (GitCredentials, "host", "https://git.example.com", "Write it like git.example.com."),
        (ProcessSettings, "colour", 1, "There is no such field."),
    ],
)
def test_what_is_wrong_is_said_in_words(settings: type[msgspec.Struct], name: str, value: Any, said: str) -> None:
    needed = {field.name: field.example for field in fields_of(settings) if field.required}
    _, errors = check(settings, {**needed, name: value})
    assert errors[name].startswith(said)


def test_what_is_typed_into_a_form_is_said_alike() -> None:
    memory = next(field for field in fields_of(ProcessSettings) if field.name == "memory_mb")
    assert memory.read(["256"]) == 256
    for typed, said in (("100", "At least 128 MB."), ("lots", "Write a whole number.")):
        with pytest.raises(ValueError, match=said):
            memory.read([typed])
