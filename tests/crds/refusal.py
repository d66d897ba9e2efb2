"""How a case of what the API server refuses is written, for the tables `refusals_of_…`, which test_refusals reads.

Each case is a sentence, the object's kind, the change that makes a good example bad, and a part of the message that a
person sees. The cases differ in the rule that they meet, not only in the value.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Refusal:
    sentence: str
    kind: str
    changes: dict[str, Any]
    message: str
    #: What the good object is given before it is changed; None: the bad one is created.
    before: dict[str, Any] | None = None


def bad(sentence: str, kind: str, message: str, **changes: Any) -> Refusal:
    return Refusal(sentence, kind, changes, message)


def changed(sentence: str, kind: str, message: str, *, before: dict[str, Any] | None = None, **changes: Any) -> Refusal:
    return Refusal(sentence, kind, changes, message, before or {})


ONLY_THEN = "must be set when {} is {}, and only then"
NEVER = "cannot be changed"
NEVER_LATER = "cannot be set, changed or removed later"
WHOLE = " must be a whole number of bytes, such as 512Mi, 20Gi, 1.5Gi or 500M"
IP = "must be an IP address in canonical form, such as 10.91.0.60 or 2001:db8::1"
GROWS = "a volume only grows"
UUID = "0b6c1d3e-1111-4222-8333-944455556666"
