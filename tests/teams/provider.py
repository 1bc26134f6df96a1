"""A real OpenID Connect provider on loopback, in a process of its own, and a person at it."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

from orchestrator.drill.parts import die_with_parent
from tests.servers import free_port

START_SECONDS = 120  # it loads a good deal, which takes long on a busy machine


@dataclass(frozen=True)
class Provider:
    """Where it is; it takes any client with any secret."""

    issuer: str

    def knows(self, subject: str, **claims: Any) -> None:
        """Keep a person with these claims, instead of those before."""
        requests.put(f"{self.issuer}/users/{subject}", json=claims, timeout=10).raise_for_status()

    def consent(self, address: str, subject: str) -> str:
        """Sign a person in where a site sent their browser. Returns the address that leads back."""
        return self._answered(address, {"sub": subject})

    def deny(self, address: str) -> str:
        """Refuse there. Returns the address that leads back."""
        return self._answered(address, {"action": "deny"})

    def _answered(self, address: str, data: dict[str, str]) -> str:
        assert address.startswith(self.issuer), address
        answer = requests.post(address, data=data, allow_redirects=False, timeout=10)
        assert answer.status_code == 302, answer.text
        return str(answer.headers["Location"])


@contextmanager
def provider() -> Iterator[Provider]:
    """Start one and stop it at the end."""
    port = free_port()
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port)]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent,
    )  # fmt: skip
    try:
        running = Provider(f"http://localhost:{port}")
        _wait_for(running, process)
        yield running
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(running: Provider, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            requests.get(f"{running.issuer}/.well-known/openid-configuration", timeout=5).raise_for_status()
            return
        except requests.RequestException:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)  # it tells nobody when it listens
