"""What became of every sample of a stream, counted in source samples, once each."""

from __future__ import annotations

from dataclasses import dataclass

from daemon.errors import AccountingError


@dataclass(slots=True)
class Ledger:
    """captured = classified + gated + shed; lost = shed + what never arrived.

    A sample is classified if any classified window covers it, else gated. Windows are booked in
    order, so whatever lies before a window's start will not be covered any more.
    """

    captured: int = 0
    classified: int = 0
    gated: int = 0
    shed: int = 0
    never_arrived: int = 0
    _from: int = 0
    """Absolute position up to which samples of this segment are booked."""

    @property
    def lost(self) -> int:
        return self.shed + self.never_arrived

    def open_segment(self, position: int) -> None:
        """A segment begins at an absolute position in source samples."""
        self._from = position

    def classify(self, start: int, end: int) -> None:
        """A window over [start, end) was classified."""
        if start > self._from:
            self.gated += start - self._from
            self._from = start
        if end > self._from:
            self.classified += end - self._from
            self._from = end

    def close_segment(self, end: int) -> None:
        """The segment ended at `end`; what no classified window covered was gated."""
        self.gated += end - self._from
        self._from = end

    def shed_segment(self, end: int) -> int:
        """The segment was given up: what is not booked up to `end` is shed. Returns where that
        begins."""
        start, self._from = self._from, max(self._from, end)
        self.shed += self._from - start
        return start

    def check(self) -> None:
        """Raises AccountingError unless every captured sample is accounted for."""
        if self.captured != self.classified + self.gated + self.shed:
            raise AccountingError(
                f"{self.captured} samples captured, but {self.classified} classified + "
                f"{self.gated} gated + {self.shed} shed; please report this defect of intentd"
            )
