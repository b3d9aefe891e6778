"""The board over real sockets: learners meet, agree, and learn of each other's end; nobody waits for ever."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from stepstream_trainer.config import Mode
from stepstream_trainer.learner import board as board_module
from stepstream_trainer.learner import meeting
from stepstream_trainer.learner.board import Board, CannotHostError, RankLostError, RanksMissingError
from stepstream_trainer.learner.experience import Position
from stepstream_trainer.learner.homes import Need
from stepstream_trainer.learner.meeting import LearnersDifferError
from stepstream_trainer.learner.ranks import InStep, News, Order
from tests.support.board_process import MET, board_process
from tests.support.daemons import free_ports
from tests.support.data_plane import wait_until
from tests.support.subprocesses import next_line

LOST_SECONDS = 5.0
"""Instead of 30: a board counts once a second."""

MARGIN_SECONDS = 30.0
"""On top of what the board promises, on a machine that others use."""


class EnoughError(Exception):
    """Breaks a waiting off."""


def go_on() -> None:
    """Nothing breaks the waiting off, however long it takes."""


def enough() -> None:
    raise EnoughError


@pytest.fixture
def address() -> str:
    return f"127.0.0.1:{free_ports(1)[0]}"


def in_parallel(*works: Callable[[], object]) -> list[object]:
    with ThreadPoolExecutor(len(works)) as threads:
        return [each.result() for each in [threads.submit(work) for work in works]]


def open_boards(address: str, world_size: int, lost_seconds: float = 60.0) -> list[Board]:
    def opened(rank: int) -> Board:
        return Board.open(rank, world_size, address, go_on, lost_seconds=lost_seconds)

    with ThreadPoolExecutor(world_size) as threads:
        return list(threads.map(opened, range(world_size)))


def close(boards: list[Board]) -> None:
    in_parallel(*(board.close for board in boards))


@contextmanager
def boards_of(address: str, world_size: int = 2, lost_seconds: float = 60.0) -> Iterator[list[Board]]:
    boards = open_boards(address, world_size, lost_seconds)
    try:
        yield boards
    finally:
        close(boards)


def test_all_leave_a_point_together_with_the_same_answer(address: str) -> None:
    generator = random.Random(7)
    rounds = [[(generator.random() < 0.2, 0.01 * generator.random()) for _ in range(3)] for _ in range(60)]
    here = [0, 0, 0]

    def go(board: Board, rank: int) -> list[bool]:
        answers = []
        for number, each in enumerate(rounds):
            flag, seconds = each[rank]
            time.sleep(seconds)
            here[rank] = number + 1
            answers.append(board.arrive(f"round {number}", flag=flag, pause=go_on))
            assert min(here) >= number + 1
        return answers

    with boards_of(address, 3) as boards:
        keys_before = boards[0].store.num_keys()
        answers = in_parallel(*(lambda board=board, rank=rank: go(board, rank) for rank, board in enumerate(boards)))
        assert answers == [[any(flag for flag, _ in each) for each in rounds]] * 3
        wait_until(lambda: boards[0].store.num_keys() <= keys_before + 3, "points of the past are deleted")


def test_learners_that_begin_with_other_parameters_all_end_with_a_sentence(address: str) -> None:
    def begin(board: Board, rank: int) -> str:
        ranks = InStep(board, rank=rank, size=2, tick=go_on)
        with pytest.raises(LearnersDifferError) as told:
            ranks.begin_alike(Position(), lambda: f"digest{rank}")
        return str(told.value)

    with boards_of(address) as [first, second]:
        [said] = {*in_parallel(lambda: begin(first, 0), lambda: begin(second, 1))}
    assert str(said).startswith("learners begin with parameters that differ")
    assert str(said).endswith("with parameters digest0, with parameters digest1")


def test_what_rank_0_decides_on_everybodys_news_holds_for_all(address: str) -> None:
    order = Order(done=False, save=True, mode=Mode.Async, calibrating=True, total_steps=1000)
    news, heard = News(returns=[1.5], lengths=[3]), list[News]()

    def decide(of_others: Sequence[News]) -> Order:
        heard.extend(of_others)
        return order

    def agree(board: Board, rank: int) -> Order:
        return InStep(board, rank=rank, size=2, tick=go_on).agree(decide, news)

    with boards_of(address) as [first, second]:
        assert in_parallel(lambda: agree(first, 0), lambda: agree(second, 1)) == [order, order]
    assert heard == [news]


def test_a_call_that_was_broken_off_has_arrived_all_the_same(address: str) -> None:
    with boards_of(address) as boards:
        with pytest.raises(EnoughError):
            boards[0].arrive("end", flag=True, pause=enough)
        assert boards[1].arrive("end", pause=go_on)


def test_a_value_is_there_for_all_once_it_was_put_and_until_it_is_discarded(address: str) -> None:
    with boards_of(address) as [first, second]:
        with pytest.raises(EnoughError):
            second.get("weights", enough)
        late = threading.Timer(0.2, lambda: first.put("weights", b"\x00\xff"))
        late.start()
        assert second.get("weights", go_on) == b"\x00\xff"
        late.join()
        first.discard("weights")
        wait_until(lambda: not first.store.check(["value/weights"]), "it is gone")


def test_all_hear_that_one_was_asked_to_stop(address: str) -> None:
    with boards_of(address, 3) as boards:
        assert not any(board.stop_asked() for board in boards)
        boards[1].ask_to_stop()
        assert boards[1].stop_asked()
        wait_until(lambda: all(board.stop_asked() for board in boards), "all have heard")


def test_all_hear_of_each_others_needs(address: str) -> None:
    with boards_of(address) as [first, second]:
        assert first.needs() == {}
        second.tell_need(Need(free_slots=3, simulators=frozenset({"a", "b"})))
        wait_until(lambda: first.needs() == {1: Need(free_slots=3, simulators=frozenset({"a", "b"}))}, "it is told")
        second.tell_need(Need(free_slots=0))
        wait_until(lambda: first.needs() == {1: Need(free_slots=0)}, "it is told anew")


def test_learners_meet_in_whatever_order_they_come(address: str) -> None:
    def late() -> Board:
        time.sleep(0.5)
        return Board.open(0, 2, address, go_on)

    boards = in_parallel(lambda: Board.open(1, 2, address, go_on), late)
    close([board for board in boards if isinstance(board, Board)])


@pytest.mark.parametrize(
    ("come", "seconds", "missing"),
    [([0], 0.8, "learners 1, 2 of 3"), ([1], 0.8, "learner 0 of 3"), ([0, 1], 6.0, "learner 2 of 3")],
)
def test_whoever_does_not_come_is_named_by_those_who_came(
    come: list[int], seconds: float, missing: str, address: str
) -> None:
    def wait(rank: int) -> str:
        with pytest.raises(RanksMissingError) as refused:
            Board.open(rank, 3, address, go_on, arrival_seconds=seconds)
        return str(refused.value)

    said = in_parallel(*(lambda rank=rank: wait(rank) for rank in come))
    assert said[0] == f"{missing} did not come within {seconds:g} s"


def test_waiting_for_others_can_be_broken_off(address: str) -> None:
    for rank in (0, 1):
        with pytest.raises(EnoughError):
            Board.open(rank, 2, address, enough)


def test_a_port_in_use_is_said_to_be_so(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "_HOST_SECONDS", 0.2)
    host, _, port = address.rpartition(":")
    with socket.create_server((host, int(port))), pytest.raises(CannotHostError, match=f"cannot listen on {address}: "):
        Board.open(0, 2, address, go_on)


def test_on_one_machine_nobody_else_is_listened_to(address: str) -> None:
    with boards_of(address), pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", int(address.rpartition(":")[2])), timeout=5)


def test_a_killed_learner_is_missed_by_those_who_wait_for_it(address: str) -> None:
    with board_process(1, 2, address) as other:
        board = Board.open(0, 2, address, go_on, lost_seconds=LOST_SECONDS)
        board._client._silence_seconds = 60.0  # its own store is not what is to be missed
        assert next_line(other) == MET
        other.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        for wait in (lambda: board.arrive("end", pause=go_on), lambda: board.get("weights", go_on), board.check):
            with pytest.raises(RankLostError, match="learner 1 has been silent for 5 s"):
                wait()
        assert time.monotonic() - killed < LOST_SECONDS + MARGIN_SECONDS
        board.close()


def test_a_killed_rank_0_is_missed_at_once(address: str) -> None:
    with board_process(0, 2, address) as host:
        board = Board.open(1, 2, address, go_on)
        assert next_line(host) == MET
        host.send_signal(signal.SIGKILL)
        with pytest.raises(RankLostError, match="the learner of rank 0 is gone"):
            board.arrive("end", pause=go_on)
        with pytest.raises(RankLostError, match="the learner of rank 0 is gone"):
            board.put("weights", b"")
        with pytest.raises(RankLostError, match="the learner of rank 0 is gone"):
            board.check()
        board.close()


def test_a_rank_0_that_hangs_is_missed_though_its_sockets_are_open(address: str) -> None:
    with board_process(0, 2, address) as host:
        board = Board.open(1, 2, address, go_on, lost_seconds=LOST_SECONDS)
        assert next_line(host) == MET
        host.send_signal(signal.SIGSTOP)
        with pytest.raises(RankLostError, match="the learner of rank 0 has been silent for 5 s"):
            board.arrive("end", pause=go_on)
        wait_until(lambda: is_lost(board), "whoever only looks learns of it too")
        board.close()


def is_lost(board: Board) -> bool:
    try:
        board.check()
    except RankLostError:
        return True
    return False


def test_a_learner_that_leaves_is_missed_at_once(address: str) -> None:
    with boards_of(address) as [first, second]:
        second.close()
        with pytest.raises(RankLostError, match="learner 1 has left"):
            first.arrive("end", pause=go_on)


def test_whoever_leaves_after_the_last_point_is_missed_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_module, "_LEAVE_SECONDS", 60.0)
    for number in range(4):
        boards = open_boards(f"127.0.0.1:{free_ports(1)[0]}", 2)

        def leave(board: Board, seconds: float) -> bool:
            time.sleep(seconds)
            answer = board.arrive("end", flag=True, pause=lambda: time.sleep(seconds))
            board.close()
            return answer

        delays = [0.0, 1.2] if number % 2 else [1.2, 0.0]
        assert in_parallel(*(lambda b=b, s=s: leave(b, s) for b, s in zip(boards, delays, strict=True))) == [True, True]


def test_what_a_learner_said_before_it_left_is_heard(address: str) -> None:
    first, second = open_boards(address, 2)
    ask = first._client.ask

    def ask_while_the_other_leaves(work: Callable[[Any], Any], pause: Callable[[], None]) -> Any:
        answer = ask(work, pause)
        if answer is False:  # not all are here, it says: a moment later they are, and the other has gone
            second.arrive("end", flag=True, pause=go_on)
            second.close()
            wait_until(lambda: is_lost(first), "it is known that the other has left")
        return answer

    first._client.ask = ask_while_the_other_leaves  # type: ignore[method-assign]
    assert first.arrive("end", pause=go_on)
    first.close()


def test_a_learner_that_comes_anew_makes_the_others_part_and_meets_them_then(address: str) -> None:
    first, second = open_boards(address, 2)
    with ThreadPoolExecutor(1) as threads:
        successor = threads.submit(lambda: Board.open(1, 2, address, go_on))
        with pytest.raises(RankLostError, match="learner 1 was started anew"):
            first.arrive("end", pause=go_on)
        close([first, second])
        close([Board.open(0, 2, address, go_on), successor.result()])


def test_torch_is_not_imported_by_a_learner_that_is_alone() -> None:
    program = (
        "import sys; import stepstream_trainer.learner.board, stepstream_trainer.learner.ingest;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
