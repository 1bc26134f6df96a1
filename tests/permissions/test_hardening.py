"""What the site never does, looked for in all of its code and addresses."""

import ast
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from orchestrator import door
from orchestrator.celery import app

SITE = ("flows", "notifications", "orchestrator", "runs", "teams")
#: They make objects of any class out of bytes.
UNSAFE = {"cloudpickle", "dill", "marshal", "pickle", "shelve"}


def modules_of_the_site() -> Iterator[Path]:
    """Every module but the engine's, which opens what its own runs have written."""
    for package in SITE:
        for path in Path(settings.BASE_DIR, package).rglob("*.py"):
            if "sdk" not in path.parts:
                yield path


def imported(path: Path) -> Iterator[str]:
    """The packages that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def test_the_site_opens_no_pickle() -> None:
    paths = list(modules_of_the_site())
    assert len(paths) > 200
    assert {str(path): UNSAFE & set(imported(path)) for path in paths if UNSAFE & set(imported(path))} == {}
    assert app.conf.accept_content == ["json"]
    assert app.conf.result_accept_content in (None, ["json"])
    assert settings.SESSION_SERIALIZER == "django.contrib.sessions.serializers.JSONSerializer"
    assert settings.CACHES["default"]["OPTIONS"]["serializer"] == "orchestrator.cache.JsonSerializer"


def test_no_address_takes_a_path() -> None:
    taking = [address for address, _ in door.addresses() if "<path:" in address or ".*" in address]
    assert taking == []
