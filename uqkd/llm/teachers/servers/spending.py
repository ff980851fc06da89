"""What was asked of a server and what it counted, as people are billed for it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Spent:
    """What a teacher behind a server has spent since it was opened.

    Attributes
    ----------
    requests : int
        Sent, with those that were sent again.
    retries : int
        Of these sent again.
    refused : int
        Not answered in the end.
    prompt_tokens, completion_tokens : int
        As the server counts them.
    uncounted : int
        Answers without a count.
    models : Counter
        Answers by the model that they name.

    Examples
    --------
    >>> print(Spent(requests=12, retries=1, prompt_tokens=3700, completion_tokens=1024))
    12 requests (1 retry, 0 not answered), 3,700 prompt tokens, 1,024 completion tokens
    """

    requests: int = 0
    retries: int = 0
    refused: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    uncounted: int = 0
    models: Counter[str] = field(default_factory=Counter)

    def note(self, answer: Any) -> int | None:
        """Take in one answer; return the tokens of prompt and completion together, None where the server does not count."""
        if model := getattr(answer, "model", None):
            self.models[str(model)] += 1
        usage = getattr(answer, "usage", None)
        counts = [getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
        prompt, completion = (count if isinstance(count, int) else None for count in counts)
        if prompt is None or completion is None:
            self.uncounted += 1
            return None
        self.prompt_tokens += prompt
        self.completion_tokens += completion
        return prompt + completion

    def __str__(self) -> str:
        """One line for people."""
        retries = f"{self.retries:,} {'retry' if self.retries == 1 else 'retries'}"
        line = (
            f"{self.requests:,} requests ({retries}, {self.refused:,} not answered), {self.prompt_tokens:,} prompt tokens, "
            f"{self.completion_tokens:,} completion tokens"
        )
        if self.uncounted:
            line += f"; {self.uncounted:,} answers came without a count of tokens"
        if len(self.models) > 1:
            named = ", ".join(f"{name!r} ({count:,})" for name, count in self.models.most_common())
            line += f"; the answers name {len(self.models)} models: {named}"
        return line
