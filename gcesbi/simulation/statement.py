"""What a user states: frozen data that is checked where it enters, in Python and in TOML alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from astropy import units
from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError, model_validator

from gcesbi.errors import InputError, nearest

__all__ = ["Degrees", "Statement", "check_keys", "make_settings"]

Settings = TypeVar("Settings")
Degrees = Annotated[
    float, BeforeValidator(lambda value: value.to_value("deg") if isinstance(value, units.Quantity) else value)
]
"""An angle: a number of degrees, or a Quantity."""


class Statement(BaseModel):
    """A part of what is stated: frozen; an unknown key is refused, and the nearest valid one named."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(_one_line(error)) from None

    def __eq__(self, other: object) -> bool:
        """Whether another says the same: of one kind, and of one content, arrays included."""
        return (
            isinstance(other, Statement)
            and type(self) is type(other)
            and self.model_dump_json() == other.model_dump_json()
        )

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            check_keys(cls, values)
        return values


def check_keys(kind: type[Any], values: Mapping[str, Any], section: str = "") -> None:
    """Raise InputError, naming the nearest valid key, if a key of `values` is no field of a settings class."""
    known = getattr(kind, "model_fields", None) or getattr(kind, "__dataclass_fields__", {})
    for key in values:
        if key not in known:
            raise InputError(f"{section}{key}: unknown setting; {nearest(key, known)}")


def make_settings(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Settings checked against their types and ranges.

    Raises
    ------
    InputError
        If a key is unknown, naming the nearest valid one, or a value is not allowed.
    """
    check_keys(kind, values)
    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        raise InputError(_one_line(error)) from None


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    where = ".".join(str(part) for part in first["loc"]) or "settings"
    return f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"
