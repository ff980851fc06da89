"""What a failed request means: for this one alone, or for all that would follow."""

from __future__ import annotations

import json

from uqkd.errors import WorkerError
from uqkd.llm.requests import Refusal
from uqkd.llm.teachers.servers.connection import Connection

_REFUSED = (400, 413, 422)  # this request, and not the next one
_PARAMETERS = (
    "unsupported_parameter",
    "unsupported_value",
    "unknown_parameter",
)  # codes of a refused one, not of a prompt


def refused(problem: Exception, connection: Connection) -> tuple[Refusal, bool]:
    """Why a request was not answered, and whether the server itself has failed.

    Raises
    ------
    WorkerError
        Every further request would fail as this one did.
    """
    from openai import APIStatusError, OpenAIError

    line = connection.line(problem)
    if isinstance(problem, UnicodeEncodeError):
        return Refusal("the prompt holds half of a surrogate pair, which cannot be sent"), False
    if isinstance(problem, json.JSONDecodeError):
        return Refusal(f"the server's answer is no JSON ({line})"), True
    if not isinstance(problem, OpenAIError):
        raise problem
    if stop := stop_of(problem, connection):
        raise stop from None
    if isinstance(problem, APIStatusError):
        if problem.status_code in _REFUSED:
            return Refusal(f"the server refused it ({problem.status_code}: {line})"), False
        return Refusal(f"the server failed ({problem.status_code}: {line})"), True
    return Refusal(f"the server did not answer ({line})"), True


def stop_of(problem: Exception, connection: Connection) -> WorkerError | None:
    """The error that ends all work, where every further request would fail as this one did."""
    status = getattr(problem, "status_code", None)
    said = f"({status}: {connection.line(problem)})"
    if status in (401, 403):
        remedy = "put the key into an environment variable and give that one's name as api_key_env (--api-key-env)"
        if connection.key_name:
            remedy = f"check the key in the environment variable {connection.key_name}"
        return WorkerError(f"the server at {connection.shown} refuses the key {said}; {remedy}.")
    if status == 402:
        return WorkerError(f"the server at {connection.shown} wants to be paid {said}; run the same again when it is.")
    if status == 404:
        return WorkerError(
            f"the server at {connection.shown} does not know the model, or the url is not right {said}; check model (--model), "
            "and that the url ends with /v1."
        )
    if str(getattr(problem, "code", "")) in _PARAMETERS:
        return WorkerError(
            f"the server at {connection.shown} does not take a parameter that every request has {said}; see the options seeds "
            "and max_tokens_field, and the sampling parameters."
        )
    return None
