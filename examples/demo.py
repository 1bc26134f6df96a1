"""What `make demo` runs: the flights example as a plain script, then deployed and run by a server.

The server has a home (.demo) and a port of its own, so that it never meets the user's. It stays up until Ctrl-C, with
the sign-in URL on the last line; with --once it stops when the deployed run has completed.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".demo"
SERVER_LOG = HOME / "server.log"
PYTHON = sys.executable
ORCHESTRATOR = str(Path(sys.executable).with_name("orchestrator"))
FIRST_PORT = 4222
START_SECONDS = 60
STOP_SECONDS = 15


def main(once: bool) -> int:
    """Run the demo; the exit code is that of the first step that failed, else 0."""
    HOME.mkdir(mode=0o700, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
    environment["ORCHESTRATOR_HOME"] = str(HOME)
    try:
        step("A flow is a script: no server, nothing to set up.")
        run([PYTHON, "examples/flights.py"], environment)

        port = free_port()
        step("One command serves it.")
        with server(port, environment) as process:
            step("One command deploys it; the next has a worker run it.")
            run([ORCHESTRATOR, "deploy", "examples/flights.py:flights", "--name", "nightly"], environment)
            run([ORCHESTRATOR, "deployment", "run", "flights/nightly", "--watch"], environment)
            if not once:
                step("The server stays up until Ctrl-C. Sign in, once, with this address:")
                run([ORCHESTRATOR, "server", "url"], environment, echo=False)
                return process.wait()
        step("The deployed run completed, and the server is stopped.")
    except subprocess.CalledProcessError as error:
        return error.returncode if error.returncode > 0 else 1
    except StartError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


class StartError(Exception):
    """The server did not come up; the message ends with its log."""


@contextmanager
def server(port: int, environment: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Serve the demo's home while the block runs. Raises StartError when the server does not come up."""
    command = [ORCHESTRATOR, "server", "start", "--port", str(port)]
    show(command)
    with SERVER_LOG.open("wb") as log:
        # A session of its own: Ctrl-C reaches only this script, which then stops the server in order.
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_until_up(process, port)
        yield process
    finally:
        stop(process)


def wait_until_up(process: "subprocess.Popen[bytes]", port: int) -> None:
    """Return when the port answers."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise StartError(f"The server did not start. {SERVER_LOG} says:\n{SERVER_LOG.read_text()}")


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Ask the server to stop; it drains its runs and takes all its parts with it."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run(command: list[str], environment: dict[str, str], echo: bool = True) -> None:
    """Show and run one command; raises CalledProcessError when it fails."""
    if echo:
        show(command)
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


def free_port() -> int:
    """Return the first port from FIRST_PORT on that nobody listens on."""
    for port in range(FIRST_PORT, FIRST_PORT + 100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise StartError(f"No port between {FIRST_PORT} and {FIRST_PORT + 99} is free.")


def step(text: str) -> None:
    print(f"\n{text}", flush=True)


def show(command: list[str]) -> None:
    print(f"$ {Path(command[0]).name} {' '.join(command[1:])}", flush=True)


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    for name in ("SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), _interrupt)
    sys.exit(main(once="--once" in sys.argv[1:]))
