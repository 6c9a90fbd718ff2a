"""Which IP addresses are public: our own deny list, pure.

`ipaddress.is_global` is not asked: it differs between Python versions, and it takes an IPv6 address that carries an
IPv4 one (mapped, 6to4, NAT64, Teredo) at face value. Sources: the IANA special-purpose address registries, RFC 6890.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_DENIED_4 = {
    IPv4Network(network): kind
    for network, kind in {
        "0.0.0.0/8": "an unspecified",
        "10.0.0.0/8": "a private",
        "100.64.0.0/10": "a carrier-internal",
        "127.0.0.0/8": "a loopback",
        "168.63.129.16/32": "a cloud metadata",  # Azure's, in the middle of public space
        "169.254.0.0/16": "a link-local",
        "172.16.0.0/12": "a private",
        "192.0.0.0/24": "a reserved",
        "192.0.2.0/24": "a documentation",
        "192.31.196.0/24": "a reserved",
        "192.52.193.0/24": "a reserved",
        "192.88.99.0/24": "a reserved",
        "192.168.0.0/16": "a private",
        "192.175.48.0/24": "a reserved",
        "198.18.0.0/15": "a benchmarking",
        "198.51.100.0/24": "a documentation",
        "203.0.113.0/24": "a documentation",
        "224.0.0.0/4": "a multicast",
        "240.0.0.0/4": "a reserved",
    }.items()
}
_DENIED_6 = {
    IPv6Network(network): kind
    for network, kind in {
        "64:ff9b:1::/48": "a local translation",  # where it hides its IPv4 address is its operator's choice
        "100::/64": "a discard",
        "2001::/23": "a reserved",
        "2001:db8::/32": "a documentation",
        "2620:4f:8000::/48": "a reserved",
        "3ffe::/16": "a reserved",
        "3fff::/20": "a documentation",
        "fc00::/7": "a private",
        "fe80::/10": "a link-local",
        "fec0::/10": "a site-local",
        "ff00::/8": "a multicast",
    }.items()
}
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_COMPATIBLE = IPv6Network("::/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)


def denial(address: str) -> str | None:
    """Return what kind of address this is if we must not call it ("a private"), None if it is public."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return "an unreadable"
    if isinstance(parsed, IPv4Address):
        return _denial_4(parsed)
    if parsed.scope_id is not None:
        return "a link-local"
    return _denial_6(parsed)


def _denial_4(address: IPv4Address) -> str | None:
    return next((kind for network, kind in _DENIED_4.items() if address in network), None)


def _denial_6(address: IPv6Address) -> str | None:
    inner = _carried(address)
    for carried in inner:
        if kind := _denial_4(carried):
            return kind
    if address.ipv4_mapped or address.sixtofour or address.teredo or address in _NAT64 or address in _COMPATIBLE:
        return None  # nothing but a wrapper around the addresses just seen
    for network, kind in _DENIED_6.items():
        if address in network:
            return kind
    return None if address in _GLOBAL_UNICAST else "a reserved"


def _carried(address: IPv6Address) -> list[IPv4Address]:
    """Return every IPv4 address that a packet to `address` may be turned towards."""
    low = IPv4Address(int(address) & 0xFFFF_FFFF)
    if address.ipv4_mapped or address in _COMPATIBLE or address in _NAT64:
        return [low]
    if address.sixtofour:
        return [address.sixtofour]
    if address.teredo:
        return list(address.teredo)
    if int(address) >> 32 & 0xFFFF_FFFF in _ISATAP:
        return [low]
    return []
