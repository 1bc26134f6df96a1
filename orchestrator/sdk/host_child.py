"""A run's process, from its fork by the run host to its end."""

import atexit
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, NoReturn

from orchestrator.sdk import interrupts, journal
from orchestrator.sdk.endings import error_fact
from orchestrator.sdk.events import CodeFound, FlowRunState, Log
from orchestrator.sdk.exceptions import FlowLoadError
from orchestrator.sdk.execute import ClaimedRun, execute
from orchestrator.sdk.flows import Flow
from orchestrator.sdk.host_note import HostNote
from orchestrator.sdk.host_protocol import Start, pack
from orchestrator.sdk.infrastructure.base import COMMAND
from orchestrator.sdk.infrastructure.process import Process
from orchestrator.sdk.interrupts import crash_cause
from orchestrator.sdk.kernel import kernel
from orchestrator.sdk.loading import Entrypoint, load_flow
from orchestrator.sdk.processes import mark_of, set_mark
from orchestrator.sdk.runners.kinds import VARIABLE
from orchestrator.sdk.sources.base import Reach
from orchestrator.sdk.sources.opening import open_code
from orchestrator.sdk.states import State, StateType


def run_child(start: Start, note: HostNote, host_pid: int, process: Process, note_fd: int = -1) -> NoReturn:
    """Run an attempt in this newly forked process and end the process.

    Args:
        start: What to run.
        note: What this process and its host tell each other.
        host_pid: The process that forked this one.
        process: How it is held.
        note_fd: The file of the note, where another Python is to be executed.
    """
    exit_code = 1
    try:
        kernel.die_with_parent(host_pid)
        become_ordinary()
        process.limits.apply()
        os.environ.update(process.settings.environment)
        python = process.python or _environment(start, note)
        if python:
            _execute_python(start, note, python, process.block, note_fd)
        interrupts.stop_reason = lambda: note.reason
        exit_code = run_attempt(start, note, load_flow)
    except BaseException as error:  # user code may raise anything, anywhere; the process must not return to the host
        sys.excepthook(type(error), error, error.__traceback__)
    leave(exit_code)


def needs_python(start: Start) -> bool:
    """Whether an attempt's code may need another Python than the one that forks it."""
    return bool(start.source.get("environment"))


def _environment(start: Start, note: HostNote) -> str:
    """Return the Python of the environment that an attempt's source names; empty where it names none.

    What is told of building it goes to a journal of this process's own, since the run's begins in that Python. Ends the
    process where it cannot be built: the run has failed then.
    """
    if not needs_python(start):
        return ""
    from orchestrator.sdk.environments.of_attempts import python_of  # 10 ms, which others do not pay

    take_over(start)
    set_mark(mark_of(start.run, start.attempt))
    journal.open_journal(None, start.run, start.attempt)
    try:
        reach = Reach(start.api_url, start.token, partial(_say, start), start.source_credentials)
        code = open_code(start.source, start.directory, start.entrypoint, reach)
        python = python_of(start.source, code.root, reach.say)
        if code.exact:  # the branch may move before that Python asks for it again
            start.source = {**start.source, "ref": code.exact["commit"]}
        start.source_credentials = {}
    except FlowLoadError as error:
        journal.close()
        journal.open_journal(start.journal, start.run, start.attempt).on_ended = note.set_ended
        note.set_hookless()
        _record_ending(start, StateType.FAILED, error)
        leave(1)
    journal.close()
    if python:
        folder = os.path.dirname(os.path.dirname(python))
        os.environ["VIRTUAL_ENV"] = folder
        os.environ["PATH"] = os.pathsep.join((f"{folder}/bin", os.environ.get("PATH", os.defpath)))
    return python


def _execute_python(start: Start, note: HostNote, python: str, block: str, note_fd: int) -> NoReturn:
    """Become another Python, which runs the attempt (`orchestrator.sdk.attempt`) in this process."""
    take_over(start)
    set_mark(mark_of(start.run, start.attempt))
    with tempfile.TemporaryFile() as file:
        file.write(pack(start))
        file.seek(0)
        for fd in (file.fileno(), note_fd):
            os.set_inheritable(fd, True)
        arguments = [python, *COMMAND, "--fd", str(file.fileno()), "--note", str(note_fd)]
        try:
            os.execv(python, arguments)
        except OSError as error:
            named = f"block {block!r}: " if block else ""
            note.set_reason(f"{named}{python} cannot be executed: {error.strerror}")
            raise


def become_ordinary() -> None:
    """Make this process what one started from a shell would be: own session, default signals, stdin."""
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def run_attempt(start: Start, note: HostNote, load: Callable[[str], Flow[..., Any]]) -> int:
    """Run an attempt in this process, with its environment, mark and journal; return the exit code.

    Args:
        start: What to run.
        note: What this process and its host tell each other.
        load: Returns the flow of an entrypoint, or raises FlowLoadError.
    """
    take_over(start)
    set_mark(mark_of(start.run, start.attempt))
    journal.open_journal(start.journal, start.run, start.attempt).on_ended = note.set_ended
    return _run(start, note, load)


def take_over(start: Start) -> None:
    """Take on a run's environment."""
    os.environ.update(start.env)
    os.environ["ORCHESTRATOR_RUN_ID"] = start.run
    for name, value in (("ORCHESTRATOR_API_URL", start.api_url), ("ORCHESTRATOR_API_TOKEN", start.token)):
        if value:
            os.environ[name] = value
        else:
            os.environ.pop(name, None)
    if start.task_runner:  # for subflows that name none; the run's own flow is told by `claimed_run`
        os.environ[VARIABLE] = start.task_runner


def enter_code(start: Start, is_recorded: bool = True) -> str:
    """Have a run's code in reach, work in its directory, and return the entrypoint to load.

    Args:
        start: What to run.
        is_recorded: Whether to record which code exactly was found; else it is what was found before.

    Raises:
        FlowLoadError: The code cannot be brought here, or the directory cannot be entered.
    """
    credentials, start.source_credentials = start.source_credentials, {}  # what is loaded now is the user's
    reach = Reach(start.api_url, start.token, partial(_say, start), credentials, is_again=not is_recorded)
    code = open_code(start.source, start.directory, start.entrypoint, reach)
    if code.exact and is_recorded:
        journal.record(CodeFound(run=start.run, attempt=start.attempt, commit=code.exact["commit"]))
    enter(code.directory)
    sys.argv = [Entrypoint.parse(code.entrypoint).target]
    return code.entrypoint


def _say(start: Start, line: str) -> None:
    """Put a line into the run's log, before the engine captures what is printed."""
    journal.record(Log(run=start.run, attempt=start.attempt, message=line, logger="orchestrator.code"))


def _run(start: Start, note: HostNote, load: Callable[[str], Flow[..., Any]]) -> int:
    try:
        flow = load(enter_code(start))
        enter(_working_directory(start))
    except FlowLoadError as error:
        print(error, file=sys.stderr, flush=True)
        note.set_hookless()
        _record_ending(start, StateType.FAILED, error)
        return 1
    try:
        if not (flow.hooks.get(StateType.CANCELLED) or flow.hooks.get(StateType.CRASHED)):
            note.set_hookless()
        return execute(flow, claimed_run(start), note.set_concluded)
    except BaseException as error:  # the engine catches what user code raises, so this is the engine's own
        _record_ending(start, StateType.CRASHED, error)
        raise


def claimed_run(start: Start) -> ClaimedRun:
    """Return what the engine is told of a run."""
    return ClaimedRun(
        id=start.run,
        name=start.name,
        attempt=start.attempt,
        parameters=start.parameters,
        tags=start.tags,
        deployment_id=start.deployment_id or "",
        deployment=start.deployment or "",
        scheduled_for=datetime.fromisoformat(start.scheduled_for) if start.scheduled_for else None,
        task_runner=start.task_runner,
    )


def enter(directory: str) -> None:
    """Work in a run's directory. Raises FlowLoadError where that is not possible."""
    if not directory:
        return
    try:
        os.chdir(directory)
    except OSError as error:
        raise FlowLoadError(f"The run's directory {directory} cannot be entered: {error.strerror}.") from None


def _working_directory(start: Start) -> str:
    """Return where a run's code works, where its infrastructure says so: it is loaded in its own folder before."""
    return str(start.infrastructure.settings.get("working_directory", "")) if start.infrastructure else ""


def _record_ending(start: Start, type_: StateType, error: BaseException) -> None:
    state = State(type_, message=str(error), data=error.__cause__ or error)
    journal.record(
        FlowRunState(
            run=start.run,
            attempt=start.attempt,
            type=state.type,
            name=state.name,
            message=state.message,
            error=error_fact(state),
            pid=os.getpid(),
            cause=crash_cause(error) if type_ is StateType.CRASHED else "",
        )
    )


def leave(exit_code: int, last: Callable[[], object] | None = None) -> NoReturn:
    """Do what the interpreter does at its end, as far as user code can notice, and exit.

    Args:
        exit_code: For the process.
        last: Called when the journal is closed.
    """
    steps = [threading._shutdown, atexit._run_exitfuncs, journal.close]  # type: ignore[attr-defined]
    for step in (*steps, last) if last else steps:
        try:
            step()
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # closed, or nobody reads it
            pass
    os._exit(exit_code & 0xFF)
