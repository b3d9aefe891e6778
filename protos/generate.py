"""Regenerate the Python code of the wire beside its .proto files."""

from __future__ import annotations

import sys
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent
PROTOS = ("stepstream_protos/v1/store.proto", "stepstream_protos/v1/stream.proto")


def generate(output: Path = ROOT) -> None:
    """Write *_pb2.py, *_pb2.pyi and *_pb2_grpc.py below `output`; SystemExit when protoc refuses."""
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    arguments = [f"--{kind}_out={output}" for kind in ("python", "pyi", "grpc_python")]
    code = protoc.main(["protoc", f"-I{ROOT}", f"-I{well_known}", *arguments, *PROTOS])
    if code != 0:
        raise SystemExit(code)


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
