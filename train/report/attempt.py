"""Makes a picture, table or card such that its failure costs nothing else."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from daemon.base.program import debugging
from daemon.base.resources import disk_full, out_of_memory


def attempt(what: str, action: Callable[[], None], say: Callable[[str], None]) -> bool:
    """Run `action` and return whether it succeeded.

    If not, `say` is called with a sentence about `what`.
    """
    try:
        action()
    except BrokenPipeError:  # nobody reads what is shown
        raise
    except Exception as error:
        if debugging():
            traceback.print_exc()
        lines = str(error).splitlines() or [""]
        reason = f"{type(error).__name__}: {lines[0]}"
        if disk_full(error):
            reason = "no space is left on the disk"
        elif out_of_memory(error):
            reason = "no memory is left"
        say(f"{what} could not be made ({reason}) and is left out")
        return False
    return True
