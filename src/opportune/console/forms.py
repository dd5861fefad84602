"""A posted form, read with bounds."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.requests import Request

from opportune.errors import InvalidRequest

FORM_BYTES = 2 * 1024 * 1024
"""A dead letter that is put right by hand travels in one."""
FORM_FIELDS = 100


async def read_form(request: Request) -> dict[str, str]:
    """The first value of each URL-encoded field. Raises :class:`InvalidRequest` for more bytes or fields than
    any page of ours sends."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES:
            raise InvalidRequest("the form is too large", remedy=f"send at most {FORM_BYTES:,} bytes")
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=FORM_FIELDS)
    except ValueError as error:
        raise InvalidRequest(
            "the form has too many fields", remedy=f"send at most {FORM_FIELDS} fields"
        ) from error
    return {name: given[0] for name, given in fields.items()}
