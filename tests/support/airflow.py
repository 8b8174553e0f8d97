"""Airflow's conversions of stored values, as strict as the strictest of its components."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import msgspec
from airflow.models.trigger import Trigger
from pydantic import JsonValue, TypeAdapter

try:
    from airflow.sdk.serde import serialize
    from airflow.serialization.decoders import smart_decode_trigger_kwargs
except ImportError:  # Airflow before 3.2; its database takes the values through another one
    serialize = None

_JSON: TypeAdapter[Any] = TypeAdapter(JsonValue)


def stored(value: Any) -> Any:
    """The value as it comes back from Airflow's database; an error where it cannot be stored."""
    _JSON.validate_python(value)  # takes no tuple for a list
    wire = msgspec.msgpack.decode(msgspec.msgpack.encode(value))  # from a process to its supervisor
    text = json.dumps(wire, ensure_ascii=False, allow_nan=False).encode().decode()  # to the API server
    if "\\u0000" in text:  # PostgreSQL
        raise ValueError("unsupported Unicode escape sequence: \\u0000 cannot be converted to text")
    return json.loads(text)


def stored_trigger(trigger: Any) -> tuple[str, str]:
    """The class and the arguments of a trigger, as Airflow's database has them."""
    path, kwargs = trigger.serialize()
    return path, json.dumps(stored(serialize(kwargs) if serialize else kwargs))


def restored_trigger(path: str, arguments: str) -> Any:
    """The trigger as the triggerer makes it of what :func:`stored_trigger` returned."""
    module, _, name = path.rpartition(".")
    trigger_class = getattr(import_module(module), name)
    if not serialize:
        return trigger_class(**Trigger(classpath=path, kwargs=json.loads(arguments)).kwargs)
    row = Trigger(classpath=path, kwargs={})
    row.encrypted_kwargs = arguments
    return trigger_class(**{name: smart_decode_trigger_kwargs(value) for name, value in row.kwargs.items()})


def deferred(trigger: Any) -> Any:
    """The trigger as the triggerer makes it of what a task defers with."""
    path, arguments = stored_trigger(trigger)
    assert path == f"{type(trigger).__module__}.{type(trigger).__name__}"
    return restored_trigger(path, arguments)
