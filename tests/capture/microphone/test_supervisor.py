"""Loss of a microphone and further attempts, by a clock of numbers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from daemon.capture.microphone.supervisor import Action, Observation, State, Supervisor


class World:
    """Ticks a supervisor and obeys it, as a device that comes and goes."""

    def __init__(self) -> None:
        self.supervisor = Supervisor()
        self.now = 1000.0
        self.there = True
        self.talks = True
        self.last: float | None = None
        self.moved: str | None = None
        self.ended = False
        self.open = False
        self.log: list[tuple[float, Action]] = []

    def tick(self, step: float = 0.05) -> Action:
        self.now = round(self.now + step, 6)
        if self.open and self.talks:
            self.last = self.now
        seen = Observation(self.now, self.last, self.open and not self.ended, self.moved)
        action = self.supervisor.tick(seen)
        if action is not Action.NOTHING:
            self.log.append((self.now, action))
        if action is Action.OPEN:
            if self.there:
                self.open, self.last, self.moved, self.ended = True, None, None, False
                self.supervisor.opened(self.now)
            else:
                self.supervisor.failed(self.now)
        elif action is Action.CLOSE:
            self.open = False
        return action

    def until(self, done: Callable[[], bool], limit: float = 10.0) -> float:
        since = self.now
        while not done():
            self.tick()
            assert self.now - since < limit
        return self.now - since


@pytest.fixture
def world() -> World:
    world = World()
    world.until(lambda: world.supervisor.state is State.RUNNING, limit=0.2)
    return world


def lose_by_silence(world: World) -> None:
    world.talks = False


def lose_by_end(world: World) -> None:
    world.ended = True


def lose_by_move(world: World) -> None:
    world.moved = "other"


@pytest.mark.parametrize(
    ("lose", "within", "reason"),
    [
        (lose_by_silence, 0.8, "nothing comes from it any more"),
        (lose_by_end, 0.1, "its stream ended"),
        (lose_by_move, 0.1, "the sound server went over to other"),
    ],
)
def test_each_way_of_being_lost_is_noticed_within_a_second(
    world: World, lose: Callable[[World], None], within: float, reason: str
) -> None:
    lose(world)
    world.there = False
    took = world.until(lambda: world.supervisor.state is State.LOST)
    assert took <= within
    assert world.supervisor.reason == reason
    assert world.log[-1][1] is Action.CLOSE


def test_attempts_back_off_to_a_quarter_second_and_never_stop(world: World) -> None:
    world.there, world.ended = False, True
    since = world.now
    while world.now - since < 600:
        world.tick(0.025)
    attempts = [t for t, action in world.log if action is Action.OPEN and t > since]
    gaps = [b - a for a, b in pairwise(attempts)]
    assert gaps[0] == pytest.approx(0.05, abs=0.03)
    assert all(b >= a - 0.03 for a, b in pairwise(gaps))
    assert max(gaps) <= 0.28
    assert len(attempts) < 600 / 0.225 + 10


def test_after_its_return_it_is_opened_within_the_longest_wait(world: World) -> None:
    world.there, world.ended = False, True
    world.until(lambda: world.now > 1060, limit=100)
    world.there = True
    assert world.until(lambda: world.supervisor.state is State.RUNNING) <= 0.4
    assert world.log[-1][1] is Action.RUNNING
    assert world.supervisor.attempts == 0


def test_a_device_that_opens_but_never_speaks_is_not_back(world: World) -> None:
    world.talks = False
    world.until(lambda: world.supervisor.state is State.LOST)
    since = len(world.log)
    world.until(lambda: world.now > 1020, limit=100)
    later = [action for _, action in world.log[since:]]
    assert Action.RUNNING not in later
    assert later.count(Action.OPEN) >= 5
    assert world.supervisor.state is State.LOST
    world.talks = True
    assert world.until(lambda: world.supervisor.state is State.RUNNING) < 1.0


def test_a_stall_of_the_whole_process_is_no_loss(world: World) -> None:
    """Blocks wait until the process runs again.

    The first look finds only old ones.
    """
    world.talks = False
    assert world.tick(3.0) is Action.NOTHING
    world.talks = True
    for _ in range(50):
        assert world.tick() is Action.NOTHING


def test_but_silence_after_a_stall_is_one(world: World) -> None:
    world.talks = False
    world.tick(3.0)
    assert world.until(lambda: world.supervisor.state is State.LOST) < 0.5
