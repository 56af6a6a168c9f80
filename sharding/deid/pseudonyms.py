"""Source ids → pseudonyms: truncated, salted HMACs.

In: ids as the source writes them, the salt of the private folder. Out: hexadecimal names. Who may turn them back:
`private_folder`.
"""

from __future__ import annotations

import hashlib
import hmac

KEY_LENGTHS = {"image": 24, "study": 16, "patient": 16}


def pseudonym(salt: bytes, kind: str, source: str) -> str:
    """HMAC-SHA256 of a source id, truncated, hexadecimal; the same id and salt give the same pseudonym."""
    digest = hmac.new(salt, f"{kind}\0{source}".encode(), hashlib.sha256).hexdigest()
    return digest[: KEY_LENGTHS[kind]]
