from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StoreRequest(_message.Message):
    __slots__ = ("join", "attach", "push", "pull", "account", "tell")
    JOIN_FIELD_NUMBER: _ClassVar[int]
    ATTACH_FIELD_NUMBER: _ClassVar[int]
    PUSH_FIELD_NUMBER: _ClassVar[int]
    PULL_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    TELL_FIELD_NUMBER: _ClassVar[int]
    join: Join
    attach: Attach
    push: Push
    pull: Pull
    account: Account
    tell: Tell
    def __init__(self, join: _Optional[_Union[Join, _Mapping]] = ..., attach: _Optional[_Union[Attach, _Mapping]] = ..., push: _Optional[_Union[Push, _Mapping]] = ..., pull: _Optional[_Union[Pull, _Mapping]] = ..., account: _Optional[_Union[Account, _Mapping]] = ..., tell: _Optional[_Union[Tell, _Mapping]] = ...) -> None: ...

class StoreReply(_message.Message):
    __slots__ = ("joined", "attached", "parameters", "totals", "told")
    JOINED_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    TOTALS_FIELD_NUMBER: _ClassVar[int]
    TOLD_FIELD_NUMBER: _ClassVar[int]
    joined: Joined
    attached: Attached
    parameters: Parameters
    totals: Totals
    told: Told
    def __init__(self, joined: _Optional[_Union[Joined, _Mapping]] = ..., attached: _Optional[_Union[Attached, _Mapping]] = ..., parameters: _Optional[_Union[Parameters, _Mapping]] = ..., totals: _Optional[_Union[Totals, _Mapping]] = ..., told: _Optional[_Union[Told, _Mapping]] = ...) -> None: ...

class Join(_message.Message):
    __slots__ = ("protocol_version", "job", "attempt", "rank")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    job: str
    attempt: int
    rank: int
    def __init__(self, protocol_version: _Optional[int] = ..., job: _Optional[str] = ..., attempt: _Optional[int] = ..., rank: _Optional[int] = ...) -> None: ...

class Joined(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Attach(_message.Message):
    __slots__ = ("num_parameters", "shared_memory")
    NUM_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    SHARED_MEMORY_FIELD_NUMBER: _ClassVar[int]
    num_parameters: int
    shared_memory: str
    def __init__(self, num_parameters: _Optional[int] = ..., shared_memory: _Optional[str] = ...) -> None: ...

class Attached(_message.Message):
    __slots__ = ("shared",)
    SHARED_FIELD_NUMBER: _ClassVar[int]
    shared: bool
    def __init__(self, shared: _Optional[bool] = ...) -> None: ...

class Push(_message.Message):
    __slots__ = ("learning_rate", "gradient")
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_FIELD_NUMBER: _ClassVar[int]
    learning_rate: float
    gradient: bytes
    def __init__(self, learning_rate: _Optional[float] = ..., gradient: _Optional[bytes] = ...) -> None: ...

class Pull(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Parameters(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: bytes
    def __init__(self, values: _Optional[bytes] = ...) -> None: ...

class Account(_message.Message):
    __slots__ = ("steps", "updates", "episodes")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    EPISODES_FIELD_NUMBER: _ClassVar[int]
    steps: int
    updates: int
    episodes: _containers.RepeatedCompositeFieldContainer[Episode]
    def __init__(self, steps: _Optional[int] = ..., updates: _Optional[int] = ..., episodes: _Optional[_Iterable[_Union[Episode, _Mapping]]] = ...) -> None: ...

class Episode(_message.Message):
    __slots__ = ("episode_return", "length")
    EPISODE_RETURN_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    episode_return: float
    length: int
    def __init__(self, episode_return: _Optional[float] = ..., length: _Optional[int] = ...) -> None: ...

class Totals(_message.Message):
    __slots__ = ("steps", "updates", "done", "enough")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    ENOUGH_FIELD_NUMBER: _ClassVar[int]
    steps: int
    updates: int
    done: bool
    enough: bool
    def __init__(self, steps: _Optional[int] = ..., updates: _Optional[int] = ..., done: _Optional[bool] = ..., enough: _Optional[bool] = ...) -> None: ...

class Tell(_message.Message):
    __slots__ = ("need",)
    NEED_FIELD_NUMBER: _ClassVar[int]
    need: Need
    def __init__(self, need: _Optional[_Union[Need, _Mapping]] = ...) -> None: ...

class Told(_message.Message):
    __slots__ = ("needs", "done")
    NEEDS_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    needs: _containers.RepeatedCompositeFieldContainer[Need]
    done: bool
    def __init__(self, needs: _Optional[_Iterable[_Union[Need, _Mapping]]] = ..., done: _Optional[bool] = ...) -> None: ...

class Need(_message.Message):
    __slots__ = ("rank", "free_slots", "simulators")
    RANK_FIELD_NUMBER: _ClassVar[int]
    FREE_SLOTS_FIELD_NUMBER: _ClassVar[int]
    SIMULATORS_FIELD_NUMBER: _ClassVar[int]
    rank: int
    free_slots: int
    simulators: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, rank: _Optional[int] = ..., free_slots: _Optional[int] = ..., simulators: _Optional[_Iterable[str]] = ...) -> None: ...
