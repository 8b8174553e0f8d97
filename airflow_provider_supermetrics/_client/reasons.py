"""Why there is no response, in the same words for both HTTP libraries."""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import socket
import ssl

import aiohttp
import requests
import urllib3

LOST = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    aiohttp.ClientError,
    asyncio.TimeoutError,
    OSError,
)
"""What either library raises if a response is not received completely."""


def reason_of(error: Exception) -> str:
    """The cause of an HTTP library's error, or the error's own message if the cause is not a usual one.

    The libraries wrap one cause in different errors, and quote hosts, URLs and pool names around it.
    """
    cause: BaseException | None = error
    while cause is not None:
        if reason := _known(cause):
            return reason
        cause = cause.__cause__ or cause.__context__
    return f"{type(error).__name__}: {error}"


def _known(cause: BaseException) -> str | None:
    if isinstance(cause, (requests.Timeout, urllib3.exceptions.ReadTimeoutError, aiohttp.ServerTimeoutError)):
        return "timed out"
    if isinstance(cause, (http.client.RemoteDisconnected, aiohttp.ServerDisconnectedError)):
        return "the connection was closed before a response"
    if isinstance(cause, aiohttp.ClientHttpProxyError):
        return f"the proxy refused with status {cause.status}"
    if isinstance(cause, aiohttp.ClientError) or not isinstance(cause, OSError):
        return None
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"certificate verification failed: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed: {cause.reason.replace('_', ' ').lower()}" if cause.reason else None
    if isinstance(cause, socket.gaierror):
        return f"the host name cannot be resolved: {cause.strerror}"
    if refused := re.match(r"Tunnel connection failed: (\d{3})", str(cause)):
        return f"the proxy refused with status {refused[1]}"
    return os.strerror(cause.errno) if cause.errno else None
