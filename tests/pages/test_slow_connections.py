"""Connections that begin a request and send nothing more keep nobody from a real server."""

import contextlib
import http.client
import socket
from urllib.parse import urlsplit

from tests.pages.conftest import Site

THREADS = 8  # of a server's HTTP side


def test_a_server_answers_beside_connections_that_send_nothing_more(site: Site) -> None:
    address = urlsplit(site.url).netloc
    host, port = address.split(":")
    head = f"POST /sign-in/ HTTP/1.1\r\nHost: {address}\r\nContent-Length: 100\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        for _ in range(2 * THREADS):
            slow = stack.enter_context(socket.create_connection((host, int(port))))
            slow.sendall(head)
        for _ in range(3):  # the server has read what was sent before it answers these
            connection = http.client.HTTPConnection(host, int(port), timeout=30)
            stack.callback(connection.close)
            connection.request("GET", "/api/health/")
            assert connection.getresponse().status in (200, 503)
