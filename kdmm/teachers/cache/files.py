"""The files of a store: safetensors and JSON, written whole or not at all, with checksums.

Safetensors, and not Arrow or Lance: it holds bfloat16 and int8 beside float32 in one file, PyTorch maps it into memory
without a copy, its head tells everything of its size, reading it runs no code, and models are kept in it already.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from kdmm.errors import InputError

__all__ = [
    "checksum",
    "clean",
    "file_checksum",
    "mapped",
    "read_json",
    "to_cpu",
    "write_json",
    "write_tensors",
    "wrong_size",
]

AT_ONCE = 1 << 22  # bytes that are hashed together
PARTIAL = ".partial"


def checksum(data: bytes | memoryview) -> str:
    """Return the checksum of bytes."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def file_checksum(path: Path) -> str:
    """Return the checksum of a file."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(AT_ONCE):
            digest.update(block)
    return digest.hexdigest()


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> tuple[int, str]:
    """Write tensors; return the file's bytes and its checksum."""
    seen: set[int] = set()
    data = save({name: _own(x.contiguous(), seen) for name, x in tensors.items()})
    _write(path, data)
    return len(data), checksum(data)


def write_json(path: Path, content: Any) -> tuple[int, str]:
    """Write what JSON can hold; return the file's bytes and its checksum."""
    data = (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")
    _write(path, data)
    return len(data), checksum(data)


def read_json(path: Path, remedy: str = "Delete it, and write the store again.") -> Any:
    """Read what `write_json` wrote.

    Args:
        path: the file.
        remedy: what is to be done where it is damaged.

    Raises:
        InputError: it is damaged.
    """
    try:
        return json.loads(path.read_bytes().decode("utf-8", "surrogatepass"))
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}). {remedy}") from error


def mapped(path: Path, remedy: str = "Delete it; it is computed again.") -> dict[str, Tensor]:
    """Return the tensors of a file; their pages are read when they are looked at, and shared by all processes.

    Args:
        path: the file.
        remedy: what is to be done where it is damaged.

    Raises:
        InputError: there is no such file, or it is damaged.
    """
    try:
        found: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}). {remedy}") from error
    return found


def wrong_size(path: Path, size: int) -> str | None:
    """Return in words what is wrong with a file that is not there, or not of as many bytes as were written."""
    if not path.is_file():
        return f"{path} is missing"
    found = path.stat().st_size
    return None if found == size else f"{path} is cut off or changed: it has {found} bytes where {size} were written"


def clean(folder: Path) -> None:
    """Delete what killed writers have left."""
    for path in folder.glob(f"*{PARTIAL}"):
        path.unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    """Write to a name of this process's own, then give it the name: a kill or a loss of power leaves no half a file."""
    partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _own(x: Tensor, seen: set[int]) -> Tensor:
    """Return the tensor, copied where another one has its memory: safetensors refuses that."""
    place = x.untyped_storage().data_ptr()
    if place in seen:
        return x.clone()
    seen.add(place)
    return x


def to_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors on the CPU."""
    return {name: x.to(torch.device("cpu")) for name, x in tensors.items()}
