"""The verifier of a model, read from its folder without loading it.

    verifier/verifier.json      what is read here
    verifier/head.safetensors   weight (labels, width) and bias (labels,) of the linear layer
    verifier/network.onnx       the network, where it is not the one that comes with intentd

verifier.json:

    {"version": 1, "labels": ["up", …], "network": "bundled", "sha256": "…",
     "verification": {"candidate": 0.1, "smoothed_weight": 0.6, "verifier_weight": 0.9,
                      "bias": -0.2, "asks": 4},
     "thresholds": {"up": 0.9}, "rolling_windows": 2, "measured": {…}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from daemon.base.errors import UserError
from daemon.base.text_files import write_text
from daemon.decide.verification import Verification
from daemon.model.description.fields import Fields, read_json
from daemon.model.description.files import inside

FOLDER: Final = "verifier"
DESCRIPTION: Final = "verifier.json"
HEAD: Final = "head.safetensors"
NETWORK: Final = "network.onnx"
BUNDLED: Final = "bundled"
VERSION: Final = 1
_MAX_BYTES: Final = 4 << 20
_KEYS: Final = (
    *("version", "labels", "network", "sha256"),
    *("verification", "thresholds", "rolling_windows", "measured"),
)


@dataclass(frozen=True, slots=True)
class VerifierInfo:
    """A verifier, described."""

    directory: Path
    labels: tuple[str, ...]
    """In the order of its linear layer's outputs."""
    network: Path
    """The ONNX file."""
    sha256: str
    """Of the network that the linear layer was trained on, in hexadecimal."""
    verification: Verification
    thresholds: Mapping[str, float]
    """Label to the verified score, 0 to 1, at which it is an event."""
    rolling_windows: int | None = None
    """Windows that the model's posteriors are smoothed over with it; None: as without it."""
    measured: Mapping[str, Any] = field(default_factory=dict)
    """How good it was and on what; free, for people and reports."""

    def to_dict(self) -> dict[str, Any]:
        """The content of verifier.json."""
        own = self.network.parent == self.directory
        windows = self.rolling_windows
        return {
            "version": VERSION,
            "labels": list(self.labels),
            "network": NETWORK if own else BUNDLED,
            "sha256": self.sha256,
            "verification": asdict(self.verification),
            "thresholds": dict(self.thresholds),
            **({} if windows is None else {"rolling_windows": windows}),
            "measured": dict(self.measured),
        }


def bundled_network() -> Path:
    """Path of the network that comes with intentd, installed or not."""
    return Path(str(files("daemon") / "bundled" / "word_embedding" / NETWORK))


def find_verifier(
    directory: Path, setting: str, labels: Sequence[str], unit: str = "word"
) -> VerifierInfo | None:
    """Verifier of the model in `directory` with `labels`, or None.

    None: it has none.

    `setting`: `model.verifier`, which is "auto", "off" or a verifier's folder.

    Raises:
        UserError: there is no such folder, it is damaged, or does not fit the model.
    """
    if setting == "off":
        return None
    folder = directory / FOLDER if setting == "auto" else Path(setting).expanduser()
    if setting == "auto" and not folder.is_dir():
        return None
    found = read_verifier(folder)
    missing = [label for label in labels if label not in found.labels]
    if missing or len(labels) != len(found.labels):
        raise UserError(
            f"the verifier {folder} knows the labels {', '.join(found.labels)}, and the model "
            f"{directory} others; train it for this model, or set model.verifier to "
            '"off"'
        )
    if unit != "word":
        raise UserError(
            f"the verifier {folder} hears 1.5 s, and the model {directory} knows whole utterances; "
            'set model.verifier = "off"'
        )
    return found


def read_verifier(folder: Path) -> VerifierInfo:
    """Describe the verifier in `folder`.

    Raises:
        UserError: it is no verifier's folder, or something in it has a value it can't have.
    """
    path = inside(folder, DESCRIPTION)
    if path is None or inside(folder, HEAD) is None:
        raise UserError(
            f"{folder} is no verifier, which has {DESCRIPTION} and {HEAD}; name another folder "
            'with model.verifier, or set it to "off"'
        )
    table = Fields(path, read_json(path, _MAX_BYTES))
    version = table.table.get("version")
    if version != VERSION:
        raise UserError(
            f"{path}: version is {version!r:.40} and this intentd reads {VERSION}; bring intentd "
            "up to date, or train the verifier with this one"
        )
    for key in table.table:
        if key not in _KEYS:
            raise table.refuse(key, f"absent (a verifier has {', '.join(_KEYS)})")
    labels = table.strings("labels", 10_000)
    if len(set(labels)) < max(2, len(labels)):
        raise table.refuse("labels", "a list of at least two different labels")
    thresholds = table.child("thresholds").numbers(0.0, 1.0)
    for label in thresholds:
        if label not in labels:
            raise UserError(f"{path}: thresholds names {label!r:.60}, which is no label")
    return VerifierInfo(
        directory=folder,
        labels=labels,
        network=_network(table, folder),
        sha256=table.text("sha256", ""),
        verification=_verification(table.child("verification")),
        thresholds=thresholds,
        rolling_windows=table.integer("rolling_windows", 0, 1, 100) or None,
        measured=dict(table.child("measured").table),
    )


def _network(table: Fields, folder: Path) -> Path:
    where = table.choice("network", BUNDLED, (BUNDLED, NETWORK))
    if where == NETWORK:
        own = inside(folder, NETWORK)
        if own is None:
            raise UserError(f"the verifier {folder} lacks {NETWORK}; copy the model again")
        return own
    network = bundled_network()
    if not network.is_file():
        raise UserError(
            f"the verifier {folder} needs the network that comes with intentd, which this "
            'installation lacks; install intentd again, or set model.verifier = "off"'
        )
    return network


def _verification(table: Fields) -> Verification:
    default = Verification()

    def number(key: str, low: float, high: float) -> float:
        found = table.number(key, getattr(default, key), low, high)
        assert found is not None
        return found

    return Verification(
        candidate=number("candidate", 0.001, 1.0),
        smoothed_weight=number("smoothed_weight", 0.0, 100.0),
        verifier_weight=number("verifier_weight", 0.0, 100.0),
        bias=number("bias", -1000.0, 1000.0),
        asks=table.integer("asks", default.asks, 1, 100),
    )


def write_description(info: VerifierInfo) -> None:
    """Write verifier.json into the verifier's folder."""
    text = json.dumps(info.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(info.directory / DESCRIPTION, text + "\n")
