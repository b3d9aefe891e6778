"""docs/traps.md names tests; this one looks them up."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_the_page_names_exists() -> None:
    page = (ROOT / "docs" / "traps.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    missing = [name for path, name in named if f"def {name}(" not in (ROOT / path).read_text()]
    assert (missing, len(named) > 10) == ([], True)
