"""Schemas of the custom resources that the chart makes, written from the documentation of their fields.

kubernetes-validate knows Kubernetes' own kinds alone. A field that is not listed here is an error: look it up first.
"""

from typing import Any, Final

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string", "minLength": 1}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
TEXTS: Final[Schema] = {"type": "object", "additionalProperties": {"type": "string"}}
PORT: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": 65535}


def fields(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    """Returns the schema of an object with these fields alone."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def list_of(item: Schema, least: int = 0) -> Schema:
    """Returns the schema of a list."""
    return {"type": "array", "items": item, "minItems": least}


def resource(version: str, kind: str, spec: Schema) -> Schema:
    """Returns the schema of a resource."""
    metadata = fields(
        {"name": {"type": "string", "pattern": r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}},
        {"namespace": TEXT, "labels": TEXTS, "annotations": TEXTS},
    )
    return fields(
        {
            "apiVersion": {"const": version},
            "kind": {"const": kind},
            "metadata": metadata,
            "spec": spec,
        }
    )


# ── KEDA 2.19 ────────────────────────────────────────────────────────────────
POLICIES: Final = fields(
    {
        "policies": list_of(
            fields(
                {
                    "type": {"enum": ["Pods", "Percent"]},
                    "value": {"type": "integer", "minimum": 1},
                    "periodSeconds": {"type": "integer", "minimum": 1, "maximum": 1800},
                }
            ),
            least=1,
        )
    },
    {
        "selectPolicy": {"enum": ["Max", "Min", "Disabled"]},
        "stabilizationWindowSeconds": {"type": "integer", "minimum": 0, "maximum": 3600},
    },
)
# KEDA reads all metadata as text. Other triggers have other fields.
METRICS_API: Final = fields(
    {
        "url": TEXT,
        "valueLocation": TEXT,
        "targetValue": {"type": "string", "pattern": r"^[0-9.]+$"},
    },
    {
        "activationTargetValue": {"type": "string", "pattern": r"^[0-9.]+$"},
        "authMode": {"enum": ["apiKey", "basic", "tls", "bearer", "custom"]},
        "unsafeSsl": {"enum": ["true", "false"]},
        "timeout": TEXT,
    },
)
TRIGGER: Final = fields(
    {
        "type": {"const": "metrics-api"},
        "metricType": {"enum": ["AverageValue", "Value"]},
        "metadata": METRICS_API,
    },
    {"name": TEXT, "authenticationRef": fields({"name": TEXT}, {"kind": TEXT})},
)
SCALED_OBJECT: Final = resource(
    "keda.sh/v1alpha1",
    "ScaledObject",
    fields(
        {
            "scaleTargetRef": fields({"name": TEXT}, {"apiVersion": TEXT, "kind": TEXT}),
            "triggers": list_of(TRIGGER, least=1),
        },
        {
            "minReplicaCount": COUNT,
            "maxReplicaCount": {"type": "integer", "minimum": 1},
            "idleReplicaCount": COUNT,
            "pollingInterval": {"type": "integer", "minimum": 1},
            "cooldownPeriod": COUNT,
            "initialCooldownPeriod": COUNT,
            "fallback": fields(
                {"failureThreshold": COUNT, "replicas": COUNT},
                {
                    "behavior": {
                        "enum": [
                            "static",
                            "currentReplicas",
                            "currentReplicasIfHigher",
                            "currentReplicasIfLower",
                        ]
                    }
                },
            ),
            "advanced": fields(
                {},
                {
                    "restoreToOriginalReplicaCount": {"type": "boolean"},
                    "horizontalPodAutoscalerConfig": fields(
                        {},
                        {
                            "name": TEXT,
                            "behavior": fields({}, {"scaleUp": POLICIES, "scaleDown": POLICIES}),
                        },
                    ),
                },
            ),
        },
    ),
)

# ── The Prometheus operator ──────────────────────────────────────────────────
SELECTOR: Final = fields({"matchLabels": {**TEXTS, "minProperties": 1}})
AUTHORIZATION: Final = fields(
    {"type": TEXT, "credentials": fields({"name": TEXT, "key": TEXT}, {"optional": {}})}
)
ENDPOINT: Final = fields(
    {"port": TEXT},
    {
        "authorization": AUTHORIZATION,
        "path": {"type": "string", "pattern": "^/"},
        "interval": {"type": "string", "pattern": r"^\d+s$"},
    },
)
SERVICE_MONITOR: Final = resource(
    "monitoring.coreos.com/v1",
    "ServiceMonitor",
    fields({"selector": SELECTOR, "endpoints": list_of(ENDPOINT, least=1)}),
)
POD_MONITOR: Final = resource(
    "monitoring.coreos.com/v1",
    "PodMonitor",
    fields({"selector": SELECTOR, "podMetricsEndpoints": list_of(ENDPOINT, least=1)}),
)
PROMETHEUS_RULE: Final = resource(
    "monitoring.coreos.com/v1",
    "PrometheusRule",
    fields(
        {
            "groups": list_of(
                fields(
                    {
                        "name": TEXT,
                        "rules": list_of(
                            fields(
                                {"alert": TEXT, "expr": TEXT},
                                {
                                    "for": {"type": "string", "pattern": r"^\d+[smh]$"},
                                    "labels": TEXTS,
                                    "annotations": TEXTS,
                                },
                            ),
                            least=1,
                        ),
                    }
                ),
                least=1,
            )
        }
    ),
)

# ── The Gateway API ──────────────────────────────────────────────────────────
HTTP_ROUTE: Final = resource(
    "gateway.networking.k8s.io/v1",
    "HTTPRoute",
    fields(
        {
            "parentRefs": list_of(fields({"name": TEXT}, {"namespace": TEXT}), least=1),
            "rules": list_of(
                fields(
                    {"backendRefs": list_of(fields({"name": TEXT, "port": PORT}), least=1)},
                    {
                        "matches": list_of(
                            fields(
                                {
                                    "path": fields(
                                        {
                                            "type": {"enum": ["Exact", "PathPrefix"]},
                                            "value": {"type": "string", "pattern": "^/"},
                                        }
                                    )
                                }
                            )
                        ),
                        "timeouts": fields(
                            {}, {"request": {"type": "string", "pattern": r"^\d+(ms|s|m|h)$"}}
                        ),
                    },
                ),
                least=1,
            ),
        },
        {"hostnames": list_of(TEXT)},
    ),
)

SCHEMAS: Final[dict[str, Schema]] = {
    schema["properties"]["kind"]["const"]: schema
    for schema in (SCALED_OBJECT, SERVICE_MONITOR, POD_MONITOR, PROMETHEUS_RULE, HTTP_ROUTE)
}
