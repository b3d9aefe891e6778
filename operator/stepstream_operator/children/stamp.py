"""A digest, on each child, of the names of all fields that we want it to have.

What a child lacks, or has otherwise, is seen by comparing. What it has and we no longer want is not: the API server,
other controllers and people add fields of their own. A digest that differs says that we once wanted more, or others.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from stepstream_operator.api import GROUP
from stepstream_operator.children.manifest import Manifest

STAMP: Final = f"{GROUP}/fields"
_UNCHANGING: Final = ("Job", "PersistentVolumeClaim")
_DIGITS: Final = 16


def stamped(child: Manifest) -> Manifest:
    """`child` with its digest. Of some only labels count: the rest never changes in their life."""
    annotations = {name: value for name, value in child["metadata"].get("annotations", {}).items() if name != STAMP}
    bare = child | {"metadata": child["metadata"] | {"annotations": annotations}}
    counted = bare["metadata"]["labels"] if child["kind"] in _UNCHANGING else bare
    digest = hashlib.sha256("\n".join(_names(counted)).encode()).hexdigest()[:_DIGITS]
    return bare | {"metadata": bare["metadata"] | {"annotations": annotations | {STAMP: digest}}}


def _names(value: Any, path: str = "") -> Iterator[str]:
    items = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, Mapping) else ()
    for name, inner in sorted(items):
        yield f"{path}/{name}"
        yield from _names(inner, f"{path}/{name}")
