"""What survives a process: frozen dataclasses, as the plain values that JSON and any store have."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from airflow_provider_supermetrics._api.errors import ContractViolation

State = TypeVar("State")


def to_json(state: Any) -> Any:
    """``state`` as plain values: what JSON has, and no tuple or set."""
    return msgspec.json.decode(msgspec.json.encode(state, order="deterministic"))


def from_json(value: Any, kind: type[State]) -> State:
    """The state that :func:`to_json` made ``value`` of.

    :raises ContractViolation: where it is none of this kind.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ContractViolation(f"not a stored {kind.__name__}: {error}") from None
