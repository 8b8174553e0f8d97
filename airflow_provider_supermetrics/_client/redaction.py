"""Remove secrets from strings that others wrote: the API, servers in between, libraries."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from urllib.parse import unquote_to_bytes

#: Shorter secrets are left alone, because ``***`` for every "a" would make messages unreadable. Airflow's
#: own masker has the same limit.
SHORTEST_SECRET = 5
MASK = "***"

# A string is searched as it is and through up to so many encodings, such as percent-encoded JSON in HTML.
_MAX_ENCODINGS = 3
# Messages have some thousand characters at most; searching a hostile megabyte would block an event loop.
_LONGEST_TEXT = 32_768
# Bytes for one byte of a secret, in the longest of usual forms: "&#x25;2F".
_LONGEST_FORM = 8

_USER_INFO = re.compile(r"//[^\s/?#@]+@")
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_="
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_PLUS_AS_SPACE = bytes.maketrans(b"+", b" ")


def _without_backslash(escape: bytes) -> bytes:
    if escape[:2] == rb"\u":
        return bytes.fromhex(escape.replace(rb"\u", b"").decode()).decode("utf-16-be", "replace").encode()
    if escape[:2] == rb"\x" and len(escape) == 4:
        return bytes.fromhex(escape[2:].decode())
    # No secret contains a control character, so a "\n" in front of one may count as an "n".
    return escape[1:]


# Ways to escape characters: the escapes, and the bytes that each stands for.
_ENCODINGS: dict[re.Pattern[bytes], Callable[[bytes], bytes]] = {
    re.compile(rb"%[0-9A-Fa-f]{2}"): unquote_to_bytes,
    re.compile(rb"(?:\\u[0-9A-Fa-f]{4})+|\\x[0-9A-Fa-f]{2}|\\[^u]|\\(?=u)", re.DOTALL): _without_backslash,
    re.compile(rb"&(?:#[0-9]{1,7}|#[Xx][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});?"): (
        lambda escape: html.unescape(escape.decode()).encode("utf-8", "replace")
    ),
}


# Where each byte of a string with some escapes resolved begins and ends in the string itself.
_Places = list[tuple[int, int]]


def _resolved(data: bytes, places: _Places, escape: re.Pattern[bytes]) -> tuple[bytes, _Places]:
    """The string without the escapes of one more encoding."""
    resolved, origins, last = bytearray(), _Places(), 0
    for match in escape.finditer(data):
        start, end = match.span()
        character = _ENCODINGS[escape](match[0])
        resolved += data[last:start] + character
        origins += places[last:start] + [(places[start][0], places[end - 1][1])] * len(character)
        last = end
    return bytes(resolved + data[last:]), origins + places[last:]


class Redactor:
    """Replaces secrets in a string by ``***``, in whatever form they are written there.

    It finds them as they are; percent-encoded, also with ``+`` for a space; with the escapes of JSON,
    Python and HTML; these within each other; and in base64, alone or within something longer, such as
    ``user:password``. User names and passwords in URLs are replaced whether they are known or not.

    :param secrets: those of fewer than :data:`SHORTEST_SECRET` characters are ignored.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        known = {form for secret in secrets if len(secret) >= SHORTEST_SECRET for form in _encoded(secret)}
        self._literals = {secret.translate(_PLUS_AS_SPACE) for secret in known}
        self._base64 = {form for secret in known for form in _base64_forms(secret)}
        self._longest = max(map(len, known), default=0) * _LONGEST_FORM

    def __call__(self, text: str) -> str:
        """Return the text without secrets; of a very long one, the beginning."""
        raw = text.encode("utf-8", "surrogatepass")
        limit = max(_LONGEST_TEXT, 2 * self._longest)
        # Behind it, a text that is cut may hold the first part of a secret, which is not to be found.
        kept = len(raw) if len(raw) <= limit else limit - self._longest
        raw = raw[:limit]
        secret = bytearray(len(raw))
        for begin, end in self._spans(raw):
            secret[begin:end] = b"x" * (end - begin)
        redacted, last = b"", 0
        for span in re.finditer(b"x+", secret[:kept]):
            redacted += raw[last : span.start()] + MASK.encode()
            last = span.end()
        redacted += raw[last:kept]
        try:
            text = redacted.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:  # a Latin-1 secret was found within a character, or the text is cut there
            text = redacted.decode("utf-8", "replace")
        return _USER_INFO.sub(f"//{MASK}@", text)

    def _spans(self, raw: bytes) -> Iterator[tuple[int, int]]:
        views = {raw: [(at, at + 1) for at in range(len(raw))]}
        for depth in range(_MAX_ENCODINGS + 1):
            for data, places in views.items():
                for begin, end in self._found(data):
                    yield places[begin][0], places[end - 1][1]
            if depth < _MAX_ENCODINGS:
                views = dict(
                    _resolved(*view, escape)
                    for view in views.items()
                    for escape in _ENCODINGS
                    if escape.search(view[0])
                )

    def _found(self, data: bytes) -> Iterator[tuple[int, int]]:
        plain = data.translate(_PLUS_AS_SPACE)
        for literal in self._literals:
            for begin in _occurrences(literal, plain):
                yield begin, begin + len(literal)
        for form in self._base64:
            for begin in _occurrences(form, data):
                # The characters around it hold bits of the secret, too.
                end = begin + len(form)
                yield len(data[:begin].rstrip(_BASE64)), len(data) - len(data[end:].lstrip(_BASE64))


def _encoded(secret: str) -> Iterator[bytes]:
    for charset in ("utf-8", "latin-1"):  # of the Basic authentication of proxies
        with suppress(UnicodeEncodeError):
            yield secret.encode(charset)


def _base64_forms(secret: bytes) -> Iterator[bytes]:
    """The characters of base64 that depend on the secret alone, for each place within three bytes."""
    for before in range(3):
        whole = base64.b64encode(bytes(before) + secret + bytes(3))
        own = whole[-(-before * 8 // 6) : (before + len(secret)) * 8 // 6]
        yield own
        yield own.translate(_URL_SAFE)


def _occurrences(needle: bytes, data: bytes) -> Iterator[int]:
    at = data.find(needle)
    while at >= 0:
        yield at
        at = data.find(needle, at + 1)
