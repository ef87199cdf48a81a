"""One thread for numpy's matrix products."""

from __future__ import annotations

from pathlib import Path

from threadpoolctl import ThreadpoolController


def one_thread() -> None:
    """Limit numpy's linear algebra to one thread; torch's is left alone.

    The gate's products take microseconds. OpenBLAS shares them among all cores, whose threads then
    spin for the next: ten streams took 1.17 cores instead of 0.18.
    """
    for library in ThreadpoolController().lib_controllers:
        if any(part.startswith("numpy") for part in Path(library.filepath).parts):
            library.set_num_threads(1)
