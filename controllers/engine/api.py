"""Requests that kinds may make besides writing their own object's status: `controllers.engine.base.Api` for real."""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

from controllers.engine.base import ApiError, Conflict, Refused
from controllers.engine.client import Client, crd_path, path_of
from controllers.engine.turns import forbid_when_paused
from crds.base import ALLOW_DELETION, API_VERSION, CREDENTIAL, Kind


class KindApi:
    """Every write is refused (NotLeader) unless the Lease is safely ours, and (Paused) in a paused object's turn."""

    def __init__(
        self,
        client: Client,
        kinds: Mapping[str, Kind],
        namespace: str,
        remember: Callable[[str, dict[str, Any]], object],
    ) -> None:
        """`remember` gets each answer that shows an object of our kinds, so that the cache has it at once."""
        self._client = client
        self._kinds = kinds
        self._namespace = namespace
        self._remember = remember

    async def create(self, kind: str, namespace: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """None when one of that name exists already. `apiVersion` and `kind` are filled in."""
        forbid_when_paused()
        document = {"apiVersion": API_VERSION, "kind": kind, **body}
        try:
            answer = await self._client.post(path_of(self._kinds[kind], namespace), document, kind=kind)
        except ApiError as error:
            if error.status == 409 and error.reason == "AlreadyExists":
                return None
            raise
        self._remember(kind, answer)
        return answer

    async def get_live(self, kind: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        """The object as the API server has it now; None when it is not there. The cache learns it too."""
        answer = await self._get(path_of(self._kinds[kind], namespace, name), kind)
        if answer is not None:
            self._remember(kind, answer)
        return answer

    async def delete(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """Ask for its deletion. Absent: fine. Raises Conflict when another one has its name by now: the caller decided
        by a cache that is behind, which learns it here."""
        forbid_when_paused()
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        try:
            await self._client.delete(path_of(self._kinds[kind], namespace, name), body, kind=kind)
        except ApiError as error:
            if error.status == 409 and await self.get_live(kind, namespace, name) is not None:
                raise Conflict(str(error)) from None
            if error.status != 409 and error.reason != "NotFound":
                raise

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """Decoded data of a Secret, read live; None if absent. Raises Refused CredentialNotLabelled."""
        answer = await self._get(f"/api/v1/namespaces/{namespace}/secrets/{name}", "Secret")
        if answer is None:
            return None
        labels = answer["metadata"].get("labels") or {}
        if namespace == self._namespace and labels.get(CREDENTIAL) != "true":
            raise Refused(
                "CredentialNotLabelled",
                f'Secret {namespace}/{name} does not carry the label {CREDENTIAL}: "true", so it is not read: '
                f"kubectl -n {namespace} label secret {name} {CREDENTIAL}=true",
            )
        try:
            return {key: base64.b64decode(value) for key, value in (answer.get("data") or {}).items()}
        except binascii.Error:
            raise Refused("CredentialUnreadable", f"Secret {namespace}/{name}: its data is no base64") from None

    async def crd_going(self, kind: str) -> bool:
        """Whether the kind's CRD has a deletionTimestamp, or is gone already, read live (N4)."""
        crd = await self._crd(kind)
        return crd is None or bool(crd["metadata"].get("deletionTimestamp"))

    async def crd_orphans(self, kind: str) -> bool:
        """Whether the CRD's allow-deletion annotation has the value `orphan`, read live (N4)."""
        crd = await self._crd(kind)
        return crd is not None and (crd["metadata"].get("annotations") or {}).get(ALLOW_DELETION) == "orphan"

    async def read(self, path: str, kind: str) -> Mapping[str, Any] | None:
        """Whatever is at that path, read live; None if absent."""
        return await self._get(path, kind)

    async def create_at(self, path: str, body: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
        """Create what is not of our kinds in the collection at that path; None when it exists already."""
        forbid_when_paused()
        try:
            return await self._client.post(path, body, kind=kind)
        except ApiError as error:
            if error.status == 409 and error.reason == "AlreadyExists":
                return None
            raise

    async def merge_patch(self, path: str, body: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
        """A merge patch of anything that is not one of our kinds."""
        forbid_when_paused()
        return await self._client.patch(path, body, kind=kind)

    async def _crd(self, kind: str) -> dict[str, Any] | None:
        return await self._get(crd_path(self._kinds[kind]), "CustomResourceDefinition")

    async def _get(self, path: str, kind: str) -> dict[str, Any] | None:
        try:
            return await self._client.get(path, kind=kind)
        except ApiError as error:
            if error.reason == "NotFound":
                return None
            raise
