"""What a person sees of a run: a live panel on a terminal, a line every ten seconds anywhere else."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TextIO

from rich.bar import Bar
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from stepstream_operator.local.figures import Figures, sparkline

LINE_SECONDS = 10.0
SHOWN_FRACTION = 0.005
ALWAYS_SHOWN = frozenset({"wait", "inference", "optimise"})
PHASE_NAMES = {
    "wait": "waiting",
    "inference": "inference",
    "hold": "holding",
    "idle": "idle",
    "learners": "learners",
    "optimise": "optimise",
    "checkpoint": "checkpoint",
    "other": "other",
}
PHASE_COLOURS = {
    "wait": "yellow",
    "inference": "cyan",
    "hold": "blue",
    "idle": "red",
    "learners": "bright_blue",
    "optimise": "green",
    "checkpoint": "magenta",
    "other": "white",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RunView:
    """How a run stands. `unix_time` is now; `figures` are the learner's latest, None before its first."""

    title: str
    directory: str
    phase: str
    message: str
    attempt: int
    elapsed_seconds: float
    unix_time: float
    simulators_up: int
    simulators_wanted: int
    learners_up: int = 1
    learners_wanted: int = 1
    figures: Figures | None = None
    fractions: Mapping[str, float] = field(default_factory=dict)
    returns: Sequence[float] = ()


class Display(Protocol):
    """Shows the latest view, and events once each."""

    def show(self, view: RunView) -> None: ...

    def note(self, text: str) -> None: ...

    def close(self) -> None: ...


class LineDisplay:
    """For logs and pipes: a line every LINE_SECONDS, and every event."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown_at: float | None = None
        self._shown_phase = ""

    def show(self, view: RunView) -> None:
        changed = view.phase != self._shown_phase
        if changed or self._shown_at is None or view.unix_time - self._shown_at >= LINE_SECONDS:
            self._shown_at, self._shown_phase = view.unix_time, view.phase
            self._write(line(view))

    def note(self, text: str) -> None:
        self._write(text)

    def close(self) -> None:
        pass

    def _write(self, text: str) -> None:
        print(f"{datetime.now():%H:%M:%S} {text}", file=self._stream, flush=True)


class LiveDisplay:
    """For terminals: a panel that is drawn anew in place, with events scrolling by above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=False)
        self._live.start()

    def show(self, view: RunView) -> None:
        self._live.update(panel(view), refresh=True)

    def note(self, text: str) -> None:
        self._console.print(Text(f"{datetime.now():%H:%M:%S} {text}", style="dim"))

    def close(self) -> None:
        self._live.stop()


class WhileWatched:
    """Another display, for as long as somebody looks: a terminal that was closed must not end the run."""

    def __init__(self, display: Display) -> None:
        self._display: Display | None = display

    def show(self, view: RunView) -> None:
        self._unless_gone(lambda display: display.show(view))

    def note(self, text: str) -> None:
        self._unless_gone(lambda display: display.note(text))

    def close(self) -> None:
        self._unless_gone(lambda display: display.close())

    def _unless_gone(self, use: Callable[[Display], None]) -> None:
        if self._display is None:
            return
        try:
            use(self._display)
        except OSError:
            self._display = None


def make_display(stream: TextIO) -> Display:
    """A live one where `stream` is a terminal that can move its cursor."""
    console = Console(file=stream)
    live = console.is_terminal and not console.is_dumb_terminal
    return WhileWatched(LiveDisplay(console) if live else LineDisplay(stream))


def line(view: RunView) -> str:
    """The run in one line."""
    figures = view.figures
    if figures is None:
        return ", ".join(filter(None, [view.phase, *_up(view), view.message]))
    parts = [
        view.phase,
        f"{figures.steps:,}/{figures.total_steps:,} steps ({figures.percent:.1f}%)",
        f"{figures.frames:,} frames",
        f"{figures.steps_per_second:,.0f} steps/s",
        f"return {_number(figures.episode_return)}",
        "" if figures.policy_lag is None else f"lag {figures.policy_lag:g}",
        f"left {duration(figures.remaining_seconds)}",
        *(f"{PHASE_NAMES[phase]} {fraction:.0%}" for phase, fraction in _main_fractions(view)),
        *_up(view),
        f"checkpoint {_checkpoint(figures, view.unix_time)}",
        view.message,
    ]
    return ", ".join(filter(None, parts))


def panel(view: RunView) -> RenderableType:
    """The run on some ten lines of a terminal."""
    body = Group(*_rows(view))
    mode = f" · {view.figures.mode}" if view.figures else ""
    title = f"[bold]{view.title}[/] · {view.directory} · attempt {view.attempt} · {view.phase}{mode}"
    return Panel(body, title=title, title_align="left", subtitle=duration(view.elapsed_seconds), subtitle_align="right")


def _rows(view: RunView) -> Iterator[RenderableType]:
    figures = view.figures
    if figures is None:
        yield Text(view.message or "waiting for the learner's first words")
        return
    yield _progress(figures)
    yield _numbers(view, figures)
    yield Text.assemble(
        ("return     ", "dim"), _number(figures.episode_return), "  ", (sparkline(view.returns), "green")
    )
    yield _time(view.fractions)
    if view.message:
        yield Text(view.message, style="yellow")


def _progress(figures: Figures) -> Table:
    row = Table.grid(padding=(0, 1), expand=True)
    row.add_column(ratio=1)
    row.add_column(justify="right", no_wrap=True)
    left = f"{figures.percent:.1f}%  left {duration(figures.remaining_seconds)}"
    row.add_row(ProgressBar(total=max(1, figures.total_steps), completed=figures.steps), left)
    return row


def _numbers(view: RunView, figures: Figures) -> Table:
    cells = (
        ("steps", f"{figures.steps:,} of {figures.total_steps:,}"),
        ("steps/s", f"{figures.steps_per_second:,.0f}"),
        ("frames", f"{figures.frames:,}"),
        ("updates", f"{figures.updates:,}"),
        ("episodes", f"{figures.episodes:,}"),
        ("policy lag", "none" if figures.policy_lag is None else f"{figures.policy_lag:g} updates"),
        ("simulators", _simulators(view)),
        ("checkpoint", _checkpoint(figures, view.unix_time)),
        *([("learners", _learners(view)), ("", "")] if view.learners_wanted > 1 else []),
    )
    table = Table.grid(padding=(0, 3), expand=False)
    for first, second in zip(cells[::2], cells[1::2], strict=True):
        table.add_row(*(Text.assemble((f"{name:<11}", "dim"), value) for name, value in (first, second)))
    return table


def _time(fractions: Mapping[str, float]) -> RenderableType:
    """Where the loop's time goes: a bar for each phase that takes any."""
    table = Table.grid(padding=(0, 1))
    for phase, fraction in fractions.items():
        if fraction >= SHOWN_FRACTION:
            bar = Bar(1.0, 0.0, fraction, width=24, color=PHASE_COLOURS[phase])
            table.add_row(Text(f"{PHASE_NAMES[phase]:<11}", style="dim"), bar, f"{fraction:.0%}")
    return table


def _main_fractions(view: RunView) -> Iterator[tuple[str, float]]:
    for phase in ("wait", "inference", "hold", "idle", "optimise"):
        if view.fractions.get(phase, 0.0) >= SHOWN_FRACTION or phase in ALWAYS_SHOWN & view.fractions.keys():
            yield phase, view.fractions[phase]


def _up(view: RunView) -> Iterator[str]:
    """Learners only where there are several: one that is down is what the phase says."""
    if view.learners_wanted > 1:
        yield f"learners {_learners(view)}"
    yield f"simulators {_simulators(view)}"


def _learners(view: RunView) -> str:
    return f"{view.learners_up}/{view.learners_wanted} up"


def _simulators(view: RunView) -> str:
    return f"{view.simulators_up}/{view.simulators_wanted} up"


def _checkpoint(figures: Figures, now: float) -> str:
    failures = f", {figures.checkpoint_failures} failed" if figures.checkpoint_failures else ""
    if figures.checkpoint_step is None or figures.checkpoint_time is None:
        return f"none yet{failures}"
    age = duration(max(0.0, now - figures.checkpoint_time))
    return f"at {figures.checkpoint_step:,}, {age} ago{failures}"


def _number(value: float | None) -> str:
    return "none yet" if value is None else f"{value:.2f}"


def duration(seconds: float | None) -> str:
    """`1h 03m`, `4m 12s`, `9s`; a question mark where it is not known."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02}m"
    return f"{minutes}m {rest:02}s" if minutes else f"{rest}s"
