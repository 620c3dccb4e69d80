"""The figures of one backend, at a moment and over a second, and those that others have left."""

import os
import time
from collections.abc import Callable
from typing import Any

from ..gateway.gateway import Gateway
from ..telemetry.history import WINDOW, Sample
from ..telemetry.process import ProcessStatistics
from ..telemetry.scoreboard import Counters, Key, Page, Scoreboard
from .figures import COUNTER, GAUGE, HISTOGRAM, HISTORY, METRICS, NOW, Figure, Reading


class Monitoring:
    """What a backend measures of itself. Without a ``scoreboard`` it shares nothing."""

    def __init__(
        self,
        gateway: Gateway,
        scoreboard: Scoreboard | None = None,
        *,
        config_hash: str = "",
        config_loaded_at: float = 0.0,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.gateway = gateway
        self.scoreboard = scoreboard
        self.process = ProcessStatistics()
        self._config = config_hash, config_loaded_at
        self._wall = wall
        self._steady = steady
        self._second = int(wall())
        self._sampled = self._second - 1
        self._sampled_at = steady()
        self._counted = _counted(self.read())

    def read(self) -> Reading:
        """Return the sources of all figures, as they are now."""
        publisher = self.gateway.publisher
        return Reading(
            self.gateway, publisher.figures(), publisher.broker_state(), self.process, *self._config
        )

    def backend(self, reading: Reading | None = None) -> dict[str, Any]:
        """Return this backend as ``/dashboard.json`` shows it."""
        reading = reading or self.read()
        return {
            "backend": str(self.gateway.port),
            "up": True,
            "pid": os.getpid(),
            "broker": reading.state,
            **{figure.dashboard: figure.read(reading) for figure in NOW},
        }

    def watch(self) -> None:
        """Note that somebody reads the figures, so that all backends keep probing the broker."""
        if self.scoreboard is not None:
            self.scoreboard.watch()
        self.gateway.publisher.start_probe()

    def probe_if_watched(self) -> None:
        """Keep the broker's state fresh while somebody reads the figures of any backend."""
        if self.scoreboard is not None and self.scoreboard.is_watched:
            self.gateway.publisher.start_probe()

    def pages(self) -> list[Page]:
        """Return what all backends of this parent have left on the scoreboard."""
        return [] if self.scoreboard is None else self.scoreboard.pages()

    def samples(self, reading: Reading) -> tuple[Counters, dict[Key, float]]:
        """Return the figures of ``/metrics``: those that add up, and the gauges."""
        counters: Counters = {}
        gauges: dict[Key, float] = {}
        for figure in METRICS:
            for labels, value in figure.samples(reading):
                if figure.kind is GAUGE:
                    gauges[figure.name, *labels] = float(value)
                elif figure.kind is COUNTER:
                    counters[figure.name, *labels] = [value]
                else:
                    counters[figure.name, *labels] = [value.sum, *value.cumulative()]
        return counters, gauges

    def second_over(self) -> int | None:
        """Return the second that has ended since the last call, or None if it goes on."""
        before, self._second = self._second, int(self._wall())
        return None if before == self._second else self._second - 1

    def sample(self, second: int, reading: Reading) -> Sample:
        """Return the sample of ``second`` and of those before it that were missed."""
        now, counted = self._steady(), _counted(reading)
        self.process.finish_second(max(now - self._sampled_at, 1e-3))
        seconds = min(max(1, second - self._sampled), WINDOW)
        grown = {name: _growth(counts, self._counted[name]) for name, counts in counted.items()}
        sample = Sample(
            os.getpid(),
            seconds,
            reading.state.state.value,
            {f.dashboard: f.read(reading) for f in HISTORY if f.kind is GAUGE},
            {f.dashboard: grown[f.dashboard] for f in HISTORY if f.kind is COUNTER},
            {f.dashboard: grown[f.dashboard] for f in HISTORY if f.kind is HISTOGRAM},
        )
        # Last of all: what a sample that fails had to report is in the next one.
        self._sampled, self._sampled_at, self._counted = second, now, counted
        return sample


def _counted(reading: Reading) -> dict[str, dict[Any, int]]:
    """Return what is counted of the history, by figure and by label or part of an octave."""
    return {f.dashboard: _by_label(f, f.read(reading)) for f in HISTORY if f.kind is not GAUGE}


def _by_label(figure: Figure, value: Any) -> dict[Any, int]:
    if figure.kind is HISTOGRAM:
        return dict(enumerate(value.counts))
    return value if figure.labels else {"": value}


def _growth(counts: dict[Any, int], before: dict[Any, int]) -> dict[Any, int]:
    """Return by how much each count has grown, if it has."""
    return {key: n - before.get(key, 0) for key, n in counts.items() if n != before.get(key, 0)}
