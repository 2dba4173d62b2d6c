"""The exchange's settings: one frozen object, read once by the composition root from a file and the environment.

Nothing has an insecure default, nothing is read at import, and secrets are files. Every field ends with who must be
trusted with it. `admin init` writes the file; `serve` never creates what is missing.

Must never: hold a secret itself, or be imported below server/app.py and cli/admin/.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from referral_api.domain.errors import ErrorCode, ReferralError


class Settings(BaseSettings):
    """Settings of one exchange. Environment variables are `REFERRAL_<FIELD>`; they win over the file."""

    model_config = SettingsConfigDict(env_prefix="REFERRAL_", extra="forbid", frozen=True)

    issuer: str = Field(description="Public URL of the exchange, no trailing slash; part of everything signed.")
    """Trusted: whoever controls this can make the exchange unusable, not impersonate another."""
    environment: Literal["production", "sandbox"]
    """Trusted: signed into the genesis act; a sandbox's keys are never accepted by a production exchange."""
    data_dir: Path
    """Directory of the embedded database and of files that belong to it. Trusted: its owner reads all metadata."""
    database_url: str = ""
    """Empty: SQLite in `data_dir`. Else `postgresql://…`. Trusted: whoever controls this sees all metadata."""
    keys_dir: Path
    """The exchange's four private keys. Trusted: whoever reads it can sign receipts and checkpoints in its name."""
    signer_dir: Path
    """The log signer's state; on another disk than the database. Trusted: losing it closes the exchange for writing."""
    host: str = "127.0.0.1"
    """Address to listen on; TLS ends in a proxy before it."""
    port: int = Field(default=8440, ge=0, le=65535)
    """Port to listen on."""
    lanes: int = Field(default=0, ge=0, le=16)
    """Verification threads; 0 means one on SQLite, four on PostgreSQL."""

    calls_a_minute: int = Field(default=60_000, ge=60)
    """How many calls of one credential are answered in a minute, by all processes together; published. The same in all
    processes. Trusted: whoever lowers it can make answers wait, never lose an act."""

    several_hosts: bool = False
    """Whether the exchange runs on several hosts over one PostgreSQL: then a host that is not the signer's waits for
    its checkpoints instead of refusing to start, and the signer keeps each in the database before it is released. The
    same on all hosts. Trusted: whoever sets it can make answers wait, and nothing else."""

    witness_policy: Path | None = None
    """The witnesses and where they are (C2SP tlog-policy), as the genesis act states them; None only where that
    declares that there are none. Trusted: whoever controls this can starve the log of cosignatures."""

    notices: Path | None = None
    """Who is woken by a contentless notice, and through what (R-109): a file of mode 600, for its addresses are
    secrets. Trusted: whoever writes it can make this host call any address, with a constant text."""

    contact: str = Field(default="", max_length=200, pattern=r"^(|mailto:[!-~]+@[!-~]+|https://[!-~]+)$")
    """Where weaknesses are reported, `mailto:` or `https:`; published. Trusted: whoever sets it reads the reports."""

    @field_validator("issuer")
    @classmethod
    def _is_origin(cls, issuer: str) -> str:
        parts = urlsplit(issuer)
        loopback = parts.hostname in ("127.0.0.1", "localhost", "::1")
        if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
            raise ValueError("the issuer is an https URL (http only on loopback)")
        if not parts.netloc or parts.query or parts.fragment or issuer.endswith("/"):
            raise ValueError("the issuer has a host, no query, no fragment and no trailing slash")
        return issuer

    @model_validator(mode="after")
    def _has_one_database(self) -> Self:
        if self.several_hosts and not self.database_url.startswith("postgresql"):
            raise ValueError("several hosts need a PostgreSQL database")
        return self

    def read_witness_policy(self) -> bytes:
        """The bytes of the policy file. Raises UNAVAILABLE, reason `witness-policy`."""
        try:
            return (self.witness_policy or Path()).read_bytes()
        except OSError:
            raise ReferralError(ErrorCode.UNAVAILABLE, reason="witness-policy") from None

    @property
    def database(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{self.data_dir / 'exchange.sqlite'}"

    @property
    def issuer_host(self) -> str:
        """The issuer without its scheme: the beginning of every log's origin (R-90)."""
        return self.issuer.partition("://")[2]

    @property
    def shared(self) -> dict[str, bytes]:
        """The settings that all processes of the exchange share, by name and without any secret: what it runs with."""
        place = urlsplit(self.database)
        names = ("issuer", "environment", "contact", "keys_dir", "signer_dir", "several_hosts")
        shared = {name: str(getattr(self, name)) for name in names}
        shared["database"] = f"{place.scheme}://{place.hostname}:{place.port}{place.path}"
        return {name: value.encode() for name, value in shared.items()}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file at `path` (TOML) and the environment. Raises ValueError, naming field and reason."""

        class FromFile(cls):  # type: ignore[misc,valid-type]  # the one place that binds the settings to a file
            @classmethod
            def settings_customise_sources(
                cls,
                settings_cls: type[BaseSettings],
                init_settings: PydanticBaseSettingsSource,
                env_settings: PydanticBaseSettingsSource,
                dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
                file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
            ) -> tuple[PydanticBaseSettingsSource, ...]:
                return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=path)

        return cls.model_validate(FromFile().model_dump())
