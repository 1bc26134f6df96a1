"""Stands in for Slack on this machine: prints what each message that arrives says, and where its link leads.

`python examples/receiver.py [PORT]` listens on 127.0.0.1 alone and answers `ok`, as Slack does. What is no message for
Slack (a webhook's) is printed as the JSON that it is.
"""

import html
import json
import re
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PORT = 8099


class Receiver(BaseHTTPRequestHandler):
    """Answers every POST with 200 ok."""

    def do_POST(self) -> None:
        """Print the message and take it."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        print("\n".join(lines_of(body)), end="\n\n", flush=True)
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing but the messages."""


def lines_of(body: bytes) -> list[str]:
    """Return what a person reads of a message, line by line."""
    try:
        message = json.loads(body)
    except ValueError:
        return [body.decode(errors="replace")]
    parts = (
        list(texts(message)) if isinstance(message, dict) and ("blocks" in message or "attachments" in message) else []
    )
    return parts or [json.dumps(message, indent=2, ensure_ascii=False)]


def texts(part: Any) -> Iterator[str]:
    """Yield the texts of Slack's blocks in their order, each link after its label."""
    if isinstance(part, list):
        for each in part:
            yield from texts(each)
    elif isinstance(part, dict):
        if isinstance(part.get("text"), str) and "type" in part:
            yield plain(part["text"])
        for name in ("text", "fields", "elements", "blocks", "attachments"):
            if isinstance(part.get(name), (dict, list)):
                yield from texts(part[name])
        if "url" in part:
            yield part["url"]


def plain(text: str) -> str:
    """Return Slack's text as it reads: `<address|label>` is a link, `<!date^…|time>` a time."""
    text = re.sub(r"<!date[^|>]*\|([^>]*)>", r"\1", text)
    text = re.sub(r"<(https?:[^|>]*)\|([^>]*)>", r"\2: \1", text)
    return html.unescape(text)


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else PORT
    print(f"Messages to http://127.0.0.1:{port}/ are printed here. Ctrl-C ends it.\n", flush=True)
    try:
        ThreadingHTTPServer(("127.0.0.1", port), Receiver).serve_forever()
    except KeyboardInterrupt:
        pass
