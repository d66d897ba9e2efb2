"""ValidatingAdmissionPolicies with their bindings: what a schema cannot refuse. Written by `python -m crds`.

A policy takes effect a moment after it is made: whoever installs them waits until a dry-run delete of one of our CRDs
is refused.
"""

from dataclasses import dataclass
from typing import Any

from crds.base import ADOPT, ALLOW_DELETION, GROUP, IGNORE_ORPHAN, PROTECTED, SYSTEM_NAMESPACE, VERSION

Manifest = dict[str, Any]


@dataclass(frozen=True)
class _Match:
    group: str
    version: str
    resources: tuple[str, ...]
    operations: tuple[str, ...]
    scope: str

    def as_rules(self) -> Manifest:
        return {
            "resourceRules": [
                {
                    "apiGroups": [self.group],
                    "apiVersions": [self.version],
                    "resources": list(self.resources),
                    "operations": list(self.operations),
                    "scope": self.scope,
                }
            ]
        }


def _policy(
    name: str,
    match: _Match,
    expression: str,
    message: str,
    *,
    message_expression: str = "",
    reason: str = "Forbidden",
    conditions: tuple[tuple[str, str], ...] = (),
    variables: tuple[tuple[str, str], ...] = (),
) -> list[Manifest]:
    full = f"{name}.{GROUP}"
    validation = {"expression": expression, "message": message, "reason": reason}
    if message_expression:
        validation["messageExpression"] = message_expression
    spec: Manifest = {"failurePolicy": "Fail", "matchConstraints": match.as_rules(), "validations": [validation]}
    if conditions:
        spec["matchConditions"] = [{"name": key, "expression": value} for key, value in conditions]
    if variables:
        spec["variables"] = [{"name": key, "expression": value} for key, value in variables]
    api = "admissionregistration.k8s.io/v1"
    metadata = {"name": full, "labels": {"app.kubernetes.io/part-of": "stratiform"}}
    return [
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": metadata, "spec": spec},
        {
            "apiVersion": api,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": metadata,
            "spec": {"policyName": full, "validationActions": ["Deny"]},
        },
    ]


def policies(namespace: str = SYSTEM_NAMESPACE) -> list[Manifest]:
    """All policies and bindings; `namespace` is the operator's, whose right on namespaces one of them confines."""
    return [
        *_deletion_protection(),
        *_crd_guard(),
        *_namespace_protection(),
        *_namespace_label_only(namespace),
        *_pin(),
        *_adopt(),
    ]


def _deletion_protection() -> list[Manifest]:
    return _policy(
        "deletion-protection",
        _Match(GROUP, VERSION, ("instances",), ("DELETE",), "Namespaced"),
        "!has(oldObject.spec.deletionProtection) || !oldObject.spec.deletionProtection",
        "spec.deletionProtection is true: set it to false before deleting the instance",
        message_expression=(
            "'Instance ' + oldObject.metadata.namespace + '/' + oldObject.metadata.name + ' is protected: set "
            "spec.deletionProtection to false before deleting it'"
        ),
    )


def _crd_guard() -> list[Manifest]:
    annotation = f"'{ALLOW_DELETION}'"
    return _policy(
        "crd-guard",
        _Match("apiextensions.k8s.io", "v1", ("customresourcedefinitions",), ("DELETE",), "Cluster"),
        f"has(oldObject.metadata.annotations) && {annotation} in oldObject.metadata.annotations && "
        f"oldObject.metadata.annotations[{annotation}] in ['true', 'orphan']",
        "deleting this CRD deletes every object of its kind, past deletionProtection, and with them what they stand "
        "for: "
        f'annotate it {ALLOW_DELETION}: "true" if that is meant, or "orphan" to leave machines and disks as they are',
        conditions=(("ours", f"oldObject.spec.group == '{GROUP}'"),),
    )


def _namespace_protection() -> list[Manifest]:
    return _policy(
        "namespace-protection",
        _Match("", "v1", ("namespaces",), ("DELETE",), "Cluster"),
        "false",
        f"the namespace holds instances with spec.deletionProtection: true (label {PROTECTED}), and deleting it would "
        "take the others first: set deletionProtection to false on them; the label goes by itself",
        conditions=(("labelled", f"has(oldObject.metadata.labels) && '{PROTECTED}' in oldObject.metadata.labels"),),
    )


def _namespace_label_only(namespace: str) -> list[Manifest]:
    def same(one: str, other: str) -> str:
        return (
            f"variables.{one}.all(k, k == '{PROTECTED}' || (k in variables.{other} && variables.{one}[k] == "
            f"variables.{other}[k]))"
        )

    return _policy(
        "namespace-label-only",
        _Match("", "v1", ("namespaces",), ("UPDATE",), "Cluster"),
        f"{same('labels', 'oldLabels')} && {same('oldLabels', 'labels')} && "
        "variables.annotations == variables.oldAnnotations",
        f"Stratiform's operator may change nothing of a namespace but the label {PROTECTED}",
        conditions=(("operator", f"'system:serviceaccounts:{namespace}' in request.userInfo.groups"),),
        variables=(
            ("labels", "has(object.metadata.labels) ? object.metadata.labels : {}"),
            ("oldLabels", "has(oldObject.metadata.labels) ? oldObject.metadata.labels : {}"),
            ("annotations", "has(object.metadata.annotations) ? object.metadata.annotations : {}"),
            ("oldAnnotations", "has(oldObject.metadata.annotations) ? oldObject.metadata.annotations : {}"),
        ),
    )


def _pin() -> list[Manifest]:
    def host(which: str) -> str:
        return (
            f"has({which}.spec.placement) && has({which}.spec.placement.hostRef) ? "
            f"{which}.spec.placement.hostRef.name : ''"
        )

    def ignoring(which: str) -> str:
        return (
            f"has({which}.spec.placement) && has({which}.spec.placement.ignoreAllocationState) && "
            f"{which}.spec.placement.ignoreAllocationState"
        )

    return _policy(
        "pin",
        _Match(GROUP, VERSION, ("instances",), ("CREATE", "UPDATE"), "Namespaced"),
        "variables.same || " + _allowed("resource('instances')", "pin"),
        "spec.placement.hostRef and ignoreAllocationState may be set and changed only by who has the verb pin on "
        "instances of stratiform.dev in this namespace: leave them as they are, or ask an administrator for it",
        variables=(
            ("host", host("object")),
            ("oldHost", f"oldObject == null ? '' : ({host('oldObject')})"),
            ("ignoring", ignoring("object")),
            ("oldIgnoring", f"oldObject == null ? false : ({ignoring('oldObject')})"),
            ("same", "variables.host == variables.oldHost && variables.ignoring == variables.oldIgnoring"),
        ),
    )


def _adopt() -> list[Manifest]:
    def annotation(which: str, key: str) -> str:
        return (
            f"has({which}.metadata.annotations) && '{key}' in {which}.metadata.annotations ? "
            f"{which}.metadata.annotations['{key}'] : ''"
        )

    return _policy(
        "adopt",
        _Match(GROUP, VERSION, ("instances", "volumes", "snapshots"), ("CREATE", "UPDATE"), "Namespaced"),
        "variables.harmless || " + _allowed("resource(request.resource.resource)", "adopt"),
        f"{IGNORE_ORPHAN}, and {ADOPT} with the name of another object (<namespace>/<name>/<uuid>), may be set only by "
        "who has the verb adopt on this resource of stratiform.dev in this namespace; an orphan of the object's own "
        f"name is adopted with {ADOPT}: <uuid>",
        variables=(
            ("adopt", annotation("object", ADOPT)),
            ("oldAdopt", f"oldObject == null ? '' : ({annotation('oldObject', ADOPT)})"),
            ("ignore", annotation("object", IGNORE_ORPHAN)),
            ("oldIgnore", f"oldObject == null ? '' : ({annotation('oldObject', IGNORE_ORPHAN)})"),
            (
                "harmless",
                (
                    "(variables.adopt == variables.oldAdopt || !variables.adopt.contains('/')) && "
                    "(variables.ignore == variables.oldIgnore || variables.ignore == '')"
                ),
            ),
        ),
    )


def _allowed(resource: str, verb: str) -> str:
    return (
        f"authorizer.group('{GROUP}').{resource}.namespace(request.namespace).name(request.name)"
        f".check('{verb}').allowed()"
    )
