"""The prediction endpoints in OpenAPI: the framework does not know them, since they bypass it."""

from typing import Any

BINARY = {"type": "string", "format": "binary"}
ERROR = {
    "description": "What was wrong, and what was expected",
    "content": {
        "application/json": {
            "schema": {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
        }
    },
}
ROW = {
    "type": "object",
    "required": ["values"],
    "properties": {
        "keys": {
            "type": "array",
            "items": {"type": "string"},
            "description": "feature names in any order; without them the values are positional",
        },
        "values": {
            "type": "array",
            "items": {
                "anyOf": [
                    {"type": "number"},
                    {"type": "null"},
                    {"type": "array", "items": {"anyOf": [{"type": "number"}, {"type": "null"}]}},
                ]
            },
            "description": "a number for each key, a list for a jagged feature, null for a missing value",
        },
        "model": {"type": "string", "description": "name, name:3 or name@alias; empty for the default model"},
    },
}
BODIES: dict[str, tuple[str, dict[str, Any], str, dict[str, Any], str]] = {
    "json": (
        "application/json",
        ROW,
        "application/json",
        {"type": "array", "items": {"type": "number"}},
        "Predict one event; answers the model's outputs",
    ),
    "proto": (
        "application/octet-stream",
        BINARY,
        "application/octet-stream",
        BINARY,
        "Predict one event, tfaaspb.Row to tfaaspb.Predictions",
    ),
}


def describe_predictions(schema: dict[str, Any], base_path: str, prefixes: tuple[str, ...]) -> dict[str, Any]:
    """The schema with the prediction endpoints added."""
    for name, (request_type, request, response_type, response, summary) in BODIES.items():
        operation = {
            "tags": ["predictions"],
            "summary": summary,
            "requestBody": {"required": True, "content": {request_type: {"schema": request}}},
            "responses": {
                "200": {"description": "The prediction", "content": {response_type: {"schema": response}}},
                **dict.fromkeys(("400", "404", "413", "503", "504"), ERROR),
            },
        }
        for prefix in prefixes:
            schema["paths"][f"{base_path}{prefix}/{name}"] = {"post": operation}
    return schema
