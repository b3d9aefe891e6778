from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RowFlag(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROW_FLAG_NONE: _ClassVar[RowFlag]
    ROW_FLAG_START: _ClassVar[RowFlag]
    ROW_FLAG_TERMINATED: _ClassVar[RowFlag]
    ROW_FLAG_TRUNCATED: _ClassVar[RowFlag]
    ROW_FLAG_LIFE_LOST: _ClassVar[RowFlag]
    ROW_FLAG_VACANT: _ClassVar[RowFlag]
ROW_FLAG_NONE: RowFlag
ROW_FLAG_START: RowFlag
ROW_FLAG_TERMINATED: RowFlag
ROW_FLAG_TRUNCATED: RowFlag
ROW_FLAG_LIFE_LOST: RowFlag
ROW_FLAG_VACANT: RowFlag

class SimulatorMessage(_message.Message):
    __slots__ = ("simulator", "incarnation", "sequence", "hello", "rows")
    SIMULATOR_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    simulator: str
    incarnation: int
    sequence: int
    hello: Hello
    rows: Rows
    def __init__(self, simulator: _Optional[str] = ..., incarnation: _Optional[int] = ..., sequence: _Optional[int] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ..., rows: _Optional[_Union[Rows, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol_version", "job", "environment_digest", "observation", "num_actions", "num_categories", "guest")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    NUM_ACTIONS_FIELD_NUMBER: _ClassVar[int]
    NUM_CATEGORIES_FIELD_NUMBER: _ClassVar[int]
    GUEST_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    job: str
    environment_digest: str
    observation: ArraySpec
    num_actions: int
    num_categories: int
    guest: bool
    def __init__(self, protocol_version: _Optional[int] = ..., job: _Optional[str] = ..., environment_digest: _Optional[str] = ..., observation: _Optional[_Union[ArraySpec, _Mapping]] = ..., num_actions: _Optional[int] = ..., num_categories: _Optional[int] = ..., guest: _Optional[bool] = ...) -> None: ...

class ArraySpec(_message.Message):
    __slots__ = ("shape", "dtype")
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    shape: _containers.RepeatedScalarFieldContainer[int]
    dtype: str
    def __init__(self, shape: _Optional[_Iterable[int]] = ..., dtype: _Optional[str] = ...) -> None: ...

class Rows(_message.Message):
    __slots__ = ("observation", "reward", "flags", "final_observation")
    OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    REWARD_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    FINAL_OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    observation: bytes
    reward: bytes
    flags: bytes
    final_observation: bytes
    def __init__(self, observation: _Optional[bytes] = ..., reward: _Optional[bytes] = ..., flags: _Optional[bytes] = ..., final_observation: _Optional[bytes] = ...) -> None: ...

class LearnerMessage(_message.Message):
    __slots__ = ("sequence", "lease", "actions", "job_over", "heartbeat", "redirect")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    JOB_OVER_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    REDIRECT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    lease: Lease
    actions: Actions
    job_over: JobOver
    heartbeat: Heartbeat
    redirect: Redirect
    def __init__(self, sequence: _Optional[int] = ..., lease: _Optional[_Union[Lease, _Mapping]] = ..., actions: _Optional[_Union[Actions, _Mapping]] = ..., job_over: _Optional[_Union[JobOver, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., redirect: _Optional[_Union[Redirect, _Mapping]] = ...) -> None: ...

class Redirect(_message.Message):
    __slots__ = ("rank", "guest")
    RANK_FIELD_NUMBER: _ClassVar[int]
    GUEST_FIELD_NUMBER: _ClassVar[int]
    rank: int
    guest: bool
    def __init__(self, rank: _Optional[int] = ..., guest: _Optional[bool] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class JobOver(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Lease(_message.Message):
    __slots__ = ("group", "slots")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    group: int
    slots: _containers.RepeatedCompositeFieldContainer[SlotLease]
    def __init__(self, group: _Optional[int] = ..., slots: _Optional[_Iterable[_Union[SlotLease, _Mapping]]] = ...) -> None: ...

class SlotLease(_message.Message):
    __slots__ = ("slot", "global_slot", "episode", "actions", "later", "held")
    SLOT_FIELD_NUMBER: _ClassVar[int]
    GLOBAL_SLOT_FIELD_NUMBER: _ClassVar[int]
    EPISODE_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    LATER_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    slot: int
    global_slot: int
    episode: int
    actions: bytes
    later: bool
    held: Held
    def __init__(self, slot: _Optional[int] = ..., global_slot: _Optional[int] = ..., episode: _Optional[int] = ..., actions: _Optional[bytes] = ..., later: _Optional[bool] = ..., held: _Optional[_Union[Held, _Mapping]] = ...) -> None: ...

class Held(_message.Message):
    __slots__ = ("actions", "checksum")
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    actions: int
    checksum: int
    def __init__(self, actions: _Optional[int] = ..., checksum: _Optional[int] = ...) -> None: ...

class Actions(_message.Message):
    __slots__ = ("action", "release", "adopt")
    ACTION_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    ADOPT_FIELD_NUMBER: _ClassVar[int]
    action: bytes
    release: _containers.RepeatedScalarFieldContainer[int]
    adopt: _containers.RepeatedCompositeFieldContainer[Adoption]
    def __init__(self, action: _Optional[bytes] = ..., release: _Optional[_Iterable[int]] = ..., adopt: _Optional[_Iterable[_Union[Adoption, _Mapping]]] = ...) -> None: ...

class Adoption(_message.Message):
    __slots__ = ("slot", "episode")
    SLOT_FIELD_NUMBER: _ClassVar[int]
    EPISODE_FIELD_NUMBER: _ClassVar[int]
    slot: int
    episode: int
    def __init__(self, slot: _Optional[int] = ..., episode: _Optional[int] = ...) -> None: ...
