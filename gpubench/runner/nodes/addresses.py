"""Network addresses and interfaces of this machine."""

import fcntl
import ipaddress
import socket
import struct

from gpubench.core.errors import UsageError

_SIOCGIFADDR = 0x8915


def split_address(text: str) -> tuple[str, int]:
    """`10.0.0.1:29400` or `[::1]:29400` as host and port. UsageError for anything else."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"{text!r} is not HOST:PORT", hint="For example 10.0.0.1:29400.")
    return host.strip("[]"), int(port)


def address_of(interface: str) -> str:
    """The address to listen on. `interface` is a name (`eth0`), an address or a host name of this machine.

    UsageError if it is none of these, or means every interface.
    """
    named = _address_of_name(interface)
    if named is not None:
        return named
    try:
        address = str(socket.getaddrinfo(interface, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        names = ", ".join(name for _, name in socket.if_nameindex())
        raise UsageError(
            f"{interface!r} is neither an interface nor an address of this machine ({error.strerror or error})",
            hint=f"Interfaces here: {names}.",
        ) from error
    if ipaddress.ip_address(address).is_unspecified:
        raise UsageError(f"{interface!r} means every interface; name the one that leads to the nodes")
    return address


def interface_of(address: str) -> str | None:
    """The name of the interface with this IPv4 address, or None."""
    return next((name for _, name in socket.if_nameindex() if _address_of_name(name) == address), None)


def _address_of_name(name: str) -> str | None:
    """The IPv4 address of an interface; None if it does not exist or has none."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            asked = struct.pack("256s", name.encode()[:15])
            return socket.inet_ntoa(fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, asked)[20:24])
    except OSError:
        return None
