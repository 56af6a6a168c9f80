"""The console: speed, remaining time and metrics, as plain lines now and then where stderr is no terminal."""

from __future__ import annotations

import io

from sentalign.track.console import Console


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_log_gets_a_line_now_and_then() -> None:
    clock, out = Clock(), io.StringIO()
    console = Console(1000, 200, every_seconds=30, stream=out, clock=clock)
    for second in range(1, 41):
        clock.now = float(second)
        console.step(200 + 10 * second, {"loss": 1.0 / second} if second % 2 else {})
    console.close()
    lines = out.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["210/1,000", "510/1,000", "600/1,000"]
    assert "10.0 pairs/s  40 s left" in lines[-1]
    assert "loss 0.02564" in lines[-1]


def test_closing_prints_nothing_twice() -> None:
    out = io.StringIO()
    console = Console(10, stream=out, clock=Clock())
    console.step(10, {"loss": 1.0})
    console.close()
    assert len(out.getvalue().splitlines()) == 1


class Screen(io.StringIO):
    """A terminal that keeps what it shows."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_progress_line() -> None:
    screen = Screen()
    console = Console(1000, 0, stream=screen)
    console.step(500, {"loss": 0.25})
    console.close()
    assert "500/1,000 pairs" in screen.getvalue()
    assert "loss 0.25" in screen.getvalue()
