"""A Kubernetes API server for tests: Jobs, Pods, Secrets, events, logs and watches, and everything that can go wrong.

It is no cluster: it keeps objects with resource versions, plays the Job controller, the scheduler, the garbage
collector and a kubelet that executes pods as processes of this machine, and lets a test break each of them.
"""

import copy
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TOKEN = "cluster-token"
PATH = re.compile(
    r"^/(?:api/v1|apis/batch/v1)/namespaces/(?P<namespace>[^/]+)/(?P<kind>jobs|pods|secrets|events)"
    r"(?:/(?P<name>[^/]+)(?P<log>/log)?)?$"
)
KINDS = {"jobs": "Job", "pods": "Pod", "secrets": "Secret", "events": "Event"}
MISSING = "missing"  # an image with this word in its name is in no registry


class Answer(Exception):
    """What the API says no with."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "reason": reason,
            "message": message,
        }  # fmt: skip


class FakeCluster:
    """The objects, and who acts on them."""

    def __init__(self, tls: "Certificates | None" = None) -> None:
        self._tls = tls
        self.changed = threading.Condition()
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.version = 100
        self.history: list[tuple[int, str, str, dict[str, Any]]] = []  #: version, kind, type of event, object
        self.floor = 0  #: versions up to this one are compacted away
        self.requests: list[tuple[str, str]] = []  #: method and path of each
        self.created: list[tuple[str, str]] = []  #: kind and name of all that was ever made
        self.failing: list[int] = []  #: the next requests are answered with these
        self.is_away = False
        self.unschedulable = ""  #: what the scheduler says, and leaves pods where they are
        self.no_pods = ""  #: what the Job controller says, and makes none
        self._connections: set[socket.socket] = set()
        self._kubelets: dict[str, Kubelet] = {}
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.cluster = self
        if tls is not None:
            self._server.socket = tls.context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """Where the API is."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._server.server_address[1]}"

    @property
    def kubeconfig(self) -> str:
        """What reaches it."""
        tls = self._tls
        user = {"name": "worker", "user": {"token": TOKEN, **(tls.of_user if tls else {})}}
        context = {"name": "test", "context": {"cluster": "test", "user": "worker"}}
        clusters = [{"name": "test", "cluster": {"server": self.url, **(tls.of_cluster if tls else {})}}]
        whole = {"clusters": clusters, "users": [user], "contexts": [context], "current-context": "test"}
        return json.dumps({"apiVersion": "v1", "kind": "Config", **whole})

    def start(self) -> None:
        """Serve."""
        self._thread.start()

    def close(self) -> None:
        """End everything that runs."""
        for kubelet in list(self._kubelets.values()):
            kubelet.kill()
        self.drop()
        self._server.shutdown()
        self._server.server_close()
        for kubelet in list(self._kubelets.values()):
            kubelet.join(5.0)

    # What a test does to it

    def drop(self) -> None:
        """Cut every connection that is open."""
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def compact(self) -> None:
        """Forget all history: a watch from any version before now is answered with 410."""
        with self.changed:
            self.version += 1
            self.floor = self.version

    def pod_of(self, job: str) -> dict[str, Any] | None:
        """The pod of a Job."""
        with self.changed:
            found = [pod for key, pod in self.objects.items() if key[0] == "pods" and _label(pod, "job-name") == job]
            return copy.deepcopy(found[0]) if found else None

    def evict(self, job: str, message: str) -> None:
        """The node needs the memory."""
        self._end_pod(job, {"phase": "Failed", "reason": "Evicted", "message": message})

    def run_out_of_memory(self, job: str) -> None:
        """The kernel kills its container."""
        self._kubelet(job).kill(reason="OOMKilled")

    def delete_pod(self, job: str) -> None:
        """Somebody deletes it by force, and nobody sees how its container ends."""
        kubelet = self._kubelet(job)
        kubelet.forgotten = True
        self.remove("pods", kubelet.namespace, kubelet.name)
        kubelet.kill()

    def _end_pod(self, job: str, status: Mapping[str, Any]) -> None:
        kubelet = self._kubelet(job)
        kubelet.forgotten = True
        kubelet.kill()
        self.update("pods", kubelet.namespace, kubelet.name, lambda pod: pod["status"].update(status))

    def _kubelet(self, job: str) -> "Kubelet":
        return next(kubelet for kubelet in self._kubelets.values() if kubelet.job == job)

    # The API

    def create(self, kind: str, namespace: str, given: dict[str, Any]) -> dict[str, Any]:
        """Enter an object."""
        name = given["metadata"]["name"]
        with self.changed:
            if (kind, namespace, name) in self.objects:
                raise Answer(409, "AlreadyExists", f'{kind}.batch "{name}" already exists')
            if kind == "jobs" and given["spec"]["template"]["spec"].get("restartPolicy") not in ("Never", "OnFailure"):
                raise Answer(422, "Invalid", f'Job.batch "{name}" is invalid: restartPolicy: Unsupported value')
            made = copy.deepcopy(given)
            made["metadata"].update(namespace=namespace, uid=f"uid-{self.version}", creationTimestamp=_now())
            made.setdefault("status", {})
            self.objects[kind, namespace, name] = made
            self.created.append((kind, name))
            self._note("ADDED", kind, made)
        if kind == "jobs":
            self._control(namespace, made)
        return copy.deepcopy(made)

    def update(self, kind: str, namespace: str, name: str, change: Callable[[dict[str, Any]], Any]) -> None:
        """Change an object, if it is there."""
        with self.changed:
            found = self.objects.get((kind, namespace, name))
            if found is not None:
                change(found)
                self._note("MODIFIED", kind, found)

    def delete(self, kind: str, namespace: str, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Delete an object; what it owns goes with it, a pod after its grace."""
        with self.changed:
            found = self.get(kind, namespace, name)
            grace = options.get("gracePeriodSeconds")
            if kind == "pods" and (kubelet := self._kubelets.get(name)) is not None and kubelet.is_alive():
                found["metadata"]["deletionTimestamp"] = _now()
                self._note("MODIFIED", kind, found)
                kubelet.end(30 if grace is None else grace)
                return found
            self.remove(kind, namespace, name)
            for (other, where, owned), each in list(self.objects.items()):
                owners = [owner["uid"] for owner in each["metadata"].get("ownerReferences") or []]
                if where == namespace and found["metadata"]["uid"] in owners:
                    self.delete(other, where, owned, {})
        return found

    def remove(self, kind: str, namespace: str, name: str) -> None:
        """Take an object out."""
        with self.changed:
            if (gone := self.objects.pop((kind, namespace, name), None)) is not None:
                self._note("DELETED", kind, gone)

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        """Return an object."""
        with self.changed:
            found = self.objects.get((kind, namespace, name))
            if found is None:
                raise Answer(404, "NotFound", f'{kind} "{name}" not found')
            return found

    def select(self, kind: str, namespace: str, query: Mapping[str, str]) -> dict[str, Any]:
        """Return those that a query selects."""
        with self.changed:
            items = [
                copy.deepcopy(each)
                for (other, where, _), each in self.objects.items()
                if (other, where) == (kind, namespace) and _selected(each, query)
            ]
            return {"kind": f"{KINDS[kind]}List", "metadata": {"resourceVersion": str(self.version)}, "items": items}

    def events_after(
        self, version: int, kind: str, namespace: str, query: Mapping[str, str], until: float
    ) -> tuple[int, list[dict[str, Any]]]:
        """Wait for events after a version; return where to go on from, and the events."""
        with self.changed:
            while True:
                if version < self.floor:
                    gone = Answer(410, "Expired", f"too old resource version: {version} ({self.version})")
                    return version, [{"type": "ERROR", "object": gone.body}]
                found = [
                    {"type": type_, "object": each}
                    for number, other, type_, each in self.history
                    if number > version
                    and other == kind
                    and each["metadata"]["namespace"] == namespace
                    and _selected(each, query)
                ]
                if found or time.monotonic() >= until:
                    return self.version, found
                self.changed.wait(min(0.2, max(0.0, until - time.monotonic())))

    def log_of(self, name: str) -> "Kubelet | None":
        """Who has the log of a pod."""
        return self._kubelets.get(name)

    def _note(self, type_: str, kind: str, found: dict[str, Any]) -> None:
        self.version += 1
        found["metadata"]["resourceVersion"] = str(self.version)
        self.history.append((self.version, kind, type_, copy.deepcopy(found)))
        self.changed.notify_all()

    # The Job controller and the scheduler

    def _control(self, namespace: str, job: dict[str, Any]) -> None:
        name = job["metadata"]["name"]
        if self.no_pods:
            about = {"name": f"{name}.1", "namespace": namespace}
            event = {"metadata": about, "type": "Warning", "message": self.no_pods, "involvedObject": {"name": name}}
            self.create("events", namespace, event)
            return
        template = copy.deepcopy(job["spec"]["template"])
        labels = {**template["metadata"].get("labels", {}), "job-name": name}
        owner = {"kind": "Job", "name": name, "uid": job["metadata"]["uid"], "controller": True}
        metadata = {"name": f"{name}-x7k2p", "labels": labels, "ownerReferences": [owner]}
        self.create("pods", namespace, {"metadata": metadata, "spec": template["spec"], "status": {"phase": "Pending"}})
        kubelet = Kubelet(self, namespace, f"{name}-x7k2p", name, template["spec"])
        self._kubelets[kubelet.name] = kubelet
        kubelet.start()

    def job_ended(self, namespace: str, job: str, succeeded: bool) -> None:
        """The controller's word on a Job whose pod has ended."""
        type_ = "Complete" if succeeded else "Failed"
        condition = {"type": type_, "status": "True", "reason": "BackoffLimitExceeded"}
        self.update(
            "jobs", namespace, job, lambda found: found["status"].setdefault("conditions", []).append(condition)
        )


class Kubelet(threading.Thread):
    """Executes one pod as a process of this machine."""

    def __init__(self, cluster: FakeCluster, namespace: str, name: str, job: str, spec: Mapping[str, Any]) -> None:
        super().__init__(name=f"kubelet-{name}", daemon=True)
        self.namespace, self.job = namespace, job
        self.pod = name
        self.name = name
        self.lines: list[tuple[str, str]] = []  #: time and text
        self.is_over = False
        self.forgotten = False  #: its end is somebody else's to tell
        self._cluster = cluster
        self._spec = spec
        self._process: subprocess.Popen[str] | None = None
        self._reason = ""
        self._ended = threading.Event()  # it is to end, or has

    def run(self) -> None:
        """From the scheduler to the end."""
        container = self._spec["containers"][0]
        if not self._wait(self._scheduled) or not self._wait(lambda: self._image(container["image"])):
            self._cluster.remove("pods", self.namespace, self.name)
            return
        environment: dict[str, str] = {}
        if not self._wait(lambda: self._environment(container, environment)):
            self._cluster.remove("pods", self.namespace, self.name)
            return
        self._process = subprocess.Popen(
            container["command"], env={"PATH": os.environ["PATH"], **environment}, cwd="/", text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self._state({"running": {"startedAt": _now()}}, "Running")
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                with self._cluster.changed:
                    self.lines.append((_now(), line.rstrip("\n")))
                    self._cluster.changed.notify_all()
        code = self._process.wait()
        code = 128 - code if code < 0 else code
        self._over(code)

    def _over(self, code: int) -> None:
        with self._cluster.changed:
            self.is_over = True
            self._cluster.changed.notify_all()
        if not self.forgotten:
            reason = self._reason or ("Completed" if code == 0 else "Error")
            self._state({"terminated": {"exitCode": code, "reason": reason}}, "Failed" if code else "Succeeded")
        self._cluster.job_ended(self.namespace, self.job, code == 0)
        pod = self._cluster.objects.get(("pods", self.namespace, self.name))
        if pod is not None and "deletionTimestamp" in pod["metadata"]:
            self._cluster.remove("pods", self.namespace, self.name)

    def end(self, grace_seconds: float) -> None:
        """SIGTERM, SIGKILL after the grace."""
        if not grace_seconds:
            self.kill()
            return
        if not self._ended.is_set():  # a pod that is deleted twice is told once
            self._ended.set()
            self._signal(signal.SIGTERM)
        timer = threading.Timer(grace_seconds, self.kill)
        timer.daemon = True
        timer.start()

    def kill(self, reason: str = "") -> None:
        """SIGKILL."""
        self._reason = reason
        self._ended.set()
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _wait(self, ready: Callable[[], bool]) -> bool:
        """Wait until something is so; False where the pod is deleted first."""
        while not ready():
            if self._ended.wait(0.05):
                return False
        return not self._ended.is_set()

    def _scheduled(self) -> bool:
        said = self._cluster.unschedulable
        condition = {"type": "PodScheduled", "status": "False" if said else "True"}
        if said:
            condition.update(reason="Unschedulable", message=said)
        self._change({"conditions": [condition]})
        return not said

    def _image(self, image: str) -> bool:
        if MISSING not in image:
            return True
        self._state({"waiting": {"reason": "ErrImagePull", "message": f"{image}: not found"}}, "Pending")
        return False

    def _environment(self, container: Mapping[str, Any], environment: dict[str, str]) -> bool:
        for each in container.get("env") or []:
            wanted = each.get("valueFrom", {}).get("secretKeyRef")
            if wanted is None:
                environment[each["name"]] = each["value"]
                continue
            secret = self._cluster.objects.get(("secrets", self.namespace, wanted["name"]))
            if secret is None:
                said = f'secret "{wanted["name"]}" not found'
                self._state({"waiting": {"reason": "CreateContainerConfigError", "message": said}}, "Pending")
                return False
            environment[each["name"]] = secret["stringData"][wanted["key"]]
        return True

    def _state(self, state: Mapping[str, Any], phase: str) -> None:
        self._change({"phase": phase, "containerStatuses": [{"name": "run", "state": state}]})

    def _change(self, status: Mapping[str, Any]) -> None:
        pod = self._cluster.objects.get(("pods", self.namespace, self.name))
        if pod is not None and any(pod["status"].get(name) != value for name, value in status.items()):
            self._cluster.update("pods", self.namespace, self.name, lambda pod: pod["status"].update(status))


class _Server(ThreadingHTTPServer):
    cluster: FakeCluster
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that was cut is no news."""
        if not isinstance(sys.exc_info()[1], OSError | ValueError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.cluster._connections.add(self.connection)

    def finish(self) -> None:
        self.server.cluster._connections.discard(self.connection)
        with suppress(OSError, ValueError):
            super().finish()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _do(self) -> None:
        cluster = self.server.cluster
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        cluster.requests.append((self.command, parts.path))
        try:
            if cluster.is_away:
                self.close_connection = True
                return
            if cluster.failing:
                raise Answer(
                    cluster.failing.pop(0), "ServiceUnavailable", "the server is currently unable to handle it"
                )
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Answer(401, "Unauthorized", "Unauthorized")
            found = PATH.match(parts.path)
            if found is None:
                raise Answer(404, "NotFound", "the server could not find the requested resource")
            self._serve(found["kind"], found["namespace"], found["name"], bool(found["log"]), query, body)
        except Answer as answer:
            self._answer(answer.status, answer.body)

    do_GET = do_POST = do_DELETE = _do

    def _serve(
        self, kind: str, namespace: str, name: str | None, log: bool, query: Mapping[str, str], body: dict[str, Any]
    ) -> None:
        cluster = self.server.cluster
        if self.command == "POST":
            self._answer(201, cluster.create(kind, namespace, body))
        elif self.command == "DELETE":
            assert name is not None
            self._answer(200, cluster.delete(kind, namespace, name, body))
        elif log:
            assert name is not None
            self._stream(self._log(name, query))
        elif name:
            self._answer(200, cluster.get(kind, namespace, name))
        elif query.get("watch") == "true":
            self._stream(self._watch(kind, namespace, query))
        else:
            self._answer(200, cluster.select(kind, namespace, query))

    def _watch(self, kind: str, namespace: str, query: Mapping[str, str]) -> Iterator[str]:
        version = int(query["resourceVersion"])
        until = time.monotonic() + float(query.get("timeoutSeconds") or 300)
        while time.monotonic() < until:
            version, events = self.server.cluster.events_after(version, kind, namespace, query, until)
            for event in events:
                yield json.dumps(event)
                if event["type"] == "ERROR":
                    return

    def _log(self, name: str, query: Mapping[str, str]) -> Iterator[str]:
        cluster = self.server.cluster
        kubelet = cluster.log_of(name)
        if kubelet is None:
            raise Answer(404, "NotFound", f'pods "{name}" not found')
        sent = 0
        while True:
            with cluster.changed:
                while len(kubelet.lines) == sent and not kubelet.is_over:
                    cluster.changed.wait(0.2)
                lines, is_over = kubelet.lines[sent:], kubelet.is_over
            for stamp, text in lines:
                sent += 1
                if stamp >= query.get("sinceTime", ""):
                    yield f"{stamp} {text}"
            if is_over and len(kubelet.lines) == sent:
                return

    def _answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, lines: Iterator[str]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            data = line.encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")


def _label(found: Mapping[str, Any], name: str) -> str:
    return str((found["metadata"].get("labels") or {}).get(name, ""))


def _selected(found: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    for term in filter(None, query.get("labelSelector", "").split(",")):
        name, _, value = term.partition("=")
        if _label(found, name) != value:
            return False
    field = query.get("fieldSelector", "")
    if field.startswith("involvedObject.name="):
        return bool(found["involvedObject"]["name"] == field.partition("=")[2])
    return True


_last_stamp = [0]


def _now() -> str:
    """Return the time to the nanosecond, never the same twice."""
    _last_stamp[0] = stamp = max(_last_stamp[0] + 1, time.time_ns())
    seconds, rest = divmod(stamp, 10**9)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"


class Certificates:
    """A cluster's authority, which vouches for its API server and for its one user."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cluster")])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        certificate = made.public_bytes(pem)
        secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
        (folder / "both.pem").write_bytes(certificate + secret)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(folder / "both.pem")
        self.context.load_verify_locations(folder / "both.pem")
        self.context.verify_mode = ssl.CERT_REQUIRED
        text, key_text = (b64encode(data).decode() for data in (certificate, secret))
        self.of_user = {"client-certificate-data": text, "client-key-data": key_text}
        self.of_cluster = {"certificate-authority-data": text}


@contextmanager
def fake_cluster(tls: Certificates | None = None) -> Iterator[FakeCluster]:
    """Run one."""
    cluster = FakeCluster(tls)
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.close()
