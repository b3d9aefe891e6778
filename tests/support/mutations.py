"""Bytes that are nearly what a peer would send, and bytes that are nothing like it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_ENDS = [b"\x00", b"\x7f", b"\x80", b"\xff", b"\xff" * 9 + b"\x01", b"\xff" * 10, b"\r\n", bytes(64)]
"""Of number ranges, of lines; and variable-length integers that are too long."""

_Change = Callable[[random.Random, bytearray, Sequence[bytes]], None]


def mutated(samples: Sequence[bytes], chance: random.Random) -> bytes:
    """One of the samples with one to four changes; now and then bytes at random."""
    if chance.random() < 0.05:
        return chance.randbytes(chance.randrange(200))
    data = bytearray(chance.choice(samples))
    for _ in range(chance.randint(1, 4)):
        chance.choice(_CHANGES)(chance, data, samples)
    return bytes(data)


def altered(samples: Sequence[Message], chance: random.Random) -> Message:
    """A copy of one of the samples, whole, with one to three fields that say something else."""
    message = type(sample := chance.choice(samples))()
    message.CopyFrom(sample)
    for _ in range(chance.randint(1, 3)):
        _alter(message, chance)
    return message


def _alter(message: Message, chance: random.Random) -> None:
    field = chance.choice(message.DESCRIPTOR.fields)
    if chance.random() < 0.1:
        message.ClearField(field.name)
    elif field.is_repeated:
        getattr(message, field.name)[:] = [_value(field, chance) for _ in range(chance.choice([0, 1, 3, 1000]))]
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        inner = getattr(message, field.name)
        inner.SetInParent()
        _alter(inner, chance)
    else:
        setattr(message, field.name, _value(field, chance))


def _value(field: FieldDescriptor, chance: random.Random) -> object:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return chance.randbytes(chance.choice([0, 1, 4, 16, 64, 1000]))
    if field.type == FieldDescriptor.TYPE_STRING:
        letters = 'us\0int8(),<>"?é\u2028\U0001f40d'
        return "".join(chance.choices(letters, k=chance.choice([0, 1, 5, 300])))
    bits = {FieldDescriptor.TYPE_BOOL: 1, FieldDescriptor.TYPE_UINT32: 32, FieldDescriptor.TYPE_UINT64: 64}[field.type]
    return chance.choice([0, 1, 2**bits - 1, chance.getrandbits(bits)])


def _flip_a_bit(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _remove(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    begin = _somewhere(chance, data)
    del data[begin : begin + chance.choice([1, 2, 8, 64, len(data)])]


def _insert(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    at = _somewhere(chance, data)
    data[at:at] = chance.choice(_ENDS)


def _repeat(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    begin, end = sorted((_somewhere(chance, data), _somewhere(chance, data)))
    data[end:end] = data[begin:end]


def _cross(chance: random.Random, data: bytearray, samples: Sequence[bytes]) -> None:
    """Go on as another sample does."""
    other = chance.choice(samples)
    data[_somewhere(chance, data) :] = other[chance.randrange(len(other) + 1) :]


def _somewhere(chance: random.Random, data: bytearray) -> int:
    return chance.randrange(len(data) + 1)


_CHANGES: list[_Change] = [_flip_a_bit, _remove, _insert, _repeat, _cross]
