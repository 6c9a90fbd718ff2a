"""Every environment variable, typed and checked. Read once, by main and the command line only."""

import re
from contextlib import suppress
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError

from app.db.engine import ArgumentError, Database, password_of
from app.domain.errors import SettingsError
from app.domain.money import usd_to_micros
from app.domain.origins import origin
from app.domain.overrides import read_overrides
from app.domain.sign_in import Terms, read_terms
from app.environment import FileOrEnv, kept_secret, told_secret

_SQLITE_MAGIC = b"SQLite format 3\0"


class Settings(BaseSettings):
    """What an operator can turn. Every default runs on one machine with nothing installed."""

    model_config = SettingsConfigDict(
        env_prefix="REELAY_", extra="ignore", env_ignore_empty=True, validate_by_name=True, validate_by_alias=True
    )

    data_dir: Path = Field(Path("data"), description="Where SQLite, videos and generated secrets live by default.")
    database_url: str | None = Field(None, description="postgresql://… or sqlite:///…; by default SQLite in data_dir.")
    database_listen_url: str | None = Field(
        None, description="A direct Postgres URL for LISTEN where a transaction pooler stands in database_url."
    )
    storage_url: str | None = Field(None, description="file:///…, s3://…, gs://…, az://…; by default data_dir/media.")
    content_redirect: bool = Field(
        False, description="Send those who download a video to the cloud storage itself; folders never do."
    )
    content_accel: str | None = Field(None, description="/protected/ or so: nginx in front sends a folder's videos.")
    upstream_url: str = Field("https://api.aimlapi.com", description="The paid API, or a sandbox.")
    upstream_api_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("REELAY_UPSTREAM_API_KEY", "AIML_API_KEY"),
        description="The upstream's key. It stays on the server.",
    )
    upstream_max_in_flight: int = Field(10, ge=1, le=10_000, description="Generations bought but not finished.")
    allow_unknown_models: bool = Field(
        False, description="Let models be used that the upstream lists and this build does not know, unchecked."
    )
    submit_timeout_seconds: float = Field(120, ge=1, le=900, description="How long the paid POST may take.")
    poll_interval_seconds: float | None = Field(
        None, ge=0.05, le=3600, description="A fixed poll interval, instead of the learned one."
    )
    poll_horizon_seconds: float = Field(86_400, ge=60, description="When an unfinished generation counts as lost.")
    reconcile_interval_seconds: float = Field(
        30, ge=0.1, le=3600, description="How often the upstream's usage log is read while a submission is in doubt."
    )
    reconcile_window_seconds: float = Field(
        6 * 3600, ge=1, description="How long the log is searched for a lost submission before a person must decide."
    )
    lease_seconds: float = Field(60, ge=1, le=3600, description="How long a dead worker's claim lasts.")
    prices: str | None = Field(
        None, description="Your own prices, as JSON by model, best in a file: they go before the upstream's list."
    )
    default_reserve_usd: float = Field(
        5, ge=0, le=10_000, description="What a job reserves of its project's budget when its price is not known ahead."
    )
    public_url: str | None = Field(None, description="How callers reach this service; it stands in every URL we make.")
    signing_secret: SecretStr | None = Field(
        None, description="At least 32 random characters; signs content URLs. Made in data_dir on one SQLite machine."
    )
    signing_secret_previous: SecretStr | None = Field(None, description="The one before: its links hold to their end.")
    cors_origins: str = Field(
        "", description="Comma-separated origins whose pages may call this service, such as https://app.example.com."
    )
    oidc_issuer: str | None = Field(None, description="Your identity provider, whose access tokens work as keys do.")
    oidc_audience: str | None = Field(None, description="What `aud` of those tokens must name: this service.")
    oidc_jwks_url: str | None = Field(None, description="Where the provider's keys are; by default it is asked.")
    oidc_project: str | None = Field(None, description="The project of everybody who signs in so.")
    oidc_project_claim: str = Field("reelay_project", description="Else the claim that names the project.")
    oidc_scopes: str = Field(
        "jobs:read=jobs:read,jobs:write=jobs:write",
        description="What words in the tokens' scope, scp or roles allow: jobs:read or jobs:write.",
    )
    trusted_hosts: str = Field(
        "", description="host:port list that downloads and webhooks may reach although it is not public."
    )
    trusted_proxies: str = Field(
        "", description="Comma-separated addresses or networks of your proxies: of them X-Forwarded-For is believed."
    )
    retention_days: float | None = Field(None, gt=0, description="Finished jobs are deleted after this; unset: never.")
    upload_retention_days: float = Field(30, gt=0, description="Uploads are deleted this long after their last use.")
    max_upload_bytes: int = Field(20 * 1024**2, ge=1024, description="The largest image accepted.")
    max_video_bytes: int = Field(1024**3, ge=1024**2, description="The largest result kept.")
    metrics_token: SecretStr | None = Field(None, description="What opens /metrics, beside keys with the scope admin.")
    metrics_listen: str | None = Field(None, description="host:port where a worker answers /metrics and /readyz.")
    log_format: Literal["auto", "console", "json"] = Field("auto", description="auto: console on a terminal.")
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, FileOrEnv(settings_cls)

    @field_validator("upstream_url", "public_url")
    @classmethod
    def _is_origin(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be an http(s) URL without query, such as https://reelay.example.com")
        return value.rstrip("/")

    @field_validator("cors_origins")
    @classmethod
    def _holds_origins(cls, value: str) -> str:
        return ",".join(origin(entry.strip()) for entry in value.split(",") if entry.strip())

    @field_validator("trusted_proxies")
    @classmethod
    def _holds_networks(cls, value: str) -> str:
        return ",".join(str(ip_network(entry.strip())) for entry in value.split(",") if entry.strip())

    @field_validator("metrics_listen")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(f"//{value}")
            if not parts.hostname or parts.port is None or parts.netloc != value:
                raise ValueError("must be host:port, such as 127.0.0.1:9100")
        return value

    @field_validator("content_accel")
    @classmethod
    def _is_location(cls, value: str | None, known: ValidationInfo) -> str | None:
        if value is None:
            return None
        if not re.fullmatch(r"/([A-Za-z0-9_.~-]+/)+", value):
            raise ValueError("must be a path between slashes, such as /protected/")
        if known.data.get("content_redirect"):
            raise ValueError("excludes REELAY_CONTENT_REDIRECT; unset one of them")
        if not _is_folder(known.data.get("storage_url") or ""):
            raise ValueError("is for a folder, which nginx reads, and REELAY_STORAGE_URL is none; unset it")
        return value

    @field_validator("prices")
    @classmethod
    def _holds_prices(cls, value: str | None) -> str | None:
        if value is not None:
            read_overrides(value)
        return value

    @classmethod
    def load(cls, **given: Any) -> "Settings":
        """Read the environment; raise SettingsError with one line per wrong variable."""
        try:
            settings = cls(**given)
            _ = settings.sign_in
            return settings
        except SourceError as error:  # how pydantic-settings passes on what a source raised
            if isinstance(error.__cause__, SettingsError):
                raise error.__cause__ from None
            raise SettingsError(str(error)) from None
        except ValidationError as error:
            lines = [f"REELAY_{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in error.errors()]
            raise SettingsError("\n".join(lines)) from None

    @property
    def sqlalchemy_url(self) -> str:
        """The database URL with the driver that we ship."""
        url = self.database_url or f"sqlite:///{self.data_dir / 'reelay.db'}"
        scheme, _, rest = url.partition("://")
        if scheme in ("postgres", "postgresql", "postgresql+psycopg"):
            return f"postgresql+psycopg://{rest}"
        if scheme == "sqlite":
            return url
        raise SettingsError("REELAY_DATABASE_URL must begin with postgresql:// or sqlite:///.")

    @property
    def media_url(self) -> str:
        return self.storage_url or (self.data_dir / "media").absolute().as_uri()

    @property
    def stores_in_folder(self) -> bool:
        """Whether the storage is a folder of this host."""
        return _is_folder(self.media_url)

    @property
    def spool_dir(self) -> Path:
        """Where a video lies while it is checked."""
        return self.data_dir / "spool"

    @property
    def retention(self) -> timedelta | None:
        return None if self.retention_days is None else timedelta(days=self.retention_days)

    @property
    def trusted_by_operator(self) -> frozenset[str]:
        """The operator's list, as host:port: also webhooks may go there."""
        return frozenset(entry.strip() for entry in self.trusted_hosts.split(",") if entry.strip())

    @property
    def trusted(self) -> frozenset[str]:
        """Origins, as host:port, that downloads may reach: the operator's list and the configured upstream."""
        upstream = urlsplit(self.upstream_url)
        port = upstream.port or (443 if upstream.scheme == "https" else 80)
        return self.trusted_by_operator | {f"{upstream.hostname}:{port}"}

    @property
    def allowed_origins(self) -> frozenset[str]:
        """Origins whose pages may use the service through a browser."""
        return frozenset(filter(None, self.cors_origins.split(",")))

    @property
    def sign_in(self) -> Terms | None:
        """On what terms sign-ins with the identity provider are taken; None if they are not."""
        given = {name.removeprefix("oidc_"): value for name, value in self if name.startswith("oidc_")}
        try:
            return read_terms(**given)
        except ValueError as error:
            raise SettingsError(str(error)) from None

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Where workers alone answer to scrapes."""
        parts = urlsplit(f"//{self.metrics_listen or ''}")
        return None if parts.hostname is None else (parts.hostname, parts.port or 0)

    @property
    def own_prices(self) -> dict[str, Any]:
        """The operator's price rules by model."""
        return read_overrides(self.prices) if self.prices else {}

    @property
    def default_reserve_micros(self) -> int:
        return usd_to_micros(self.default_reserve_usd)

    def secret_for_signing(self) -> bytes:
        """Return the signing secret; on SQLite one is made at the first start and kept in data_dir."""
        if value := told_secret("REELAY_SIGNING_SECRET", self.signing_secret):
            return value.encode()
        if not self.sqlalchemy_url.startswith("sqlite"):
            raise SettingsError(
                "REELAY_SIGNING_SECRET is missing: replicas must share it. Make one with `openssl rand -hex 32`."
            )
        return kept_secret(self.data_dir / "signing-secret").encode()

    def previous_secret_for_signing(self) -> bytes | None:
        """Return the secret before the present one, while links that it signed are out."""
        value = told_secret("REELAY_SIGNING_SECRET_PREVIOUS", self.signing_secret_previous)
        return value.encode() if value else None

    def token_for_metrics(self) -> str | None:
        """Return what a scraper shows."""
        return told_secret("REELAY_METRICS_TOKEN", self.metrics_token)

    def literals(self) -> list[str]:
        """Return every secret of these settings, for the logs to leave out. One that is wrong is refused elsewhere."""
        given = (self.upstream_api_key, self.signing_secret_previous, self.metrics_token)
        found = [secret.get_secret_value().strip() for secret in given if secret]
        for url in filter(None, (self.database_url, self.database_listen_url)):
            with suppress(ArgumentError, ValueError):
                found.append(password_of(url))
        with suppress(SettingsError, OSError, ValueError):
            found.append(self.secret_for_signing().decode())
        return [secret for secret in found if secret]


def _is_folder(storage_url: str) -> bool:
    return "://" not in storage_url or storage_url.startswith("file://")


def open_database(settings: Settings) -> Database:
    """Open the database that the settings name; raise SettingsError if its address or its folder can't be used."""
    try:
        database = Database(settings.sqlalchemy_url)
        if database.is_sqlite:
            with database.sqlite_path.open("rb") as file:
                head = file.read(len(_SQLITE_MAGIC))
            if head not in (b"", _SQLITE_MAGIC):
                database.close()
                raise SettingsError(f"{database.sqlite_path} is no SQLite database. Move it away, or name another.")
        return database
    except (ArgumentError, ValueError):
        raise SettingsError("REELAY_DATABASE_URL is no database address that can be read.") from None
    except OSError as error:
        name = "REELAY_DATABASE_URL" if settings.database_url else "REELAY_DATA_DIR"
        place = error.filename or settings.data_dir
        raise SettingsError(f"{name}: {place} cannot be used ({error.strerror}). Check its owner and mode.") from None
