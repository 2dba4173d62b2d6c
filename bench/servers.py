"""Start one of the measured servers in its own process: `python -m bench.servers ours|bare|naive FOLDER PORT`."""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn

from bench.bare import Bare
from bench.world import settings_of
from referral_api.domain.words import KeyUse
from referral_api.server import app
from referral_api.server.storage.database import Database
from referral_api.server.storage.keyfiles import load_signers


def main() -> None:
    """Serve until SIGTERM."""
    kind, folder, port = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    settings = settings_of(folder, port)
    if kind == "ours":
        app.serve(settings)
        return
    if kind == "bare":
        _run(Bare(Database.open(settings.database)), port)
        return
    from bench.naive import create_app  # noqa: PLC0415  # its tables are its own

    runtime = app.open_runtime(settings)
    keymap = runtime.exchange.keymap
    runtime.log_signers.close()
    runtime.exchange.database.close()
    token_key = keymap.exchange_keys(KeyUse.TOKEN)[0].public.jwk
    receipt_key = load_signers(settings.keys_dir).receipt
    naive = create_app(folder / "naive.sqlite", settings.issuer, keymap, token_key, receipt_key)
    naive.add_api_route("/oauth/token", _no_token, methods=["POST"])
    _run(naive, port)


def _no_token() -> None:
    """The naive twin takes the exchange's tokens; it issues none."""


def _run(application: object, port: int) -> None:
    sys.setswitchinterval(app.SWITCH_INTERVAL_S)
    config = uvicorn.Config(
        application,  # type: ignore[arg-type]  # an ASGI application
        port=port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_config=None,
        server_header=False,
        backlog=4096,
    )
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
