"""What a trial of `intentd check` finds."""

from __future__ import annotations

Outcome = tuple[bool, str, str]
"""Whether it worked, what was found, and what to do; that is empty if nothing needs to be done."""
