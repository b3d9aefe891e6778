"""Commands as the pages tell them to people: in indented blocks to be typed, and within sentences."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = tuple(
    ROOT / page
    for page in (
        "README.md",
        "CONTRIBUTING.md",
        "docs/cluster.md",
        "docs/troubleshooting.md",
        "docs/traps.md",
        "charts/stepstream/README.md",
        *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs/runbooks").glob("*.md")),
    )
)
PROGRAMS = "make|stepstream|kubectl|helm|python -m|kind|source|export|apt-get"

_TYPED = re.compile(rf"^    ((?:[A-Z_]+=\S+ )?(?:{PROGRAMS})\b(?:.*\\\n)*.*)$", re.MULTILINE)
_COMMENT = re.compile(r"\s+# .*$")
_SAID = re.compile(rf"`((?:{PROGRAMS}) [^`]+)`")
_MENTIONED = {"helm install", "helm uninstall", "helm upgrade", "helm test", "kubectl describe", "kubectl exec"}
"""Said of a kind of command, and not to be typed."""


@dataclass(frozen=True, slots=True)
class Documented:
    page: str
    command: str

    @property
    def program(self) -> str:
        return next(word for word in self.command.split() if "=" not in word)


def made(command: str) -> str:
    """A command of make, as it is run in the midst of tests: in their environment, where nothing is installed now."""
    return command.replace(
        "make ", f"make --no-print-directory -C {ROOT} -o {sys.prefix}/.stepstream-ready VENV={sys.prefix} ", 1
    )


def commands() -> list[Documented]:
    """Of every page, in order, each once a page."""
    return [Documented(str(page.relative_to(ROOT)), command) for page in PAGES for command in _of(page.read_text())]


def _of(text: str) -> list[str]:
    return list(dict.fromkeys(_all_of(text)))


def _all_of(text: str) -> Iterator[str]:
    for found in _TYPED.finditer(text):
        yield _COMMENT.sub("", re.sub(r"\s*\\\n\s*", " ", found[1]))
    for found in _SAID.finditer(text):
        command = " ".join(found[1].split())
        if command not in _MENTIONED:
            yield command
