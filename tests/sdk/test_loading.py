"""A flow is got out of a file without starting anything, and what is wrong is said clearly."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.sdk.exceptions import FlowLoadError
from orchestrator.sdk.loading import Entrypoint, find_flow, load_flow
from tests.sdk.processes import environment, run_python

TWO_LINES = """
from orchestrator import flow

@flow
def the_new_thing():
    print("Its gonna be big!")

the_new_thing()
"""


@pytest.fixture(autouse=True)
def own_imports(home: Path) -> Iterator[None]:
    """Take back what loading does to this process's imports."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith("/tmp"):
            del sys.modules[name]


def write(folder: Path, text: str, name: str = "flows_of_mine.py") -> Path:
    """Write a user's file."""
    path = folder / name
    path.write_text(text)
    return path


def error_of(entrypoint: str) -> str:
    """The message of the error that loading gives."""
    with pytest.raises(FlowLoadError) as caught:
        load_flow(entrypoint)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "target", "function"),
    [
        ("a/b.py:main", "a/b.py", "main"),
        ("a/b.py", "a/b.py", ""),
        ("pkg.mod:main", "pkg.mod", "main"),
        ("a.py:Jobs.nightly", "a.py", "Jobs.nightly"),
        ("/with:colon/a.py:main", "/with:colon/a.py", "main"),
        ("/with:colon/a.py", "/with:colon/a.py", ""),
    ],
)
def test_entrypoint_is_read_as_people_type_it(text: str, target: str, function: str) -> None:
    assert Entrypoint.parse(text) == Entrypoint(target, function)


def test_flows_called_at_the_top_level_are_left_out_and_one_line_says_so(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, TWO_LINES, "the_new_thing.py")
    assert load_flow(f"{path}:the_new_thing").name == "the_new_thing"
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "Not started while loading: the_new_thing() in the_new_thing.py\n"
    assert not (home / "journals").exists()


def test_only_flow_of_a_file_need_not_be_named(tmp_path: Path) -> None:
    path = write(tmp_path, TWO_LINES)
    found, flow = find_flow(str(path))
    assert str(found) == f"{path}:the_new_thing"
    assert flow.name == "the_new_thing"


def test_file_is_loaded_as_its_own_module_with_its_folder_first(tmp_path: Path) -> None:
    write(tmp_path, "VALUE = 42", "helper_of_mine.py")
    path = write(
        tmp_path,
        """
import dataclasses, helper_of_mine
from orchestrator import flow
@dataclasses.dataclass
class Row:
    value: "int"
@flow
def main(): return helper_of_mine.VALUE
assert __name__ != "__main__"
""",
    )
    flow = load_flow(f"{path}:main")
    assert flow.fn.__module__ == "flows_of_mine"
    assert sys.modules["flows_of_mine"].__file__ == str(path)
    assert sys.path[0] == str(tmp_path)


@pytest.mark.parametrize("name", ["json.py", "my-flows.py", "test 1.py"])
def test_file_whose_name_is_taken_or_no_identifier_gets_a_name_of_its_own(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, TWO_LINES, name)
    module = load_flow(f"{path}:the_new_thing").fn.__module__
    assert module.isidentifier()
    assert sys.modules[module].__file__ == str(path)
    assert sys.modules["json"] is json


def test_missing_file_is_named(tmp_path: Path) -> None:
    assert error_of(f"{tmp_path}/none.py:main") == f"There is no file {tmp_path}/none.py."


def test_missing_function_lists_what_is_there(tmp_path: Path) -> None:
    path = write(tmp_path, TWO_LINES)
    assert error_of(f"{path}:other") == f"{path} has no other. Its flows: {path}:the_new_thing."


def test_function_that_is_no_flow_is_said_to_be_none(tmp_path: Path) -> None:
    path = write(tmp_path, "def main(): pass\n")
    message = error_of(f"{path}:main")
    assert "main" in message
    assert "@flow" in message


def test_several_flows_must_be_told_apart(tmp_path: Path) -> None:
    path = write(tmp_path, TWO_LINES + "\n@flow\ndef second(): pass\n")
    assert error_of(str(path)) == f"{path} has several flows; name one: {path}:the_new_thing, {path}:second."


def test_file_without_a_flow_says_what_to_do(tmp_path: Path) -> None:
    assert "put @flow above a function" in error_of(str(write(tmp_path, "x = 1")))


def test_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    path = write(tmp_path, "x = 1\nif x\n")
    assert f"{path}:2: SyntaxError: expected ':'" in error_of(f"{path}:main")


def test_syntax_error_in_an_imported_file_names_that_one(tmp_path: Path) -> None:
    other = write(tmp_path, "x = (\n", "broken_helper.py")
    path = write(tmp_path, "import broken_helper\n")
    assert f"{other}:1: SyntaxError" in error_of(f"{path}:main")


def test_missing_dependency_is_named_with_the_interpreter(tmp_path: Path) -> None:
    path = write(tmp_path, "import not_installed_here\n")
    message = error_of(f"{path}:main")
    assert "'not_installed_here'" in message
    assert sys.executable in message
    assert "line 1" in message


def test_error_before_the_flow_is_defined_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, "\n1 / 0\n" + TWO_LINES)
    message = error_of(f"{path}:the_new_thing")
    assert "ZeroDivisionError" in message
    assert "line 2" in message


@pytest.mark.parametrize("bad_line", ["len(the_new_thing())", "import sys; sys.exit(3)"])
def test_error_after_the_flow_is_defined_is_a_warning(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], bad_line: str
) -> None:
    path = write(tmp_path, TWO_LINES + bad_line + "\n")
    assert load_flow(f"{path}:the_new_thing").name == "the_new_thing"
    assert 'if __name__ == "__main__":' in capfd.readouterr().err


def test_module_is_found_from_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "package_of_mine").mkdir()
    write(tmp_path / "package_of_mine", "", "__init__.py")
    write(tmp_path / "package_of_mine", TWO_LINES, "jobs.py")
    monkeypatch.chdir(tmp_path)
    assert load_flow("package_of_mine.jobs:the_new_thing").name == "the_new_thing"
    assert error_of("package_of_mine.none:x").startswith("There is no module 'package_of_mine.none'")


def test_edit_within_the_same_second_is_seen(tmp_path: Path) -> None:
    path = write(tmp_path, TWO_LINES)
    for word in ("aaa", "bbb"):
        path.write_text(f"from orchestrator import flow\n@flow\ndef {word}(): pass\n")
        assert load_flow(str(path)).name == word


def test_loaded_function_can_be_pickled_for_another_process(home: Path, tmp_path: Path) -> None:
    path = write(tmp_path, TWO_LINES[: TWO_LINES.rindex("the_new")] + "\ndef double(x): return 2 * x\n", "pickled.py")
    code = f"""
    import multiprocessing, sys
    from orchestrator.sdk.loading import load_flow
    if __name__ == "__main__":
        load_flow({str(path)!r})
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            print(pool.map(sys.modules["pickled"].double, [21]))
    """
    done = run_python(code, home)
    assert done.stdout == "[42]\n", done.stderr


def inspect(home: Path, entrypoint: str, directory: Path) -> "subprocess.CompletedProcess[str]":
    """Run the inspecting program."""
    return subprocess.run(
        [sys.executable, "-m", "orchestrator.sdk.inspect", entrypoint],
        env=environment(home),
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_inspect_describes_a_flow_in_json(home: Path, tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '''
from orchestrator import flow
print("noise")
@flow(name="Nightly Sales", version="3", retries=2, retry_delay_seconds=5)
def sales(day: str, limit: int = 10):
    """Load the sales of a day."""
''',
    )
    done = inspect(home, "flows_of_mine.py", tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["entrypoint"] == f"{path}:sales"
    assert found["directory"] == str(tmp_path)
    assert (found["flow"], found["version"], found["description"]) == ("Nightly Sales", "3", "Load the sales of a day.")
    assert found["retries"] == 2
    assert found["parameter_schema"]["required"] == ["day"]
    assert found["parameter_schema"]["properties"]["limit"]["default"] == 10
    assert len(found["source_sha256"]) == 64
    assert "noise" in done.stderr


def test_inspect_says_what_is_wrong_in_json(home: Path, tmp_path: Path) -> None:
    write(tmp_path, "1 / 0\n")
    done = inspect(home, "flows_of_mine.py:main", tmp_path)
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert error["type"] == "ZeroDivisionError"
    assert "line 1" in error["message"]
    assert "1 / 0" in error["traceback"]
    assert "sdk/loading.py" not in error["traceback"]
