"""Prints what is generated from the types; `make docs` writes it into the tree.

python -m stepstream_operator.api crd      the CustomResourceDefinition
python -m stepstream_operator.api docs     the reference page
"""

import sys
from collections.abc import Sequence
from typing import Final

import yaml

from stepstream_operator.api.crd import crd
from stepstream_operator.api.docs import reference

_CRD_HEAD: Final = "# Generated from the types in operator/stepstream_operator/api by `make docs`; do not edit.\n"


def crd_text() -> str:
    return _CRD_HEAD + yaml.safe_dump(crd(), sort_keys=False, width=120, allow_unicode=True)


_TEXTS: Final = {"crd": crd_text, "docs": reference}


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in _TEXTS:
        print(f"usage: python -m stepstream_operator.api {'|'.join(_TEXTS)}", file=sys.stderr)
        return 2
    sys.stdout.write(_TEXTS[arguments[0]]())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
