"""Numbers and times as people and columns want them. No floats leave this file."""

from datetime import UTC, datetime
from typing import Final

_UNITS: Final = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, to the second, as Kubernetes writes times."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def short_count(number: int) -> str:
    """12_400_000 -> 12.4M."""
    for size, unit in _UNITS:
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return str(number)


def decimal(number: float) -> str:
    """18.34 -> 18.3, 20.0 -> 20; what is out of all proportion as 1e+40."""
    if abs(number) >= 1e15:
        return f"{number:.3g}"
    text = f"{number:.1f}"
    return text.removesuffix(".0") if text != "-0.0" else "0"


def three_digits(number: float) -> int:
    """41_237.6 -> 41_200: the rest is noise, and noise would be written again and again."""
    whole = round(number)
    return int(float(f"{whole:.3g}"))


def duration(seconds: int) -> str:
    """4_800 -> 1h20m; the two largest units."""
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, rest = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    first = next((index for index, (value, _) in enumerate(parts) if value), 3)
    return "".join(f"{value}{unit}" for value, unit in parts[first : first + 2] if value) or "0s"


def counted(number: int, noun: str) -> str:
    """1 learner, 2 learners."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def clipped(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def tail(text: str, length: int) -> str:
    """The end of a log."""
    return text[-length:]


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
