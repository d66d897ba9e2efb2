"""A pool's claim: the file on the storage that says whose pool it is (safety.md H3). Used by every back-end's pools."""

import json
from dataclasses import dataclass

from drivers.errors import WrongPool
from drivers.storage.names import CLAIM

FORMAT_VERSION = 1
BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    uuid: str
    installation: str
    name: str
    """Of the object that claimed it, for messages."""


def encode(claim: Claim) -> bytes:
    """Padded to a block, so that it is written in one piece."""
    body = {"stratiform": FORMAT_VERSION, "pool": claim.uuid, "installation": claim.installation, "name": claim.name}
    return json.dumps(body, sort_keys=True).encode().ljust(BYTES, b" ")


def decode(content: bytes) -> Claim | None:
    """None when nothing is written yet. Raises WrongPool when it is not a claim that this version reads."""
    text = content.strip(b"\0 \n")
    if not text:
        return None
    try:
        body = json.loads(text)
        if body["stratiform"] != FORMAT_VERSION:
            raise WrongPool(f"the claim on the storage has format version {body['stratiform']}, which is unknown here")
        return Claim(uuid=str(body["pool"]), installation=str(body["installation"]), name=str(body.get("name", "")))
    except (ValueError, KeyError, TypeError) as error:
        raise WrongPool(f"the claim on the storage cannot be read ({error}); it is left alone") from error


def missing(wanted: Claim, where: str) -> WrongPool:
    """Of a pool that has been claimed: a new claim there would take an empty folder for its storage."""
    return WrongPool(
        f"{where} has no claim ({CLAIM}), which pool {wanted.uuid} ({wanted.name}) has had: it is another storage, or "
        "it was emptied. Give the pool the right address, or put back what was there. To begin anew with an empty one, "
        "delete this object and make another."
    )


def check(found: Claim, wanted: Claim, where: str) -> None:
    """Raises WrongPool unless both name the same pool. A rebuilt cluster takes a known pool by its UUID, so the
    installation does not decide here; whose the disks are, their own marks say."""
    if found.uuid != wanted.uuid:
        raise WrongPool(
            f"{where} is pool {found.uuid} ({found.name}, installation {found.installation}), not {wanted.uuid} "
            f"({wanted.name}): one export serves one StoragePool. Give this one another path, or set spec.uuid to "
            "attach the known pool again."
        )
