"""Check of requests to adopt: the API must know them before anything is recorded."""

from __future__ import annotations

from collections.abc import Sequence

from runner.api.client import Api
from runner.api.responses import Again, Denied, Gone, NotYet, Progress
from runner.core.errors import AccountError, Unavailable, UsageError
from runner.engine.maintenance.reconcile import ResolutionRequest


async def require_known(api: Api, adoptions: Sequence[ResolutionRequest]) -> None:
    """Raise one ``UsageError`` for all requests that the API does not know.

    Raises ``AccountError`` if the API does not show a request to this token, and ``Unavailable`` if the API cannot be
    reached.
    """
    faults = []
    for request in adoptions:
        found = await _ask(api, request.request_id or "")
        if isinstance(found, Gone):
            faults.append(
                f"{request}: the API has no request {request.request_id}, or no longer; copy the id from RunComfy's "
                "Generations page, or use --lost or --rebuy"
            )
        elif isinstance(found, Denied):
            raise AccountError(
                f"{request}: the API does not show this request to this token ({found.fault.message}); use the token "
                "of the account that bought it. Nothing was recorded."
            )
        elif isinstance(found, Again | NotYet):
            raise Unavailable(
                f"{request}: the API at {api.base.name} could not be asked whether this request exists "
                f"({found.fault.message}). Nothing was recorded; try again, or adopt without asking, with --offline."
            )
    if faults:
        raise UsageError("\n".join([*faults, "Nothing was recorded."]))


async def _ask(api: Api, request_id: str) -> Progress:
    """Return the response of /status, or of /result if /status does not know or show the request."""
    found = await api.status(request_id)
    return await api.result(request_id) if isinstance(found, Gone | NotYet | Again) else found
