"""The prediction endpoints in OpenAPI: the framework does not know them, since they bypass it."""

from typing import Any

from tfaas.codecs.tables import TABLE_CODECS

BATCH_PATH = "/predict/batch"

BINARY = {"type": "string", "format": "binary"}
ERROR = {
    "description": "What was wrong, and what was expected",
    "content": {
        "application/json": {
            "schema": {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
        }
    },
}
ROW: dict[str, Any] = {
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
TABLE = {
    "type": "object",
    "properties": {
        "keys": ROW["properties"]["keys"],
        "values": {"type": "array", "items": ROW["properties"]["values"], "description": "events"},
        "columns": {
            "type": "object",
            "additionalProperties": ROW["properties"]["values"],
            "description": "for each feature its values in all events, instead of keys and values",
        },
        "model": ROW["properties"]["model"],
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


QUERY = {
    "model": "name, name:3 or name@alias, where the body names none",
    "outputs": "names of outputs, separated by commas, or * for all; they are answered by name",
    "keys": "names of the values in a row, separated by commas; without them the values are positional",
    "shape": "events,values of a body of raw float32; the header X-Shape does the same",
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
    schema["paths"][f"{base_path}{BATCH_PATH}"] = {"post": _batch_operation()}
    return schema


def _batch_operation() -> dict[str, Any]:
    content = {name: {"schema": TABLE if name == "application/json" else BINARY} for name in TABLE_CODECS}
    parameters = [
        {"name": name, "in": "query", "schema": {"type": "string"}, "description": text} for name, text in QUERY.items()
    ]
    return {
        "tags": ["predictions"],
        "summary": "Predict many events; the content type says their format, Accept that of the answer",
        "parameters": parameters,
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": {"description": "The predictions", "content": content},
            **dict.fromkeys(("400", "404", "413", "503", "504"), ERROR),
        },
    }
