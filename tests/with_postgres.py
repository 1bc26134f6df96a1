"""Run a command with `TEST_DATABASE_URL` naming a PostgreSQL server: `python -m tests.with_postgres pytest …`."""

import os
import subprocess
import sys

from tests.servers import postgres


def main(command: list[str]) -> int:
    """Run the command against a server of its own and return its exit code."""
    with postgres() as url:
        environment = {**os.environ, "TEST_DATABASE_URL": url, "TEST_POSTGRES_URL": url}
        return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
