"""Strategies for the fields of entries, whatever JSON the API sends."""

from __future__ import annotations

from hypothesis import strategies as st

texts = st.text(st.characters(exclude_categories=()), max_size=8)  # with lone surrogates
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
sizes = st.sampled_from([0, 2**15 - 1, 2**15, -(2**15), -(2**15) - 1, 2**63 - 1, 2**63, -(2**63), 2**64 + 1])
times = st.builds(
    "{}{}{}".format,
    st.datetimes().map(lambda time: time.isoformat(timespec="seconds")),
    st.sampled_from(["", ".0", ".5", ".000", ".120", ".123", ".123456", ".120000", ".123456789"]),
    st.sampled_from(["Z", "z", "", "+00:00", "+02:00", "-0530"]),
) | st.sampled_from(["2026-01-01", "2026-01-01 10:00", "0001-01-01T00:00:00+01:00", "never", ""])
fields = {
    "id": texts | values,
    "log_time": times | values,
    "status": st.integers(100, 599) | sizes | values,
    "event": texts | values,
    "request": texts | values,
    "duration_ms": st.integers(0, 10_000) | sizes | values,
    "request_id": texts | values,
}
