"""`referral admin`: what the operator does on the exchange's own host, with its keys and its database."""

from __future__ import annotations

from referral_api.cli.admin.founding import app

__all__ = ["app"]
