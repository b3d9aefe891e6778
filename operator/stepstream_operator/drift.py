"""Whether an object is as it should be, though the API server has completed and rewritten it."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

_QUANTITY: Final = re.compile(r"([0-9]*\.?[0-9]+|[0-9]+\.)([A-Za-z]{0,2}|[eE][+-]?[0-9]+)")
_SUFFIXES: Final[Mapping[str, Decimal]] = {
    "": Decimal(1),
    **{unit: Decimal(10) ** power for unit, power in zip("num", (-9, -6, -3), strict=True)},
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", start=1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}
_OF_QUANTITIES: Final = ("limits", "requests")
_WHOLE: Final = ("selector", "podSelector")
"""Maps that the API server keeps as a whole: one more key selects other pods, and an apply takes it away."""

_EMPTY: Final[tuple[object, ...]] = (None, "", 0, False, {}, [])


def covers(observed: Any, desired: Any) -> bool:
    """Whether everything in `desired` is in `observed`. Fields that others added do not matter, but in selectors.

    The API server leaves out empty values and writes quantities its own way (`1000m` as `1`).
    """
    if isinstance(desired, Mapping):
        return isinstance(observed, Mapping) and all(
            _covers_field(name, observed.get(name), value) for name, value in desired.items()
        )
    if isinstance(desired, list):
        return (
            isinstance(observed, list)
            and len(observed) == len(desired)
            and all(covers(left, right) for left, right in zip(observed, desired, strict=True))
        )
    return type(observed) is type(desired) and bool(observed == desired)


def _covers_field(name: str, observed: Any, desired: Any) -> bool:
    if observed is None:
        return desired in _EMPTY or _is_hollow(desired)
    if name in _WHOLE and isinstance(desired, Mapping):
        return bool(observed == desired)
    if name in _OF_QUANTITIES and isinstance(desired, Mapping) and isinstance(observed, Mapping):
        return all(_same_quantity(observed.get(resource), value) for resource, value in desired.items())
    return covers(observed, desired)


def _is_hollow(value: Any) -> bool:
    return isinstance(value, Mapping) and all(item in _EMPTY or _is_hollow(item) for item in value.values())


def _same_quantity(left: Any, right: Any) -> bool:
    return left == right or (_quantity(left) is not None and _quantity(left) == _quantity(right))


def _quantity(value: Any) -> Decimal | None:
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        return None
    number, suffix = match.groups()
    if suffix[:1] in ("e", "E") and suffix[1:]:
        return Decimal(number + suffix)
    return Decimal(number) * _SUFFIXES[suffix] if suffix in _SUFFIXES else None
