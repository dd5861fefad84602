"""Whose request it is, as far as an address tells."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address


@lru_cache(maxsize=8_192)
def network(address: str) -> str:
    """What counts as one client: an IPv4 address, or the 64 bits of an IPv6 address that a provider gives to
    one household. A port is left off; what is no address is empty.

    >>> network("2001:db8:1:2:3:4:5:6"), network("[2001:db8::1]:443"), network("192.0.2.7:80")
    ('2001:db8:1:2::', '2001:db8::', '192.0.2.7')
    """
    for text in (address, address.rpartition(":")[0].strip("[]")):
        try:
            found = ip_address(text)
        except ValueError:
            continue
        if isinstance(found, IPv6Address):
            if found.ipv4_mapped is not None:
                return str(found.ipv4_mapped)
            return str(IPv6Address(int(found) >> 64 << 64))
        return str(found)
    return ""
