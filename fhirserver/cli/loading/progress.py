"""Shows how far loading has come: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

from contextlib import AbstractContextManager
from time import monotonic
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

LINE_EVERY_S = 5.0


class Meter(Protocol):
    """Told about every finished request."""

    def advance(self, done: float, resources: int, failures: int) -> None:
        """`done` in the unit of the total, resources stored and failures, each since the last call."""
        ...


class Silent(AbstractContextManager["Silent"]):
    """Shows nothing."""

    def advance(self, done: float, resources: int, failures: int) -> None:
        """Nothing to show."""

    def __exit__(self, *_: object) -> None:
        return None


class Lines(AbstractContextManager["Lines"]):
    """A line every few seconds, for logs."""

    def __init__(self, console: Console, total: float) -> None:
        self._console, self._total = console, total
        self._done, self._resources, self._failures = 0.0, 0, 0
        self._begun = self._shown = monotonic()

    def advance(self, done: float, resources: int, failures: int) -> None:
        """Counts, and writes a line when the last one is old."""
        self._done += done
        self._resources += resources
        self._failures += failures
        now = monotonic()
        if now - self._shown >= LINE_EVERY_S:
            self._shown = now
            rate = self._resources / (now - self._begun)
            self._console.print(
                f"{100 * self._done / max(self._total, 1):.0f} %  {self._resources:,} resources"
                f"  {rate:,.0f}/s  {self._failures:,} failures",
                highlight=False,
            )

    def __exit__(self, *_: object) -> None:
        return None


class _Rate(ProgressColumn):
    """Resources a second, over the whole time: steadier than the last moments."""

    def render(self, task: Task) -> Text:
        rate = task.fields["resources"] / task.elapsed if task.elapsed else 0.0
        return Text(f"{task.fields['resources']:,} resources  {rate:,.0f}/s", style="cyan")


class Bar:
    """A bar on a terminal."""

    def __init__(self, console: Console, total: float, title: str) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            _Rate(),
            TextColumn("{task.fields[failures]} failures", style="red"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task(title, total=total, resources=0, failures=0)
        self._resources = self._failures = 0

    def advance(self, done: float, resources: int, failures: int) -> None:
        """Moves the bar."""
        self._resources += resources
        self._failures += failures
        self._progress.update(self._task, advance=done, resources=self._resources, failures=self._failures)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


def meter(console: Console, total: float, title: str, *, shown: bool) -> Bar | Lines | Silent:
    """The meter that suits the console."""
    if not shown:
        return Silent()
    return Bar(console, total, title) if console.is_terminal else Lines(console, total)
