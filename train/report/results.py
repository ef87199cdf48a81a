"""Figures of the model card: evaluation, labels, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from daemon.base.text import markdown_text
from daemon.model.verifier.description import VerifierInfo
from train.recipe import Recipe

CONFUSIONS = 8


def metrics(recipe: Recipe, figures: dict[str, Any]) -> str:
    cut = recipe.model.unit == "utterance" and recipe.model.windows == "first"
    verdict = "each clip cut to its first window" if cut else "each clip as a recording of its own"
    lines = [
        f"## How good it is\n\nOn the {figures['part']} part, in brackets the 95 % interval "
        "(Wilson). *Windows*: one a word (or every window with speech of an utterance). "
        f"*Recordings*: the verdict on {verdict}. *Heard*: events of a "
        "stream of clips in continuous noise; a hit is an event of the right intent that overlaps "
        "the clip widened by 0.5 s. *Delay*: from the word's end to the event, median. Noise: the "
        "clip's RMS over the noise's, whole clip; in a stream with noise all clips are at one "
        "level, without noise each keeps its own, however quiet it is.\n",
        "| noise | windows | recordings | intents only | macro-F1 | calibration error | heard | "
        "wrong | false alarms | delay |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in figures["conditions"]:
        windows, recordings, stream = row["windows"], row["utterances"], row["stream"]
        delay = stream["delay_median"]
        lines.append(
            "| "
            + " | ".join(
                [
                    "none" if row["snr_db"] is None else f"{row['snr_db']:g} dB",
                    share(windows, "accuracy", "accuracy_interval", "n"),
                    share(recordings, "accuracy", "accuracy_interval", "n"),
                    share(recordings, "intents_accuracy", "intents_interval", "intents_n"),
                    f"{recordings['macro_f1']:.3f}" if recordings["n"] else "",
                    f"{recordings['calibration_error']:.3f}" if recordings["n"] else "",
                    share(stream, "hit_rate", "hit_rate_interval", "said"),
                    str(stream["wrong"]),
                    str(stream["false_alarms"]),
                    "" if delay is None else f"{delay:.2f} s",
                ]
            )
            + " |"
        )
    clean = figures["conditions"][0]["windows"]
    if not cut and clean.get("closed_set_accuracy") is not None:
        closed = share(clean, "closed_set_accuracy", "closed_set_interval", "intents_n")
        lines += ["", f"Closed set (the most probable of the intents, windows): {closed}."]
    free = figures["command_free"]
    if free["hours"]:
        lines += [
            "",
            f"Command-free audio, {free['hours']:.2f} h of other words, other speech and noise: "
            f"{free['false_alarms']} false alarms, {free['false_alarms_per_hour']:.2f} an hour; "
            f"the 95 % upper bound is {free['false_alarms_per_hour_upper']:.1f} an hour. Few "
            "hours prove little.",
        ]
    if figures["utterances_without_speech"]:
        lines.append(
            f"In {figures['utterances_without_speech']} recordings the gate found no speech; they "
            "count as wrong."
        )
    return "\n".join(lines) + "\n"


def by_label(figures: dict[str, Any]) -> str:
    """Recall and events of each label in each noise, and top confusions."""
    rows = figures["conditions"]
    noises = ["no noise" if r["snr_db"] is None else f"{r['snr_db']:g} dB" for r in rows]
    lines = [
        "## Label by label\n",
        "Recordings right, in brackets the 95 % interval:\n",
        "| label | N | " + " | ".join(noises) + " |",
        "|---|---|" + "---|" * len(rows),
    ]
    for label, first in rows[0]["utterances_by_label"].items():
        cells = [row["utterances_by_label"][label] for row in rows]
        shown = [f"{c['accuracy']:.0%} ({_percent(c['interval'])})" for c in cells]
        lines.append(f"| {markdown_text(label)} | {first['n']} | " + " | ".join(shown) + " |")
    streams = [row["stream"]["by_label"] for row in rows]
    if any(streams):
        lines += [
            "",
            "Words heard in the stream, and in brackets wrong events and false alarms of that "
            "label, where there are any:\n",
            "| label | N | " + " | ".join(noises) + " |",
            "|---|---|" + "---|" * len(rows),
        ]
    for label in figures["labels"]:
        found = [stream.get(label) for stream in streams]
        if not any(found):
            continue
        shown = [_events(row) for row in found]
        count = max(row["said"] for row in found if row)
        lines.append(f"| {markdown_text(label)} | {count} | " + " | ".join(shown) + " |")
    pairs = confusions(figures["labels"], figures["confusion"], figures["non_intents"])
    if pairs:
        lines += ["", "Most often taken for another, without noise: " + "; ".join(pairs) + "."]
    return "\n".join(lines) + "\n"


def _percent(interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{low:.0%} to {high:.0%}"


def _events(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    besides = row["wrong"] + row["false_alarms"]
    return f"{row['hits']}" + (f" ({besides})" if besides else "")


def confusions(
    labels: list[str], counts: list[list[int]], non_intents: Sequence[str] = ()
) -> list[str]:
    """The most frequent confusions as phrases, in order.

    One non-intent for another is none. `counts`: rows references, columns predictions.
    """
    wrong = sorted(
        (-count, reference, predicted)
        for reference, row in enumerate(counts)
        for predicted, count in enumerate(row)
        if count
        and reference != predicted
        and not {labels[reference], labels[predicted]} <= set(non_intents)
    )
    return [
        f"{markdown_text(labels[reference])} for {markdown_text(labels[predicted])} {-count} of "
        f"{sum(counts[reference])}"
        for count, reference, predicted in wrong[:CONFUSIONS]
    ]


def calibration(
    recipe: Recipe, chosen: dict[str, Any], verifier: VerifierInfo | None = None
) -> str:
    """How thresholds were chosen, the verifier's too, and what they gave."""
    if not chosen:
        return ""
    measured = chosen["measured"]
    parts = recipe.calibrate.cross_fit
    of = "streams of words and command-free audio of the validation part"
    if parts:
        of += (
            f" and, by {parts} more models that were each trained without what they score, of the "
            "training part"
        )
    if recipe.calibrate.free:
        free = " and ".join(map(markdown_text, recipe.calibrate.free))
        of += f", and {free}, which nothing is trained on"
    return (
        "## Calibration\n\n"
        f"Temperature {chosen['temperature']:.2f}; thresholds: {_listed(chosen['thresholds'])}. "
        f"Chosen on {of} ({measured['command_free_hours']:.2f} h without commands), for at most "
        f"{measured['false_alarms_asked_per_hour']:g} false alarms an hour: "
        f"{_counted(measured)}{_with_verifier(verifier)}These are figures of the very audio the "
        "thresholds were chosen on; the table above is not.\n"
    )


def _with_verifier(verifier: VerifierInfo | None) -> str:
    if verifier is None:
        return " "
    windows = verifier.rolling_windows
    smoothed = f"posteriors smoothed over {windows} windows and " if windows else ""
    return (
        f"\n\nWith the verifier, {smoothed}thresholds of the verified score, chosen on the same: "
        f"{_listed(verifier.thresholds)}; {_counted(verifier.measured)}\n\n"
    )


def _listed(thresholds: Mapping[str, float]) -> str:
    return ", ".join(f"{markdown_text(label)} {value:.2f}" for label, value in thresholds.items())


def _counted(measured: Mapping[str, Any]) -> str:
    hours = measured["command_free_hours"]
    alarms = (
        f"{measured['false_alarms']} false alarms, {measured['false_alarms_per_hour']:.2f} an "
        "hour; what others may expect is rather what thresholds chosen on one half of it give in "
        f"the other, {measured['false_alarms_elsewhere']}, "
        f"{measured['false_alarms_elsewhere'] / hours:.2f} an hour, with 95 % confidence at most "
        f"{measured['false_alarms_elsewhere_per_hour_upper_95']:.1f}"
        if hours
        else "and without command-free audio nothing is known of false alarms"
    )
    return (
        f"{measured['hits']} of {measured['words']} words heard, {measured['wrong']} wrong, "
        f"{alarms}. {_alarms_by_source(measured)}{_other_words(measured)}"
    ).rstrip()


def _alarms_by_source(measured: Mapping[str, Any]) -> str:
    rows = measured["false_alarms_by_source"]
    if not rows:
        return ""
    counts = ", ".join(
        f"{markdown_text(name)} {row['alarms']} in {row['hours']:.2f} h"
        for name, row in rows.items()
    )
    return f"By source: {counts}. "


def _other_words(measured: Mapping[str, Any]) -> str:
    """Single words that are no intents, unless they are command-free audio.

    Empty where they counted as that.
    """
    if not measured["other_words"]:
        return ""
    return (
        f"Of {measured['other_words']} single other words {measured['other_words_wrong']} raised "
        "an event; each counted as much as a miss. "
    )


def share(row: dict[str, Any], key: str, interval: str, n: str) -> str:
    """A proportion with its interval and N; empty where nothing was measured."""
    if not row.get(n) or row.get(key) is None:
        return ""
    low, high = row[interval]
    return f"{row[key]:.1%} ({low:.1%} to {high:.1%}), N={row[n]}"
