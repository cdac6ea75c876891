"""IP addresses and names of hosts: which of them is this machine, and where nothing may be sent.

Addresses are read as the C library reads them, so that decimal, octal and hexadecimal spellings hide nothing.
"""

from __future__ import annotations

import ipaddress
import re

METADATA_NAMES = frozenset(
    {
        "metadata",
        "metadata.google.internal",
        "metadata.goog",
        "metadata.azure.internal",
        "metadata.azure.com",
        "metadata.tencentyun.com",
        "metadata.packet.net",
        "metadata.platformequinix.com",
        "instance-data",
        "instance-data.ec2.internal",
        "rancher-metadata",
    }
)
_METADATA_ADDRESSES = frozenset(
    map(
        ipaddress.ip_address,
        (
            "100.100.100.200",  # Alibaba Cloud
            "168.63.129.16",  # Azure's wire server
            "192.0.0.192",  # Oracle Cloud, classic
            "fd00:ec2::254",  # AWS
            "fd20:ce::254",  # Google Cloud
        ),
    )
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine: localhost, 127.0.0.0/8, ::1. Other names are never taken for it."""
    bare = host.strip("[]").rstrip(".").lower()
    if bare == "localhost":
        return True
    address = parse_address(bare)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address is not None and address.is_loopback


def forbidden_address(address: str) -> str | None:
    """Why nothing may be sent to this IP address, or None when it may. Local networks are allowed.

    Text that is no address is not judged here: None.
    """
    parsed = parse_address(address.strip("[]"))
    if parsed is None:
        return None
    target = _embedded(parsed)
    if target in _METADATA_ADDRESSES:
        return "is a cloud's metadata service"
    if target.is_link_local:
        return "is a link-local address, where clouds keep their metadata service"
    if target.is_multicast:
        return "is a multicast address"
    if target.is_unspecified or (target.version == 4 and int(target) >> 24 in (0, *range(240, 256))):
        return "is not an address of a server"
    return None


def parse_address(host: str) -> Address | None:
    """IPv6 (a zone is ignored) or IPv4, also decimal, octal and hexadecimal as `inet_aton` reads them."""
    bare = host.partition("%")[0]
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        return _parse_loose_ipv4(bare.lower())


def _parse_loose_ipv4(host: str) -> ipaddress.IPv4Address | None:
    parts = host.split(".")
    if len(parts) > 4 or len(host) > 64:
        return None
    try:
        numbers = [_loose_number(part) for part in parts]
    except ValueError:
        return None
    *leading, last = numbers
    if any(n > 255 for n in leading) or last >= 256 ** (4 - len(leading)):
        return None
    return ipaddress.IPv4Address(sum(n << (24 - 8 * i) for i, n in enumerate(leading)) + last)


def _loose_number(part: str) -> int:
    if not re.fullmatch(r"0x[0-9a-f]*|[0-9]+", part):
        raise ValueError
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    return int(part, 8) if len(part) > 1 and part.startswith("0") else int(part)


def _embedded(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one (mapped, 6to4, NAT64), which is where the packets go."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in ipaddress.IPv6Network("64:ff9b::/96"):
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address
