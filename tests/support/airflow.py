"""Airflow's conversions of stored values, as strict as the strictest of its components."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from airflow.models.trigger import Trigger
from pydantic import JsonValue, TypeAdapter

_JSON: TypeAdapter[Any] = TypeAdapter(JsonValue)


def stored(value: Any) -> Any:
    """The value as it comes back from Airflow's database; an error where it cannot be stored."""
    _JSON.validate_python(value)  # takes no tuple for a list
    wire = msgspec.msgpack.decode(msgspec.msgpack.encode(value))  # from a process to its supervisor
    text = json.dumps(wire, ensure_ascii=False, allow_nan=False).encode().decode()  # to the API server
    if "\\u0000" in text:  # PostgreSQL
        raise ValueError("unsupported Unicode escape sequence: \\u0000 cannot be converted to text")
    return json.loads(text)


def deferred(trigger: Any) -> Any:
    """The trigger as the triggerer makes it of what a task defers with."""
    path, kwargs = trigger.serialize()
    assert path == f"{type(trigger).__module__}.{type(trigger).__name__}"
    try:
        from airflow.sdk.serde import serialize
    except ImportError:  # Airflow before 3.2; its database takes the values through another one
        row = Trigger(classpath=path, kwargs=stored(kwargs))
        return type(trigger)(**row.kwargs)
    from airflow.serialization.decoders import smart_decode_trigger_kwargs

    row = Trigger(classpath=path, kwargs={})
    row.encrypted_kwargs = json.dumps(stored(serialize(kwargs)))
    return type(trigger)(**{name: smart_decode_trigger_kwargs(value) for name, value in row.kwargs.items()})
