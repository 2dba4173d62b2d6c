"""The honest naive twin: FastAPI and SQLModel as a tutorial would, with the same checks and a signed receipt.

A plain `def` endpoint, dependencies for the token and its proof, rows through the ORM, a hash chain for the audit
trail, one commit a request. It verifies what the exchange verifies, with the same formats code; the shape differs.
"""

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey
from pydantic import BaseModel
from sqlalchemy import event
from sqlmodel import Field, Session, SQLModel, create_engine, select

from referral_api.domain.consent import check_tuple
from referral_api.domain.errors import ReferralError
from referral_api.formats.act import parse_act, verify_act
from referral_api.formats.bundle import parse_bundle
from referral_api.formats.keys import SigningKey
from referral_api.formats.receipt import build_receipt
from referral_api.formats.statements import KeyMap
from referral_api.formats.strict_json import sha256_b64u

PROOF_AGE_S = 60


class Referral(SQLModel, table=True):
    """A referral with its bundle."""

    ref: str = Field(primary_key=True)
    sender: str
    urgency: str
    bundle: str


class Delivery(SQLModel, table=True):
    """A referral at a unit."""

    id: int | None = Field(default=None, primary_key=True)
    ref: str = Field(index=True)
    unit: str = Field(index=True)
    state: str
    head: str


class StoredAct(SQLModel, table=True):
    """A signed act and its receipt."""

    id: str = Field(primary_key=True)
    digest: str = Field(unique=True)
    ref: str = Field(index=True)
    jws: str
    receipt: str


class Audit(SQLModel, table=True):
    """The trail: a chain of hashes."""

    index: int | None = Field(default=None, primary_key=True)
    digest: str
    chain: str


class Used(SQLModel, table=True):
    """Proof ids that were used."""

    jti: str = Field(primary_key=True)
    until: int


class Put(BaseModel):
    """The request body."""

    act: str
    bundle: str


def create_app(
    database: Path, issuer: str, keymap: KeyMap, token_key: Mapping[str, str], receipt_key: SigningKey
) -> FastAPI:
    """The application over a new SQLite file with the same durability."""
    engine = create_engine(f"sqlite:///{database}", connect_args={"check_same_thread": False, "timeout": 30})

    @event.listens_for(engine, "connect")
    def _durable(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    SQLModel.metadata.create_all(engine)
    writing = threading.Lock()
    public = OKPKey.import_key({**token_key})
    app = FastAPI()

    def session() -> Iterator[Session]:
        with Session(engine) as opened:
            yield opened

    def caller(request: Request, db: Annotated[Session, Depends(session)]) -> str:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "DPoP":
            raise HTTPException(401)
        claims = jwt.decode(token, public, algorithms=["Ed25519"]).claims
        if claims["exp"] < time.time() or claims["iss"] != issuer:
            raise HTTPException(401)
        proof = request.headers["dpop"]
        header = json.loads(_unpadded(proof.partition(".")[0]))
        key = ECKey.import_key(header["jwk"])
        said = jwt.decode(proof, key, algorithms=["ES256"]).claims
        ath = sha256_b64u(token.encode())
        if said["htm"] != request.method or said["htu"] != issuer + request.url.path or said["ath"] != ath:
            raise HTTPException(401)
        if abs(time.time() - said["iat"]) > PROOF_AGE_S or key.thumbprint() != claims["cnf"]["jkt"]:
            raise HTTPException(401)
        db.add(Used(jti=said["jti"], until=int(time.time()) + 120))
        return str(claims["client_id"])

    @app.put("/v1/referrals/{ref}", status_code=201)
    def put_referral(
        ref: str, body: Put, db: Annotated[Session, Depends(session)], credential: Annotated[str, Depends(caller)]
    ) -> Response:
        now = int(time.time())
        try:
            act = parse_act(body.act.encode())
            keys = keymap.seal_keys(act.iss, act.iat, now)
            verify_act(act, keys.keys, required=keys.require)
            sealed = parse_bundle(body.bundle.encode())
            said: Any = act.body
            check_tuple(said.basis, said.identity_level, None)
        except ReferralError as error:
            raise HTTPException(422, error.code.value) from error
        if act.ref != ref or act.iss != credential or sealed.sha256 != said.bundle.sha256 or act.aud != issuer:
            raise HTTPException(422)
        if any(keymap.find_party(to.unit) is None for to in said.to):
            raise HTTPException(403)
        with writing:
            known = db.get(StoredAct, act.id)
            if known is not None:
                return Response(known.receipt, media_type="application/json")
            last = db.exec(select(Audit).order_by(Audit.index.desc()).limit(1)).first()  # type: ignore[union-attr]
            chain = hashlib.sha256(((last.chain if last else "") + act.leaf_digest).encode()).hexdigest()
            receipt = build_receipt(
                iss=issuer,
                act=act.digest,
                act_id=act.id,
                sub=act.iss,
                carrier=None,
                ref=ref,
                unit=None,
                time=now,
                code=None,
                states=[(to.unit, "submitted", act.digest) for to in said.to],
                origin="127.0.0.1/log",
                index=last.index + 1 if last and last.index else 0,
                signer=receipt_key,
            ).decode()
            db.add(Referral(ref=ref, sender=act.party, urgency=said.urgency.value, bundle=body.bundle))
            for to in said.to:
                db.add(Delivery(ref=ref, unit=to.unit, state="submitted", head=act.digest))
            db.add(StoredAct(id=act.id, digest=act.digest, ref=ref, jws=body.act, receipt=receipt))
            db.add(Audit(digest=act.leaf_digest, chain=chain))
            db.commit()
        return Response(json.dumps({"receipt": receipt, "chain": chain}), 201, media_type="application/json")

    return app


def _unpadded(text: str) -> bytes:
    import base64  # noqa: PLC0415

    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
