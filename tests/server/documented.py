"""Real answers held against openapi.yaml, which may leave out no member that the exchange answers (R-50)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import yaml

from tests.wire import Answer

DOCUMENT: Any = yaml.safe_load((Path(__file__).parents[2] / "openapi.yaml").read_text(encoding="utf-8"))


def closed(schema: Any) -> Any:
    """The same schema, where objects have the members that it names and no others."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(value) for name, value in schema.items()}
    return found | ({"additionalProperties": False} if "properties" in schema else {})


@cache
def validator(operation: str, status: int, media: str) -> jsonschema_rs.Draft202012Validator:
    """What an operation answers with this status in this form."""
    [documented] = [
        found for path in DOCUMENT["paths"].values() for found in path.values() if found["operationId"] == operation
    ]
    schema = documented["responses"][str(status)]["content"][media]["schema"]
    whole = {"$ref": "#/answer", "answer": schema, "components": DOCUMENT["components"]}
    return jsonschema_rs.Draft202012Validator(closed(whole) | {"components": closed(DOCUMENT["components"])})


def hold(operation: str, answer: Answer) -> Any:
    """The document of an answer, which is as documented."""
    media = answer.headers["content-type"].partition(";")[0]
    validator(operation, answer.status, media).validate(answer.json)
    return answer.json
