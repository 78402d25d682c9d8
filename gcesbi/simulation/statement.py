"""What a user states: frozen data that is checked where it enters, in Python and in TOML alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from astropy import units
from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError, model_validator

from gcesbi.errors import InputError, nearest
from gcesbi.sky.quantity import direction

__all__ = ["Degrees", "Place", "Statement", "check_keys", "make_settings", "unsaid"]

Settings = TypeVar("Settings")
Degrees = Annotated[
    float, BeforeValidator(lambda value: value.to_value("deg") if isinstance(value, units.Quantity) else value)
]
"""An angle: a number of degrees, or a Quantity."""
Place = Annotated[tuple[float, float], BeforeValidator(lambda value: direction(value))]
"""A direction: Galactic longitude and latitude, degrees, or Quantities, or a SkyCoord."""


def unsaid(value: Any) -> bool:
    """Whether a field says nothing; one that came later than others is then not told, and changes no fingerprint."""
    return value is None


_SINGULAR = {
    "components": "component",
    "populations": "population",
    "indices": "index",
    "breaks": "break",
    "nuisances": "nuisance",
}
_LONGEST = 80  # characters of a value that is refused


class Statement(BaseModel):
    """A part of what is stated: frozen; an unknown key is refused, and the nearest valid one named."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(_one_line(error, values)) from None

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
        raise InputError(_one_line(error, values)) from None


def _one_line(error: ValidationError, values: Mapping[str, Any]) -> str:
    """What is wrong first, and where: components by name, other parts by number."""
    first = error.errors()[0]
    kind, context, loc = first["type"], first.get("ctx", {}), _where(first["loc"], values)
    if kind == "value_error":
        text = str(context["error"])
    elif kind == "missing":
        loc, text = [*loc, str(first["loc"][-1])], "is missing"
    elif kind == "union_tag_invalid":
        known = [each.strip(" '") for each in context["expected_tags"].split(",")]
        text = (
            f"{context['discriminator'].strip(chr(39))}: must be one of {', '.join(known)}, got {context['tag']!r}; "
            f"{nearest(context['tag'], known)}"
        )
    elif kind == "union_tag_not_found":
        text = f"{context['discriminator'].strip(chr(39))} is missing"
    else:
        text = f"{first['msg'][0].lower()}{first['msg'][1:]}, got {_short(first['input'])}"
    while loc and text.startswith(loc[-1]):
        loc = loc[:-1]
    return ": ".join([*loc, text])


def _where(loc: Sequence[int | str], values: Any) -> list[str]:
    parts: list[str] = []
    for step in loc:
        try:
            values = values[step]
        except (KeyError, IndexError, TypeError):  # the tag of a union
            continue
        if isinstance(step, str):
            parts.append(step)
        elif parts:
            name = values.get("name") if isinstance(values, Mapping) else None
            parts[-1] = f"{_SINGULAR.get(parts[-1], parts[-1])} {name or step + 1}"
    return parts


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}.."
