"""Which network addresses a message may go to. No Django: the child process that runs Apprise reads this too.

A message goes where a user says, from a server that may reach what the user may not: a database on its own network, a
cloud's metadata service. So only public addresses are taken, unless the server's owner says that receivers lie inside
the network; even then not those that never are a receiver (link-local, multicast, reserved).
"""

import ipaddress
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

PERMISSION = "ORCHESTRATOR_ALLOW_PRIVATE_ADDRESSES=1"

# Public by number, and yet the host's own: where Azure's machines find their agent's secrets.
_HOSTS_OWN = (ip_network("168.63.129.16/32"),)
# RFC 6052 (the well-known prefix of NAT64): the last four bytes are the IPv4 address that is meant.
_NAT64 = ip_network("64:ff9b::/96")
# IPv6 that is given out for public use; everything else is local, reserved or a way into IPv4 that nobody uses.
_GLOBAL_UNICAST = ip_network("2000::/3")
_NOT_GLOBAL = (
    ip_network("2001::/23"),  # IETF protocols, among them Teredo, which carries IPv4
    ip_network("2001:db8::/32"),  # documentation
    ip_network("3fff::/20"),  # documentation
)


def refusal(address: str, *, allow_private: bool) -> str:
    """Return why nothing is sent to an IP address, as a noun with its article; empty where it may be sent.

    Raises:
        ValueError: It is no IP address (a name, for one): what was not resolved was not checked.
    """
    ip = _meant(ip_address(address))
    if never := _never(ip):
        return never
    return "" if allow_private or _is_public(ip) else "a private address"


def literal(host: str) -> str:
    """Return the IP address that a URL's host spells, in any way that resolvers take it; empty for a name.

    `127.1`, `2130706433`, `0x7f.0.0.1` and `0177.0.0.1` are all 127.0.0.1 to the system's resolver.
    """
    try:
        return str(ip_address(host.strip("[]")))
    except ValueError:
        pass
    try:
        return str(IPv4Address(socket.inet_aton(host))) if host[:1].isdigit() and " " not in host else ""
    except OSError:
        return ""


def _meant(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address inside an IPv6 one that only carries it there."""
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped:
            return ip.ipv4_mapped
        if ip.sixtofour:
            return ip.sixtofour
        if ip in _NAT64:
            return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip


def _never(ip: IPv4Address | IPv6Address) -> str:
    if ip.is_link_local or any(ip in network for network in _HOSTS_OWN):
        return "a link-local address"
    if ip.is_multicast:
        return "a multicast address"
    # :: and ::1 count as reserved to Python, being in ::/8
    return "a reserved address" if ip.is_reserved and not (ip.is_loopback or ip.is_unspecified) else ""


def _is_public(ip: IPv4Address | IPv6Address) -> bool:
    if isinstance(ip, ipaddress.IPv6Address):
        return ip in _GLOBAL_UNICAST and not any(ip in network for network in _NOT_GLOBAL)
    return ip.is_global
