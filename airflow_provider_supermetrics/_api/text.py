"""Words of messages; strings from the API made safe for a log line and the message of an exception."""

from __future__ import annotations

import re

#: The most characters of one API value that a message quotes.
LONGEST_QUOTE = 300

# A user's name alone is left: in the path of an export, it is the name of an Airflow connection.
_PASSWORD = re.compile(r"//[^\s/?#@:]*:[^\s\"'@]*@")
# It may contain a signature, or the name of an upload that others could continue.
_QUERY = re.compile(r"\?[\w.~-]+=\S*")


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number of things, such as ``1,234 entries``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def one_line(text: str, longest: int = LONGEST_QUOTE) -> str:
    """Return ``text`` on one line of at most ``longest`` characters that any terminal and encoding can show.

    White space becomes single spaces. Whatever else does not print (control, format and bidirectional
    characters, NUL, lone surrogates) becomes U+FFFD rather than nothing: a secret that such characters
    divide must not be joined again after the redaction.
    """
    line = " ".join(text.split())
    if len(line) > longest:
        line = line[: longest - 1] + "…"
    return line if line.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in line)


def without_credentials(text: str) -> str:
    """Return ``text`` with its URLs, but without users with passwords, and without queries."""
    return _QUERY.sub("?…", _PASSWORD.sub("//***@", text))


def quoted(value: object, longest: int = 100) -> str:
    """Return the repr of ``value`` if it has at most ``longest`` characters, else the type.

    Not cut: a part of a secret would escape the redaction.
    """
    if isinstance(value, str) and len(value) > longest:
        return f"a string of {len(value):,} characters"
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, or nested too deep
        text = ""
    return one_line(text, longest) if 0 < len(text) <= longest else f"a value of type {type(value).__name__}"
