"""How often two revisions decided the same under each context, where there are several. No numpy here."""

from __future__ import annotations

from collections import Counter
from typing import Final

from nodeagent.protocol import ContextAgreement

CONTEXTS_MAX: Final = 16
COUNTED_MAX: Final = 256


class Agreements:
    """Counts by context; beyond COUNTED_MAX contexts new ones are not told apart, and so none is listed for them."""

    def __init__(self) -> None:
        self._decided: Counter[str] = Counter()
        self._agreed: Counter[str] = Counter()

    def add(self, context: str, *, same: bool) -> None:
        """One decision of both."""
        if context in self._decided or len(self._decided) < COUNTED_MAX:
            self._decided[context] += 1
            self._agreed[context] += same

    def told(self) -> list[ContextAgreement]:
        """Those with most decisions first; none where there is one context alone: it says what the whole says."""
        if len(self._decided) < 2:
            return []
        return [
            ContextAgreement(context=context, decided=decided, agreed=self._agreed[context])
            for context, decided in self._decided.most_common(CONTEXTS_MAX)
        ]
