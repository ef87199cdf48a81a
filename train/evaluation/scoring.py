"""Compares events with the truth: hits, misses, false alarms, delays.

And wrong events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from daemon.messages import Event
from train.metrics import poisson_upper, wilson
from train.simulation.tracks import ReferenceEvent

WIDEN = 0.5
"""Seconds by which a clip is widened on both sides before an event is matched with it."""


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of events against the truth. Adds up over tracks."""

    references: int = 0
    """Intents that are in the track."""
    hits: int = 0
    wrong: int = 0
    """Events of another intent than the clip they overlap (a non-intent's clip included)."""
    false_alarms: int = 0
    """Events that overlap no clip, and events that repeat one already matched."""
    hours: float = 0.0
    delays: tuple[float, ...] = ()
    """Seconds from each hit word's end to its event."""
    hits_by_label: Counter[str] = field(default_factory=Counter)
    references_by_label: Counter[str] = field(default_factory=Counter)
    wrong_by_label: Counter[str] = field(default_factory=Counter)
    """By the intent that was claimed, as are false alarms."""
    alarms_by_label: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Score) -> Score:
        return Score(
            self.references + other.references,
            self.hits + other.hits,
            self.wrong + other.wrong,
            self.false_alarms + other.false_alarms,
            self.hours + other.hours,
            self.delays + other.delays,
            self.hits_by_label + other.hits_by_label,
            self.references_by_label + other.references_by_label,
            self.wrong_by_label + other.wrong_by_label,
            self.alarms_by_label + other.alarms_by_label,
        )

    @property
    def misses(self) -> int:
        return self.references - self.hits

    @property
    def per_hour(self) -> float:
        """False alarms an hour; 0 for no hours."""
        return self.false_alarms / self.hours if self.hours else 0.0

    def summary(self) -> dict[str, object]:
        """Plain values for JSON."""
        delays = np.asarray(self.delays)
        return {
            "said": self.references,
            "hits": self.hits,
            "misses": self.misses,
            "wrong": self.wrong,
            "false_alarms": self.false_alarms,
            "hours": round(self.hours, 4),
            "hit_rate": self.hits / self.references if self.references else None,
            "hit_rate_interval": wilson(self.hits, self.references) if self.references else None,
            "false_alarms_per_hour": self.per_hour,
            "false_alarms_per_hour_upper": poisson_upper(self.false_alarms, self.hours),
            "delay_median": float(np.median(delays)) if len(delays) else None,
            "delay_p90": float(np.percentile(delays, 90)) if len(delays) else None,
            "by_label": {
                label: {
                    "said": self.references_by_label[label],
                    "hits": self.hits_by_label[label],
                    "wrong": self.wrong_by_label[label],
                    "false_alarms": self.alarms_by_label[label],
                }
                for label in sorted(
                    self.references_by_label | self.wrong_by_label | self.alarms_by_label
                )
            },
        }


def score(events: Iterable[Event], truth: Sequence[ReferenceEvent], hours: float) -> Score:
    """Match `events` of one track with its truth.

    A hit is an event of the right intent that overlaps the clip widened by half a second on both
    sides; each clip is hit once. Events are matched in order, each with the earliest clip it fits.
    """
    hit: set[int] = set()
    delays: list[float] = []
    hits, wrong, alarms = Counter[str](), Counter[str](), Counter[str]()
    for event in sorted(events, key=lambda e: e.at_stream):
        near = [
            n
            for n, reference in enumerate(truth)
            if event.start < reference.end + WIDEN and event.end > reference.start - WIDEN
        ]
        right = [n for n in near if truth[n].intent and truth[n].label == event.intent]
        fresh = [n for n in right if n not in hit]
        if fresh:
            hit.add(fresh[0])
            hits[event.intent] += 1
            delays.append(event.at_stream - truth[fresh[0]].word_end)
        elif right or not near:
            alarms[event.intent] += 1
        else:
            wrong[event.intent] += 1
    references = Counter(each.label for each in truth if each.intent)
    return Score(
        references.total(),
        len(hit),
        wrong.total(),
        alarms.total(),
        hours,
        tuple(delays),
        hits,
        references,
        wrong,
        alarms,
    )
