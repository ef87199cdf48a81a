"""The labels of a model, in the order of its scores."""

from __future__ import annotations

from daemon.base.errors import UserError
from daemon.model.description.fields import Fields

MOST = 10_000
LONGEST = 256


def read_labels(config: Fields) -> tuple[str, ...]:
    """Labels from `id2label`, else LABEL_0 … as transformers names them.

    `id2label` is {"0": "up", …}.

    Raises:
        UserError: the list is incomplete, or names are not distinct or not printable; each label
            must stand for one score, and thresholds go by name.
    """
    if not config.has("id2label"):
        count = config.integer("num_labels", 2, 2, MOST)
        return tuple(f"LABEL_{n}" for n in range(count))
    table = config.child("id2label", MOST)
    labels = []
    for n in range(len(table.table)):
        label = table.table.get(str(n))
        if not isinstance(label, str) or not 1 <= len(label) <= LONGEST:
            raise table.refuse(str(n), f"a label of 1 to {LONGEST} characters")
        labels.append(label)
    if len(labels) < 2:
        raise config.refuse("id2label", "a table of at least two labels to choose from")
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise UserError(f"{config.file}: id2label has the label {twice!r:.60} twice; rename one")
    return tuple(labels)
