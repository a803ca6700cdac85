"""What a product service sends in a test, and the problems that it is answered."""

from typing import Any
from urllib.parse import unquote

import httpx
from world import SHIPPED_PROGRAM

PROBLEM = {"type", "title", "status", "detail", "instance"}
SHOWN = {"region": "FR", "channel": "web", "documents": SHIPPED_PROGRAM.documents}
"""What the service says that its user was shown."""


def of(user: str, what: str) -> str:
    return f"/v1/accounts/{user}/soft-staking/{what}"


def problem_in(response: httpx.Response, status: int, kind: str | None, *more: str) -> Any:
    """The whole problem that the answer must be."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    problem = response.json()
    assert problem.keys() == PROBLEM | set(more)
    assert (response.status_code, problem["status"]) == (status, status)
    assert problem["type"] == (f"/problems/{kind}" if kind else "about:blank")
    assert unquote(problem["instance"]) == response.request.url.path
    assert problem["instance"].isprintable()
    return problem
