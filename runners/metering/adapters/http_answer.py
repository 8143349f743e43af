"""One answer over HTTP within a deadline: of the named host alone, of limited size.

A timeout of a socket is for each piece that arrives, and a server that sends a byte now and then
never exceeds it. Here one deadline holds for the whole exchange: connecting, status, headers, body.
"""

import hashlib
import io
import ssl
import time
from contextlib import closing
from functools import cache
from http.client import HTTPConnection, HTTPException
from socket import SOCK_STREAM, gaierror, getaddrinfo, socket
from typing import cast
from urllib.parse import SplitResult

from greenbatch.runners.metering.adapters.credentials import HOW
from greenbatch.runners.metering.meter import MeterLost

_MOST_BYTES = 1 << 20
_MOST_SHOWN = 80
_DEFAULT_PORTS = {"http": 80, "https": 443}


def fetch(
    url: SplitResult, shown: str, authorization: str | None, timeout_s: float, fingerprint: str = ""
) -> bytes:
    """Get what a URL answers; no proxy is used and no redirect is followed.

    Args:
        url: An http or https URL.
        shown: What to call it in messages.
        authorization: The header's value; ``None``: none.
        timeout_s: How long all of it may take, except for looking up the host's address.
        fingerprint: SHA-256 of the one certificate that is accepted, in small hex digits; empty:
            one that an authority of this machine vouches for.

    Raises:
        MeterLost: The host cannot be reached or does not answer in time, or the answer is an
            error, too long or not HTTP.
    """
    deadline_s = time.monotonic() + timeout_s
    headers = {"Accept": "application/json", "Connection": "close"}
    if authorization:
        headers["Authorization"] = authorization
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    try:
        with closing(_connected(url, shown, deadline_s, fingerprint)) as connected:
            connection = HTTPConnection(str(url.hostname), _port(url))
            connection.default_port = _DEFAULT_PORTS[url.scheme]
            connection.sock = cast("socket", _Timed(connected, deadline_s))
            connection.request("GET", target, headers=headers)
            response = connection.getresponse()
            if not 200 <= response.status < 300:
                raise MeterLost(f"cannot read {shown}: {_refusal(response.status)}")
            text = response.read(_MOST_BYTES + 1)
    except TimeoutError as error:
        raise MeterLost(
            f"cannot read {shown}: no answer within {timeout_s:g} s; "
            "give it more by timeout= behind the #"
        ) from error
    except (OSError, ValueError, HTTPException) as error:
        cause = f"{type(error).__name__}: {str(error)[:_MOST_SHOWN]!r}"
        raise MeterLost(f"cannot read {shown}: {cause}; is this a plug's URL?") from error
    if len(text) > _MOST_BYTES:
        raise MeterLost(
            f"cannot read {shown}: the answer is longer than 1 MiB; is this a plug's URL?"
        )
    return text


def _refusal(status: int) -> str:
    if status == 401:
        return f"HTTP status 401; {HOW}"
    if 300 <= status < 400:
        return (
            f"HTTP status {status}, a redirect, which is not followed; give the URL at which the "
            "plug itself answers"
        )
    return f"HTTP status {status}; check the URL"


def _port(url: SplitResult) -> int:
    return url.port or _DEFAULT_PORTS[url.scheme]


def _connected(url: SplitResult, shown: str, deadline_s: float, fingerprint: str) -> socket:
    """Connect to the first address of the host that accepts.

    Raises:
        MeterLost: None does, or its certificate is not the wanted one.
    """
    try:
        addresses = getaddrinfo(url.hostname, _port(url), type=SOCK_STREAM)
    except gaierror as error:
        raise MeterLost(f"cannot reach {shown}: {error.strerror}; check the host") from error
    refusal = OSError("the host has no address")
    for family, kind, protocol, _, address in addresses:
        connection = socket(family, kind, protocol)
        try:
            connection.settimeout(_left_s(deadline_s))
            connection.connect(address)
            if url.scheme == "https":
                connection.settimeout(_left_s(deadline_s))
                return _secured(connection, url, shown, fingerprint)
        except (TimeoutError, MeterLost):
            connection.close()
            raise
        except OSError as error:
            connection.close()
            refusal = error
        else:
            return connection
    cause = (refusal.strerror or str(refusal)).lower()
    raise MeterLost(f"cannot reach {shown}: {cause}; is the plug on?") from refusal


def _secured(connection: socket, url: SplitResult, shown: str, fingerprint: str) -> socket:
    """Begin TLS, and check the certificate before anything is sent.

    Raises:
        MeterLost: It is not the wanted one.
    """
    try:
        secured = _tls(bool(fingerprint)).wrap_socket(connection, server_hostname=url.hostname)
    except ssl.SSLCertVerificationError as error:
        raise MeterLost(
            f"cannot trust {shown}: {error.verify_message}; name the file of its authority by "
            "SSL_CERT_FILE, or write the SHA-256 of its certificate behind the #: fingerprint=... "
            f"(openssl s_client -connect {url.hostname}:{_port(url)} </dev/null | openssl x509 "
            "-noout -fingerprint -sha256)"
        ) from error
    if fingerprint:
        seen = hashlib.sha256(secured.getpeercert(binary_form=True) or b"").hexdigest()
        if seen != fingerprint:
            secured.close()
            raise MeterLost(
                f"cannot trust {shown}: its certificate has the SHA-256 {seen}, not "
                f"{fingerprint}; nothing was sent"
            )
    return secured


@cache
def _tls(by_fingerprint: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if by_fingerprint:  # a BMC's certificate is often its own, in another name
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _left_s(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


class _Timed:
    """What `HTTPConnection` uses of a socket, each call limited by what is left of the time."""

    def __init__(self, connection: socket, deadline_s: float) -> None:
        self._connection, self._deadline_s = connection, deadline_s

    def sendall(self, data: bytes) -> None:
        self._connection.settimeout(_left_s(self._deadline_s))
        self._connection.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_TimedReader(self._connection, self._deadline_s))

    def close(self) -> None:
        """Leave the connection to its owner: an answer may still be read from it."""


class _TimedReader(io.RawIOBase):
    def __init__(self, connection: socket, deadline_s: float) -> None:
        self._connection, self._deadline_s = connection, deadline_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        self._connection.settimeout(_left_s(self._deadline_s))
        return self._connection.recv_into(buffer)
