"""The interface of a backend, which runs a network."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Backend(Protocol):
    """A network, ready to run on one kind of runtime and device."""

    name: str
    """As people read it, such as "torch fp32 cpu"."""

    def run(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network: inputs, shape (n, …), to float32 logits, (n, labels).

        A row's result must not depend on the others beyond rounding (about 1e-5). Called from one
        thread at a time, unless it was opened for a `Job` with `parallel` batches.
        """
