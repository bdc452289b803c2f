"""Validates objects of Kubernetes without a cluster."""

from functools import cache
from typing import Any, Final

import jsonschema
import kubernetes_validate
from kubernetes_validate import utils

from deploy.custom_resources import SCHEMAS

OLDEST: Final = "1.29"  # kubeVersion of the chart
NEWEST: Final = "1.37"
# Otherwise each call parses megabytes of definitions again.
utils.schema_contents = cache(utils.schema_contents)


def problems(resource: dict[str, Any]) -> list[str]:
    """Returns what is wrong with an object: unknown fields, wrong types, missing fields."""
    kind = resource.get("kind", "")
    if kind in SCHEMAS:
        validator = jsonschema.Draft202012Validator(SCHEMAS[kind])
        return [
            f"{kind} {each.json_path}: {each.message}" for each in validator.iter_errors(resource)
        ]
    wrong = []
    for version in (OLDEST, NEWEST):
        try:
            kubernetes_validate.validate(resource, version, strict=True)
        except (
            kubernetes_validate.ValidationError,
            kubernetes_validate.InvalidSchemaError,
            kubernetes_validate.SchemaNotFoundError,
        ) as error:
            wrong.append(f"{kind} in {version}: {error}")
    return wrong


def restricted_problems(pod: dict[str, Any]) -> list[str]:
    """Returns why a pod does not meet the level `restricted` of Kubernetes' pod security standards."""
    security, wrong = pod.get("securityContext", {}), []
    if not (security.get("runAsNonRoot") and security.get("runAsUser")):
        wrong.append("it may run as root")
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        wrong.append("it has no seccomp profile")
    if any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
        wrong.append("it shares a namespace of its host")
    allowed = {"name", "emptyDir", "configMap", "secret", "projected", "persistentVolumeClaim"}
    wrong += [f"volume {each}" for each in pod.get("volumes", []) if not each.keys() <= allowed]
    for container in pod["containers"]:
        context = container.get("securityContext", {})
        if context.get("allowPrivilegeEscalation") is not False:
            wrong.append(f"{container['name']} may gain privileges")
        if context.get("capabilities", {}).get("drop") != ["ALL"]:
            wrong.append(f"{container['name']} keeps capabilities")
        if context.get("readOnlyRootFilesystem") is not True:
            wrong.append(f"{container['name']} may write its root file system")
    return wrong
