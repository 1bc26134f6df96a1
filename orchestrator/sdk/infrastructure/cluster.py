"""What is asked of a Kubernetes cluster, as JSON over its API, and its answers in words.

The `kubernetes` package gives the address, the certificates and the credentials; it is loaded by the process that
supervises an attempt, and by no other (0.2 s, 20 MB). Requests are our own: a watch has to notice a connection that
died silently, and an answer that says "later" has to be asked again (kubernetes-client/python issues 728, 2462).
"""

from __future__ import annotations

import json
import random
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from orchestrator.sdk.infrastructure.printed import MAX_LINE_BYTES, lines

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 30.0
WATCH_SECONDS: Final = 50  #: a watch is begun anew so often, so that one that is dead is noticed
PATIENCE_SECONDS: Final = 60.0  #: an API that does not answer, or says 503, is asked again for so long
LONGEST_PAUSE_SECONDS: Final = 10.0
_FIRST_PAUSE_SECONDS: Final = 0.2
_SLACK_SECONDS: Final = 10.0
_CONNECTIONS: Final = 4
_MAX_EVENT_BYTES: Final = 8 * 1024 * 1024  # a cluster keeps objects of 1.5 MB
_LATER: Final = frozenset({408, 429, 500, 502, 503, 504})
# Of a kubeconfig that somebody else wrote: they have this machine execute programs, or send files of it away.
_FORBIDDEN: Final = (
    "exec", "auth-provider", "tokenFile", "client-certificate", "client-key", "certificate-authority",
)  # fmt: skip


class ClusterProblem(Exception):
    """The cluster said no; the message has its own words.

    Attributes:
        status: Of its answer; 0 without one.
        reason: Kubernetes' word for it: `AlreadyExists`, `NotFound`, `Forbidden`.
    """

    def __init__(self, message: str, status: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class ClusterAway(ClusterProblem):
    """The cluster's API did not answer, or asked to come again later."""


class Gone(ClusterProblem):
    """What a watch was to go on from is too old (410): list again."""


class Cluster:
    """One cluster's API.

    Args:
        kubeconfig: The text of one; empty: the service account of the pod that this worker is.
        context: Which of its contexts; empty: its current one.

    Raises:
        ClusterProblem: There is no such configuration.
    """

    def __init__(self, kubeconfig: str = "", context: str = "") -> None:
        self._configuration, tls = _configured(kubeconfig, context)
        import urllib3  # the kubernetes package has loaded it

        name = getattr(self._configuration, "tls_server_name", None)
        more = {"server_hostname": name, "assert_hostname": name} if name else {}
        proxy = self._configuration.proxy
        if proxy:
            self._pool: Any = urllib3.ProxyManager(proxy, ssl_context=tls, maxsize=_CONNECTIONS, **more)
        else:
            self._pool = urllib3.PoolManager(ssl_context=tls, maxsize=_CONNECTIONS, **more)
        self.url = str(self._configuration.host).rstrip("/")
        self.is_closing = threading.Event()

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    # Requests

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> dict[str, Any]:
        """Return what the API answers, asked again while it is away.

        Args:
            method: Of HTTP.
            path: Below the address, from `/`.
            body: JSON, or None.
            query: Parameters, as the API names them.

        Raises:
            ClusterAway: It is away for longer than `PATIENCE_SECONDS`.
            ClusterProblem: It says no.
        """
        until, pause = time.monotonic() + PATIENCE_SECONDS, _FIRST_PAUSE_SECONDS
        while True:
            try:
                with self._open(method, path, body, query, READ_SECONDS) as answer:
                    found: dict[str, Any] = json.loads(answer.read() or b"{}")
                    return found
            except ClusterAway:
                if time.monotonic() > until or self.is_closing.wait(pause):
                    raise
                pause = next_pause(pause)

    def lines(
        self, path: str, read_seconds: float | None, longest: int = MAX_LINE_BYTES, **query: Any
    ) -> Iterator[str]:
        """Return the lines of an answer as they come, to its end.

        Args:
            path: Below the address.
            read_seconds: How long nothing may come; None: for ever.
            longest: How many bytes of a line are kept.
            query: Parameters.

        Raises:
            ClusterAway: The connection broke.
            ClusterProblem: It says no.
        """
        import urllib3  # the kubernetes package has loaded it

        with self._open("GET", path, None, query, read_seconds) as answer:
            try:
                yield from lines(answer.stream(amt=None, decode_content=True), longest)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise ClusterAway(f"the connection to {self.url} broke: {error}") from None

    def watch(self, path: str, version: str, seconds: float, **query: Any) -> Iterator[dict[str, Any]]:
        """Return the events of a watch, until the API ends it.

        Args:
            path: Of a list.
            version: The resource version to go on from.
            seconds: How long it goes on at most.
            query: Parameters of the list.

        Raises:
            Gone: The version is too old.
            ClusterAway, ClusterProblem: As `lines`.
        """
        seconds = max(1, min(WATCH_SECONDS, round(seconds)))
        options = {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": seconds,
        }
        for line in self.lines(path, seconds + _SLACK_SECONDS, _MAX_EVENT_BYTES, **options, **query):
            try:
                event = json.loads(line)
            except ValueError:
                raise ClusterAway(f"{self.url} sent half of an event") from None
            if event.get("type") == "ERROR":
                raise _problem(int(event["object"].get("code") or 500), event["object"])
            yield event

    def _open(self, method: str, path: str, body: Any, query: Mapping[str, Any], read_seconds: float | None) -> Any:
        import urllib3  # the kubernetes package has loaded it

        url = f"{self.url}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        for name, each in self._configuration.auth_settings().items():  # asked each time: tokens are renewed
            if each.get("in") == "header" and name and each.get("value"):
                headers[each["key"]] = each["value"]
        try:
            answer = self._pool.request(
                method,
                url,
                headers=headers,
                body=None if body is None else json.dumps(body).encode(),
                preload_content=False,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=read_seconds),
                retries=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ClusterAway(f"the cluster at {self.url} does not answer: {error}") from None
        if answer.status < 300:
            return _Closing(answer)
        with _Closing(answer):
            try:
                said = json.loads(answer.read(65536, decode_content=True) or b"{}")
            except (ValueError, urllib3.exceptions.HTTPError):
                said = {}
        raise _problem(answer.status, said)


class _Closing:
    """An answer whose connection is given back, or closed where it was not read to its end."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def __enter__(self) -> Any:
        return self._answer

    def __exit__(self, *_error: object) -> None:
        self._answer.close()
        self._answer.release_conn()


def next_pause(pause: float) -> float:
    """Return the next pause after a failure: doubled, and spread so that many do not come back at once."""
    return min(LONGEST_PAUSE_SECONDS, pause * 2) * random.uniform(0.75, 1.25)


def _problem(status: int, said: Mapping[str, Any]) -> ClusterProblem:
    message = str(said.get("message") or f"it answered {status}")
    kind = Gone if status == 410 else ClusterAway if status in _LATER else ClusterProblem
    return kind(message, status, str(said.get("reason") or ""))


def _configured(kubeconfig: str, context: str) -> tuple[Any, ssl.SSLContext]:
    """Return the address and credentials of a cluster, and what its connections are made with.

    The package writes keys to files. They are gone before anything else happens: runs of other kinds may be of the same
    user.
    """
    with tempfile.TemporaryDirectory(prefix="orchestrator-") as folder:
        settings = _configuration(kubeconfig, context, folder)
        tls = ssl.create_default_context(cafile=settings.ssl_ca_cert or None)
        tls.verify_flags &= ~ssl.VERIFY_X509_STRICT  # clusters' own authorities often leave out what RFC 5280 wants
        if not settings.verify_ssl:
            tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        if settings.cert_file:
            tls.load_cert_chain(settings.cert_file, settings.key_file)
    return settings, tls


def _configuration(kubeconfig: str, context: str, folder: str) -> Any:
    try:
        from kubernetes import client, config  # 0.2 s
    except ImportError:
        raise ClusterProblem(
            "this worker has no kubernetes package: pip install 'orchestrator-flows[kubernetes]'"
        ) from None
    settings = client.Configuration()
    try:
        if kubeconfig:
            config.load_kube_config_from_dict(
                read_kubeconfig(kubeconfig),
                context=context or None,
                client_configuration=settings,
                persist_config=False,
                temp_file_path=folder,
            )
        else:
            config.load_incluster_config(client_configuration=settings)
    except config.ConfigException as error:
        words = str(error) if kubeconfig else "this worker runs in no cluster, and the block names no kubeconfig"
        raise ClusterProblem(words) from None
    return settings


def read_kubeconfig(text: str) -> dict[str, Any]:
    """Return a kubeconfig that may be used: one with all in it.

    Raises:
        ClusterProblem: It is none, or it has programs executed or files read on the machine where it is used.
    """
    import yaml  # 20 ms; the server and the kubernetes package have it

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ClusterProblem(f"the kubeconfig is no YAML: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("clusters"), list):
        raise ClusterProblem("the kubeconfig names no clusters")
    for kind, inner in (("users", "user"), ("clusters", "cluster")):
        for each in found.get(kind) or []:
            values = each.get(inner) if isinstance(each, dict) else None
            for name in _FORBIDDEN:
                if name in (values or {}):
                    raise ClusterProblem(
                        f"the kubeconfig has {name!r}, which refers to the machine where it is used. Only what stands"
                        " in it is used: token, client-certificate-data, client-key-data, certificate-authority-data."
                        " kubectl config view --flatten --raw writes certificates in."
                    )
    return found
