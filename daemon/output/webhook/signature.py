"""Signature of a webhook's message, as Standard Webhooks 1.0 has it. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac


def signing_key(secret: str) -> bytes:
    """Signing key of a secret: base64 behind "whsec_", else its own text.

    Raises: ValueError.
    """
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ValueError("what follows whsec_ is no base64") from None


def signature(key: bytes, identifier: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`."""
    signed = f"{identifier}.{timestamp}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
