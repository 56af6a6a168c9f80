"""The environment variables that configure object stores: names, client options, and a check of their values.

In: the prefix of a provider's variables. Out: options for the client, names for messages; UserError for a wrong value.
obstore reads the variables itself; their values reach no message.
"""

from __future__ import annotations

import os
import re

from sharding.contract import UserError

# The prefix of each provider's variables, by the scheme of its addresses.
PREFIXES = {"s3": "AWS", "gs": "GOOGLE", "az": "AZURE", "abfs": "AZURE", "abfss": "AZURE"}
CREDENTIALS = {
    "AWS": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "GOOGLE": "GOOGLE_APPLICATION_CREDENTIALS",
    "AZURE": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
ENDPOINTS = {"AWS": "AWS_ENDPOINT_URL", "GOOGLE": "GOOGLE_BASE_URL", "AZURE": "AZURE_STORAGE_ENDPOINT"}
ENDPOINT = re.compile(r"AWS_ENDPOINT(?:_URL(?:_S3)?)?|GOOGLE_BASE_URL|AZURE_(?:STORAGE_)?ENDPOINT")
# obstore takes these from the environment only where no option is set, and some are set here.
OPTIONS = ("allow_http", "allow_invalid_certificates", "proxy_url", "proxy_ca_certificate", "proxy_excludes")
TRUE = ("1", "true", "on", "yes", "y")


def options(prefix: str) -> dict[str, str]:
    values = {name: os.environ.get(f"{prefix}_{name.upper()}") for name in OPTIONS}
    return {name: value for name, value in values.items() if value}


def names(prefix: str) -> dict[str, str]:
    """The names of a provider's variables, for messages."""
    return {"prefix": prefix, "credentials": CREDENTIALS[prefix], "endpoint": ENDPOINTS[prefix]}


def check(prefix: str) -> None:
    """Raises UserError for what obstore would report as an error of its own, or panic on."""
    unencrypted = os.environ.get(f"{prefix}_ALLOW_HTTP", "").lower() in TRUE
    for name, value in os.environ.items():
        # Only a service account and a certificate have lines.
        if name.startswith(f"{prefix}_") and not value.isprintable() and value[:1] not in "{-":
            raise UserError(f"{name} has a line break or another control character in it; take it out")
        if not ENDPOINT.fullmatch(name) or not name.startswith(prefix):
            continue
        match = re.fullmatch(r"(https?)://[^/?#@\s]+(?:/[^?#\s]*)?", value)
        if not match:
            raise UserError(f"{name} is not an endpoint; give https://HOST or https://HOST:PORT")
        if match[1] == "http" and not unencrypted:
            raise UserError(
                f"{name} is not encrypted; give https://, or set {prefix}_ALLOW_HTTP=true in a trusted network"
            )
