"""Servers that speak bytes, for what no decent server says, and certificates for those that speak TLS."""

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Wire:
    """A TCP server on loopback that gives each connection to a function, in a thread of its own.

    Attributes:
        heard: What the connections sent first.
        sent: How many bytes `send` got rid of.
        over: Set when the test is over; functions that wait wait for it.
    """

    def __init__(self, speak: Callable[["Wire", socket.socket], None], *, hears: bool = True, host: str = "127.0.0.1"):
        self.heard: list[bytes] = []
        self.sent = 0
        self.over = threading.Event()
        self._speak = speak
        self._hears = hears
        self._listening = socket.create_server(
            (host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=16
        )
        self.port: int = self._listening.getsockname()[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def send(self, connection: socket.socket, data: bytes) -> None:
        """Send it and count it. Raises OSError once the other side has gone."""
        connection.sendall(data)
        self.sent += len(data)

    def drip(self, connection: socket.socket, data: bytes, seconds: float) -> None:
        """Send the data over and over, a byte at a time."""
        while not self.over.wait(seconds):
            for byte in data:
                self.send(connection, bytes([byte]))
                if self.over.wait(seconds):
                    return

    def flood(self, connection: socket.socket, total: int, piece: bytes) -> None:
        """Send so many bytes, as fast as they are taken."""
        while self.sent < total and not self.over.is_set():
            self.send(connection, piece)

    def close(self) -> None:
        """Stop listening, and end what waits."""
        self.over.set()
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            if self._hears:
                self.heard.append(connection.recv(64 * 1024))
            self._speak(self, connection)


@contextlib.contextmanager
def wire(
    speak: Callable[[Wire, socket.socket], None], *, hears: bool = True, host: str = "127.0.0.1"
) -> Iterator[Wire]:
    """A Wire for the length of a `with`."""
    made = Wire(speak, hears=hears, host=host)
    try:
        yield made
    finally:
        made.close()


def certificate(folder: Path, *names: str) -> Path:
    """Write a self-signed certificate for names or addresses, with its key, and return the file's path."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{names[0]}.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + built.public_bytes(serialization.Encoding.PEM)
    )
    return path


def server_context(path: Path) -> ssl.SSLContext:
    """The server's side of TLS with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
