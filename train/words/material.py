"""Material of heads: embeddings of takes, of other sound and of the pack.

Copies of every take are embedded once, and all recordings that heads are judged by are run through
the daemon's stream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from daemon.config.settings import GateSettings
from daemon.model.cores import usable_cores
from train.augment import Audio
from train.simulation.offline import SimulationSettings, score_recordings
from train.threads import Say, beside
from train.words.background import (
    PackTalk,
    held_out_noise,
    pack_talk,
    pack_windows,
    surroundings,
    talk_sound,
)
from train.words.embedder import Embedder
from train.words.folder import OwnRecordings, Take
from train.words.gathering import FOLDS, Examples, gather, own_sounds
from train.words.judging import Recording
from train.words.settings import BACKGROUND, UNKNOWN, Settings
from train.words.stages import PACK, TAKES, VERIFIER_COPIES, VERIFIER_PACK
from train.words.take_streams import LEVELS, ScoredTake, in_quiet, placed
from train.words.utterances import Bags, gather_bags
from train.words.verifying import Vectors, VerifierEmbedder, verifier_network


@dataclass(frozen=True, slots=True)
class VerifierMaterial:
    """What a verifier's head is fitted to and judged by."""

    examples: Examples
    vectors: Vectors


@dataclass(frozen=True, slots=True)
class Material:
    """What heads are fitted to and judged by."""

    takes: tuple[Take, ...]
    labels: tuple[str, ...]
    examples: Examples | Bags
    streams: Mapping[float | None, Sequence[Recording]]
    """The takes at each level."""
    own: Sequence[Recording]
    """What else the user recorded, in the order of `own_sounds`."""
    talk: Sequence[Recording]
    talk_hours: float
    embedding: SimulationSettings
    verifier: VerifierMaterial | None = None


def material_of(
    own: OwnRecordings,
    usable: Sequence[int],
    embedder: Embedder,
    settings: Settings,
    say: Say = lambda what, share: None,
    voices: Sequence[Take] = (),
) -> Material:
    """Embeddings of all that `fit` needs. See `learn`.

    The model's and the verifier's are computed beside each other.
    """
    network = verifier_network(settings.verifier)

    def of_model(say: Say) -> Material:
        return model_material(own, usable, embedder, settings, say, voices)

    if network is None or settings.unit == "utterance":  # a verifier hears 1.5 s
        return of_model(say)
    second = VerifierEmbedder(network)

    def of_verifier(say: Say) -> VerifierMaterial:
        return verifier_material(own, usable, second, settings, say, voices)

    material, verifier = beside(of_model, of_verifier, say, settings.threads or usable_cores())
    return replace(material, verifier=verifier)


def model_material(
    own: OwnRecordings,
    usable: Sequence[int],
    embedder: Embedder,
    settings: Settings,
    say: Say = lambda what, share: None,
    voices: Sequence[Take] = (),
) -> Material:
    """Embeddings of all that the model's head is fitted to; see `learn`."""
    embedding = stream_settings(embedder, settings.hop)
    labels = labels_of(own)
    talk = pack_talk(embedder, embedding, lambda share: say(PACK, 0.8 * share)).of(usable)
    around = surroundings()
    examples: Examples | Bags
    if settings.unit == "utterance":
        examples = gather_bags(own, usable, labels, embedder, embedding, settings, around, say)
    else:
        windows = pack_windows(embedder, lambda share: say(PACK, 0.8 + 0.2 * share)).of(usable)
        examples = gather(own, labels, embedder, settings, around, say, voices)
        examples = examples.with_pack(windows, labels)
    streams, others = own_streams(own, embedder, embedding, partial(say, TAKES))
    say(TAKES, 1.0)
    return Material(
        own.takes,
        labels,
        examples,
        streams,
        others,
        talk_recordings(talk, embedding),
        talk.hours,
        embedding,
    )


def verifier_material(
    own: OwnRecordings,
    usable: Sequence[int],
    embedder: VerifierEmbedder,
    settings: Settings,
    say: Say = lambda what, share: None,
    voices: Sequence[Take] = (),
) -> VerifierMaterial:
    """Vectors of all that a verifier's head is fitted to; see `learn`."""
    labels = labels_of(own)
    pack = pack_windows(embedder, partial(say, VERIFIER_PACK)).of(usable)

    def copies(what: str, share: float) -> None:
        say(VERIFIER_COPIES, share)

    examples = gather(own, labels, embedder, settings, surroundings(), copies, voices)
    say(VERIFIER_COPIES, 1.0)
    return VerifierMaterial(examples.with_pack(pack, labels), Vectors(embedder))


def labels_of(own: OwnRecordings) -> tuple[str, ...]:
    """The words, and what every model has beside them."""
    return (*own.words, UNKNOWN, BACKGROUND)


def own_streams(
    own: OwnRecordings,
    embedder: Embedder,
    embedding: SimulationSettings,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[dict[float | None, list[Recording]], list[Recording]]:
    """Takes at each level, and other recordings, through the daemon's stream."""
    folds = folds_of(own)
    noise = held_out_noise()

    def recordings(names: Sequence[str], sounds: Sequence[Audio], first: int) -> list[Recording]:
        scored = score_recordings(sounds, embedding, embedder.embed)
        return [
            Recording(name, ScoredTake.of(each, embedding), partial(_same, sound), int(fold))
            for name, each, sound, fold in zip(names, scored, sounds, folds[first:], strict=False)
        ]

    takes = {}
    for number, level in enumerate(LEVELS):
        progress(number / len(LEVELS))
        sounds = [placed(t.audio, noise, level, number) for number, t in enumerate(own.takes)]
        takes[level] = recordings([f"{t.word} {t.path} {level}" for t in own.takes], sounds, 0)
    others = own_sounds(own)
    names = [f"own {number}" for number in range(len(others))]
    quiet = [in_quiet(each.audio, number) for number, each in enumerate(others)]
    return takes, recordings(names, quiet, len(own.takes))


def _same(sound: Audio) -> Audio:
    return sound


def talk_recordings(talk: PackTalk, embedding: SimulationSettings) -> list[Recording]:
    """The pack's talk, to be judged by a head that did not learn from it.

    By the head of all examples where no head learned from it.
    """
    return [
        Recording(
            f"pack {number}",
            ScoredTake.of(each, embedding),
            partial(talk_sound, int(number)),
            -1 if held_out else int(number) % FOLDS,
        )
        for each, number, held_out in zip(talk.scores, talk.numbers, talk.held_out, strict=True)
    ]


def stream_settings(embedder: Embedder, hop: float) -> SimulationSettings:
    """The daemon's settings, with the dimensions of an embedding as labels."""
    names = tuple(f"e{number}" for number in range(embedder.size))
    return SimulationSettings(
        labels=names,
        non_intents=frozenset(names),
        unit="word",
        window=embedder.window,
        hop=hop,
        gate=GateSettings(),
    )


def folds_of(own: OwnRecordings) -> NDArray[np.int64]:
    """A fold for each take and each of `own_sounds`, shape (groups,).

    Those of each word are spread evenly.
    """
    seen: dict[str, int] = {}
    found = []
    for sound in (*own.takes, *own_sounds(own)):
        found.append(seen.get(sound.word, 0) % FOLDS)
        seen[sound.word] = seen.get(sound.word, 0) + 1
    return np.array(found, np.int64)
