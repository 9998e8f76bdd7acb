"""What `fission keys` does for the pages of networks: tokens, and the certificate for browsers."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from fission.errors import UserError

if TYPE_CHECKING:
    from fission.dashboard.access import Grant


def performed(folder: Path, token: str | None, role: str, revoke: str | None, export: Path | None, *, as_json: bool) -> str:
    """Do what the options ask, and return what the user sees.

    Args:
        folder: of the keys.
        token: name of the token to make; None: make none.
        role: of the new token.
        revoke: name of the token to revoke; None: revoke none.
        export: file for the certificate of the pages' authority; None: do not export it. With all
            three None, the tokens are listed.
        as_json: whether the text is JSON.

    Raises:
        UserError: it cannot be done.
    """
    from fission.dashboard.access import Role
    from fission.dashboard.certificates import authority_text
    from fission.dashboard.tokens import TokenStore, pages_folder

    pages = pages_folder(folder)
    store = TokenStore(pages)
    if token is not None:
        made = store.make(token, Role(role))
        values: dict[str, object] = {"name": token, "role": role, "token": made}
        text = f"The token {token} ({role}), which is not stored and not shown again:\n  {made}\n"
        text += "Open a page with it: https://HOST:PORT/?token=TOKEN"
    elif revoke is not None:
        store.revoke(revoke)
        values, text = {"revoked": revoke}, f"Revoked the token {revoke}."
    elif export is not None:
        try:
            export.write_bytes(authority_text(pages, datetime.now(timezone.utc)))
        except OSError as why:
            raise UserError(f"the certificate cannot be written to {export}: {why.strerror}; name another file") from None
        values, text = {"file": str(export)}, f"Wrote the certificate of this user's pages to {export}; trust it in your browsers."
    else:
        grants = store.grants()
        values, text = {"tokens": [_row(grant) for grant in grants]}, _table(grants)
    return json.dumps(values, indent=2) if as_json else text


def discard(folder: Path) -> None:
    """Remove the tokens and certificates of the pages: new keys mean that old ones may be stolen."""
    from fission.dashboard import certificates, tokens

    pages = tokens.pages_folder(folder)
    for name in (
        tokens.TOKENS_FILE,
        tokens.LOCAL_TOKEN_FILE,
        certificates.CA_FILE,
        certificates.CA_KEY_FILE,
        certificates.CERT_FILE,
        certificates.KEY_FILE,
    ):
        (pages / name).unlink(missing_ok=True)


def _row(grant: Grant) -> dict[str, object]:
    return {"name": grant.name, "role": grant.role.value, "made": grant.made}


def _table(grants: tuple[Grant, ...]) -> str:
    if not grants:
        return "There are no tokens of pages; make one: fission keys --token NAME"
    width = max(len("token"), *(len(grant.name) for grant in grants))
    lines = [f"{'token':{width}}  {'role':8}  made (UTC)"]
    for grant in grants:
        made = datetime.fromtimestamp(grant.made, timezone.utc)
        lines.append(f"{grant.name:{width}}  {grant.role.value:8}  {made:%Y-%m-%d %H:%M}")
    return "\n".join(lines)
