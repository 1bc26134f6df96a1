"""The process that Apprise runs in: one URL, checked or sent to, and the end. Run by path, with `python -I`.

Apprise knows more than a hundred services, and its URLs can name local files, other hosts and (for desktops) programs.
It is trusted code at work on a stranger's text, so everything by which that text could reach the machine is stopped at
one place: an audit hook, through which every socket, file and process of this interpreter goes. What it would use up is
bounded by limits of the system, and its parent kills it when its time is over.

It reads one JSON object from stdin (`path`, `do`, `url`, `allow_private`, `start_seconds`, `seconds`, and for sending
`plugin`, `title`, `body`, `tone`) and writes one to stdout. No Django: it starts in a third of a second.
"""

import ctypes
import difflib
import errno
import importlib
import json
import logging
import os
import resource
import signal
import socket
import sys
import sysconfig
from pathlib import Path
from typing import Any, NoReturn

MEMORY_BYTES = 512 * 1024 * 1024
_LOG_CHARACTERS = 2_000
_PR_SET_DUMPABLE = 4
_NEVER = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn", "pty.spawn", "socket.bind")
_DETAILS = "Response Details:"


class Fence:
    """The audit hook. What it refused is remembered, since plugins make other words of it."""

    def __init__(self, allow_private: bool, readable: tuple[str, ...]) -> None:
        from notifications.addresses import refusal  # found only once `main` has the parent's path

        self._refusal = refusal
        self._allow_private = allow_private
        self._readable = readable
        self.refused = ""

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Called by the interpreter before it does a thing; an exception stops it."""
        if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
            self._check_address(arguments[0], arguments[1])
        elif event == "open":
            self._check_file(arguments[0], arguments[2])
        elif event.startswith(_NEVER):
            self._refuse("It would start a program or listen on this machine.")

    def _check_address(self, sock: socket.socket, address: Any) -> None:
        if address is None:  # a message on a connection
            return
        if sock.family not in {socket.AF_INET, socket.AF_INET6}:
            self._refuse("It would talk to a program on this machine.")
        try:
            why = self._refusal(str(address[0]), allow_private=self._allow_private)
        except ValueError:  # a name, which would be resolved behind the fence
            self._refuse("It would send to a name unchecked: write the host as an IP address.")
        if why:
            self._refuse(f"It leads to {why}: nothing is sent there.")

    def _check_file(self, path: Any, flags: int) -> None:
        if isinstance(path, int):
            return
        real = os.path.realpath(os.fsdecode(path))
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and real != os.devnull:
            self._refuse("It would write a file on this machine.")
        if not real.startswith(self._readable):
            self._refuse("It would read a file of this machine.")

    def _refuse(self, why: str) -> NoReturn:
        self.refused = self.refused or why
        raise PermissionError(errno.EACCES, why)


class Words(logging.Handler):
    """What Apprise says in its log: outcomes and warnings, and of its details what the service answered."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.told: list[str] = []
        self.answered = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it. Debug lines hold whole URLs and are left out."""
        text = record.getMessage()[:_LOG_CHARACTERS]
        if text.startswith(_DETAILS):
            self.answered = text.removeprefix(_DETAILS).strip()
        elif record.levelno >= logging.INFO and not text.startswith("Notifying "):
            self.told.append(text)

    def last(self) -> str:
        """The last lines, with what the service answered (which plugins write as Python writes bytes)."""
        answered = self.answered.removeprefix("b'").removeprefix('b"').rstrip("'\"")
        return " ".join([*self.told[-2:], *([answered] if answered else [])])


def check(url: str, words: Words, fence: Fence) -> dict[str, Any]:
    """Return which plugin a URL is for, and what of it may be shown; or `error`."""
    from apprise import AppriseAsset
    from apprise.plugins import N_MGR, url_to_dict

    known = set(N_MGR.schemas())
    schema = url.partition(":")[0].lower()
    native = url.lower().startswith(("http://", "https://"))
    if schema not in known and not native:
        close = [f"{name}://" for name in difflib.get_close_matches(schema, known, 3, 0.6)]
        return {"error": "unknown", "schema": schema[:40], "close": close}
    sys.addaudithook(fence)
    parsed = url_to_dict(url)
    if not parsed:
        return {"error": "native" if native else "unreadable", "schema": schema[:40]}
    plugin = N_MGR[parsed["schema"]]
    if is_local(plugin):
        return {"error": "local", "schema": parsed["schema"]}
    service = str(plugin.service_name)
    if not plugin.enabled:
        needed = plugin.requirements.get("packages_required") or ""
        return {
            "error": "missing",
            "service": service,
            "needed": needed if isinstance(needed, str) else " ".join(needed),
        }
    try:
        made = plugin(**{**parsed, "asset": asset(AppriseAsset)})
    except Exception as error:  # a stranger's text begins here; most plugins raise TypeError
        return {"error": "unreadable", "service": service, "words": fence.refused or str(error) or words.last()}
    host = made.host if "host" in plugin.template_tokens and isinstance(made.host, str) else ""
    return {
        "service": service,
        "schema": parsed["schema"],
        "host": host,
        "plugin": f"{plugin.__module__}:{plugin.__name__}",
    }


def is_local(plugin: Any) -> bool:
    """Whether it acts on this machine: a desktop's pop-ups, the system's log, a lamp on USB. Those need no address."""
    return any(template.rstrip("/") == "{schema}:" for template in plugin.templates)


def send(request: dict[str, Any], words: Words, fence: Fence) -> dict[str, Any]:
    """Send, and return whether it was taken and what was said."""
    from apprise import Apprise, AppriseAsset, NotifyType, OverflowMode

    plugin = named(request["plugin"], request["url"])
    socket.getaddrinfo("127.0.0.1", 80)  # loads the codecs that names need, before files are fenced off
    sys.addaudithook(fence)
    signal.setitimer(signal.ITIMER_REAL, request["seconds"])
    url = request["url"].replace("/#", "/%23")
    parsed = plugin.parse_native_url(url) if url.lower().startswith(("http://", "https://")) else plugin.parse_url(url)
    service = plugin(**{**(parsed or {}), "asset": asset(AppriseAsset)})
    service.overflow_mode = OverflowMode.TRUNCATE  # one message; split, a long one would be dozens
    sender = Apprise(asset=service.asset)
    sender.add(service)
    kinds = {"bad": NotifyType.FAILURE, "warning": NotifyType.WARNING, "good": NotifyType.SUCCESS}
    ok = bool(
        sender.notify(
            title=request["title"],
            body=request["body"],
            notify_type=kinds.get(request["tone"], NotifyType.INFO),
            body_format="text",
        )
    )
    return {"ok": ok, "words": words.last(), "refused": fence.refused if not ok else ""}


def named(plugin: str, url: str) -> Any:
    """Return a plugin's class by the name that `check` gave: its module alone, since all of them take 0.7 s."""
    module, _, name = plugin.partition(":")
    if module.startswith("apprise.plugins."):
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):  # another version of Apprise has it elsewhere
            pass
    from apprise.plugins import N_MGR, url_to_dict

    return N_MGR[(url_to_dict(url) or {})["schema"]]


def asset(kind: Any) -> Any:
    """Return Apprise's settings: nothing on disk, no keys made, no templates read."""
    return kind(
        storage_mode="memory",
        secure_logging=True,
        pgp_autogen=False,
        pem_autogen=False,
        allow_templates=False,
        plugin_paths=[],
    )


def readable() -> tuple[str, ...]:
    """What the interpreter and its libraries read while they work: their own folders, authorities, name service."""
    import certifi

    own = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    own += [str(Path(certifi.where()).parent), "/etc/ssl", "/etc/pki", "/usr/share/zoneinfo", "/usr/lib/ssl"]
    files = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/mime.types", "/etc/localtime"]
    given = [os.environ[name] for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE") if name in os.environ]
    folders = [os.path.join(os.path.realpath(folder), "") for folder in own]
    return (*folders, *(os.path.realpath(file) for file in [*files, *given]), os.devnull, "/dev/urandom")


def bound(seconds: float) -> None:
    """Bound what this process may use, and end it should its parent not."""
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, int(seconds) + 2),
        (resource.RLIMIT_NOFILE, 128),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        try:
            resource.setrlimit(limit, (value, value))
        except (ValueError, OSError):  # macOS knows no limit of memory
            pass
    signal.setitimer(signal.ITIMER_REAL, seconds)
    if sys.platform == "linux":  # runs are processes of the same user: they read no secrets in this one's memory
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def main() -> None:
    """Do what stdin says."""
    answers = os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)  # a plugin that prints does not spoil the answer
    os.dup2(nothing, 2)
    request = json.load(sys.stdin)
    bound(request["start_seconds"] + request["seconds"])
    sys.path[:] = request["path"]
    import apprise  # noqa: F401

    words = Words()
    logger = logging.getLogger("apprise")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(words)
    fence = Fence(request["allow_private"], readable())
    try:
        done = check(request["url"], words, fence) if request["do"] == "check" else send(request, words, fence)
    except MemoryError:
        done = {"ok": False, "words": "The answer was too large."}
    except Exception as error:  # a stranger's text and a network
        done = {"ok": False, "words": words.last() or type(error).__name__, "refused": fence.refused}
    answers.write(json.dumps(done))
    answers.flush()
    os._exit(0)  # threads of a plugin are not waited for


if __name__ == "__main__":
    main()
