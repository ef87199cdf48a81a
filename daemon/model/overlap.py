"""Frames that a window shares with the previous one.

If the convolutional encoder normalises each frame by itself (`feat_extract_norm` is "layer") and
the window as a whole is not normalised, a frame depends only on the samples under it. Windows a
whole number of frames apart then share all but their last frames.
"""

from __future__ import annotations

from dataclasses import dataclass

from daemon.model.description.info import ModelInfo


@dataclass(frozen=True, slots=True)
class Overlap:
    """Frame grid of windows of `window` samples, `hop` apart."""

    window: int
    hop: int
    frames: int
    """Of a window."""
    fresh: int
    """Frames at a window's end that the previous window lacks."""
    tail: slice
    """Samples of a window that its fresh frames are computed from."""

    @property
    def shared(self) -> int:
        """Frames that a window has in common with the one before it."""
        return self.frames - self.fresh

    @classmethod
    def of(cls, info: ModelInfo, window: int, hop: int) -> Overlap | None:
        """For the model in `info`; None where frames can't be used again."""
        shape = info.architecture
        if not shape.per_frame or info.extractor.normalize or not shape.stride or not hop:
            return None
        frames, fresh = shape.frames(window), hop // shape.stride
        if hop % shape.stride or fresh >= frames:
            return None
        field = shape.shortest  # the samples under one frame
        start = (frames - fresh) * shape.stride
        return cls(
            window, hop, frames, fresh, slice(start, start + (fresh - 1) * shape.stride + field)
        )
