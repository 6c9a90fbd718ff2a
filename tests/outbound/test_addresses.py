import pytest

from app.outbound.addresses import denial

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "168.63.129.15",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.1",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2001:4860:4860::8888",
    "2a00:1450:4001:82b::200e",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
]

NOT_PUBLIC = {
    "0.0.0.0": "an unspecified",
    "0.1.2.3": "an unspecified",
    "10.0.0.1": "a private",
    "10.255.255.255": "a private",
    "100.64.0.1": "a carrier-internal",
    "100.100.100.200": "a carrier-internal",
    "100.127.255.255": "a carrier-internal",
    "127.0.0.1": "a loopback",
    "127.255.255.254": "a loopback",
    "168.63.129.16": "a cloud metadata",
    "169.254.0.1": "a link-local",
    "169.254.169.254": "a link-local",
    "169.254.170.2": "a link-local",
    "172.16.0.1": "a private",
    "172.31.255.255": "a private",
    "192.0.0.1": "a reserved",
    "192.0.0.192": "a reserved",
    "192.0.2.1": "a documentation",
    "192.31.196.1": "a reserved",
    "192.52.193.1": "a reserved",
    "192.88.99.1": "a reserved",
    "192.168.0.1": "a private",
    "192.168.255.255": "a private",
    "192.175.48.1": "a reserved",
    "198.18.0.1": "a benchmarking",
    "198.19.255.255": "a benchmarking",
    "198.51.100.1": "a documentation",
    "203.0.113.1": "a documentation",
    "224.0.0.1": "a multicast",
    "239.255.255.255": "a multicast",
    "240.0.0.1": "a reserved",
    "255.255.255.255": "a reserved",
    "::": "an unspecified",
    "::1": "an unspecified",  # as ::0.0.0.1, which is as good a reason
    "::127.0.0.1": "a loopback",
    "::10.0.0.1": "a private",
    "::ffff:127.0.0.1": "a loopback",
    "::ffff:169.254.169.254": "a link-local",
    "::ffff:a00:1": "a private",
    "::ffff:0:127.0.0.1": "a reserved",
    "64:ff9b::127.0.0.1": "a loopback",
    "64:ff9b::a9fe:a9fe": "a link-local",
    "64:ff9b:1::1": "a local translation",
    "64:ff9b:1::8.8.8.8": "a local translation",
    "64:ff9b:1:7f00:0:100::": "a local translation",
    "100::1": "a discard",
    "2001::1": "an unspecified",  # Teredo whose server is 0.0.0.0
    "2001:0:7f00:1::": "a loopback",  # Teredo: the server
    "2001:0:808:808:0:0:80ff:fffe": "a loopback",  # Teredo: the client, inverted
    "2001:2::1": "a reserved",
    "2001:10::1": "a reserved",
    "2001:20::1": "a reserved",
    "2001:db8::1": "a documentation",
    "2002:7f00:1::": "a loopback",
    "2002:a9fe:a9fe::1": "a link-local",
    "2002:c0a8:1::1": "a private",
    "2620:4f:8000::1": "a reserved",
    "3ffe::1": "a reserved",
    "3fff::1": "a documentation",
    "2a00:1450:4001:82b:0:5efe:127.0.0.1": "a loopback",  # ISATAP
    "2a00:1450:4001:82b:200:5efe:10.0.0.1": "a private",  # ISATAP
    "4000::1": "a reserved",
    "5f00::1": "a reserved",
    "fc00::1": "a private",
    "fd00:ec2::254": "a private",
    "fe80::1": "a link-local",
    "fe80::1%eth0": "a link-local",
    "2606:4700:4700::1111%eth0": "a link-local",
    "febf::1": "a link-local",
    "fec0::1": "a site-local",
    "ff02::1": "a multicast",
    "": "an unreadable",
    "example.com": "an unreadable",
    "127.1": "an unreadable",
    "0177.0.0.1": "an unreadable",
}


@pytest.mark.parametrize("address", PUBLIC)
def test_denial__public(address: str) -> None:
    assert denial(address) is None


@pytest.mark.parametrize(("address", "kind"), NOT_PUBLIC.items())
def test_denial__not_public(address: str, kind: str) -> None:
    assert denial(address) == kind
