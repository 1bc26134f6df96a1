"""Which addresses messages may go to."""

import pytest

from notifications.addresses import literal, refusal

PUBLIC = [
    "8.8.8.8", "1.1.1.1", "203.0.114.1", "2606:4700:4700::1111", "2a00:1450:4001:82a::200e",
    "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
]  # fmt: skip
PRIVATE = [
    "127.0.0.1", "127.255.255.254", "10.0.0.5", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
    "100.100.100.200", "0.0.0.0", "0.1.2.3", "192.0.2.1", "198.18.0.1", "::1", "::", "fc00::1", "fd00:ec2::254",
    "2001:db8::1", "2001::1", "3fff::1", "64:ff9b:1::1", "100::1", "::7f00:1",
    # what carries a private IPv4 address
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:c0a8:101::1",
]  # fmt: skip
NEVER = [
    "169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "fe80::1", "fe80::1%eth0",
    "168.63.129.16", "::ffff:168.63.129.16", "224.0.0.1", "239.255.255.255", "ff02::1", "255.255.255.255", "240.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_taken(address: str) -> None:
    assert refusal(address, allow_private=False) == ""
    assert refusal(address, allow_private=True) == ""


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused_until_they_are_allowed(address: str) -> None:
    assert refusal(address, allow_private=False)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.5", "192.168.1.1", "100.64.0.1", "0.0.0.0", "::1", "fd12::1"])
def test_private_addresses_can_be_allowed(address: str) -> None:
    assert refusal(address, allow_private=True) == ""


@pytest.mark.parametrize("address", NEVER)
@pytest.mark.parametrize("allow_private", [False, True])
def test_addresses_that_are_no_receivers_are_never_allowed(address: str, allow_private: bool) -> None:
    assert refusal(address, allow_private=allow_private)


@pytest.mark.parametrize("text", ["localhost", "hooks.slack.com", "", "127.1", "0x7f000001", "1.2.3.4.5"])
def test_what_is_no_address_is_no_answer(text: str) -> None:
    with pytest.raises(ValueError):
        refusal(text, allow_private=True)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0x7f.0.0.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("[::1]", "::1"),
        ("::ffff:7f00:1", "::ffff:7f00:1"),
        ("hooks.slack.com", ""),
        ("1password.com", ""),
        ("10.example.com", ""),
        ("", ""),
    ],
)
def test_spelled_addresses_are_read_as_the_resolver_reads_them(host: str, address: str) -> None:
    assert literal(host) == address
