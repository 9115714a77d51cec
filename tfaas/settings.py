"""All settings of the server, read once at start from options and `TFAAS_…` in the environment."""

import os
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tfaas.bundles.prove import ProofLimits
from tfaas.errors import InvalidRequest
from tfaas.registry.names import Reference, parse_reference

PREFIX = "TFAAS_"
CLIENT_VARIABLES = {"TFAAS_URL", "TFAAS_TOKEN"}
MEBIBYTE = 1024**2
GIBIBYTE = 1024**3


class Settings(BaseSettings):
    """Frozen settings; `docs/settings.md` holds the same table for people."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8083, ge=1, le=65535, description="port to listen on")
    base_path: str = Field("", description="prefix of every URL, such as /tfaas")
    data_dir: Path = Field(Path("tfaas-data"), description="folder of the default database and the caches")
    database: str = Field("", description="SQLAlchemy URL; empty for SQLite in the data folder")
    workers: int = Field(1, ge=1, le=256, description="server processes")
    shutdown_timeout: int = Field(30, ge=1, description="seconds given to running requests on SIGTERM")
    log_level: str = Field("info", description="debug, info, warning or error")
    tls_certificate: str = Field("", description="PEM file of the host's certificate and its chain; empty for HTTP")
    tls_key: str = Field("", description="PEM file of its key; empty where it is in the certificate's file")

    max_body: int = Field(8 * MEBIBYTE, ge=1024, description="bytes of a prediction request")
    max_batch_body: int = Field(64 * MEBIBYTE, ge=1024, description="bytes of a request for many predictions")
    max_headers: int = Field(100, ge=10, description="headers of a request")
    max_header_bytes: int = Field(64 * 1024, ge=1024, description="bytes of the headers of a request")
    receive_timeout: float = Field(20.0, gt=0, description="seconds for the headers, and for a body that trickles")
    keep_alive: float = Field(75.0, gt=0, description="seconds that a connection may be idle")
    max_image_pixels: int = Field(25_000_000, ge=1, description="pixels of an image")
    max_upload: int = Field(2 * GIBIBYTE, ge=1024, description="bytes of an upload")
    max_unpacked: int = Field(4 * GIBIBYTE, ge=1024, description="bytes of an unpacked bundle")
    max_members: int = Field(10_000, ge=1, description="files and folders in a bundle")
    prove_timeout: float = Field(300.0, gt=0, description="seconds to unpack, convert and try an upload")
    prove_memory: int = Field(16 * GIBIBYTE, ge=GIBIBYTE, description="address space of the proving process")
    require_sandbox: bool = Field(False, description="refuse uploads where the kernel lacks Landlock or seccomp")
    concurrent_proofs: int = Field(1, ge=1, description="uploads proven at the same time by a worker")

    cache_memory: int = Field(4 * GIBIBYTE, ge=MEBIBYTE, description="bytes of loaded models a worker keeps")
    preload: str = Field("", description="models, separated by commas, that are loaded at start and stay in memory")
    session_threads: int = Field(1, ge=1, description="threads of one runtime session")
    run_threads: int = Field(
        default_factory=lambda data: max(1, (os.cpu_count() or 1) // data.get("workers", 1)),
        ge=1,
        description="batches that run at the same time in a worker",
    )
    max_batch_size: int = Field(1024, ge=1, description="events in one session call")
    max_queue: int = Field(100_000, ge=1, description="events that may wait for one model")
    deadline: float = Field(30.0, gt=0, description="seconds a prediction may take before it is given up")

    @field_validator("base_path")
    @classmethod
    def _leading_slash(cls, value: str) -> str:
        value = value.strip("/")
        return f"/{value}" if value else ""

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.lower() not in ("debug", "info", "warning", "error"):
            raise ValueError("expected debug, info, warning or error")
        return value.lower()

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.data_dir.resolve() / 'registry.db'}"

    @property
    def artifact_cache(self) -> Path:
        return self.data_dir / "cache"

    @property
    def preloaded(self) -> list[Reference]:
        """The models in `preload`; raises InvalidRequest for what is no name of one."""
        return [parse_reference(name.strip()) for name in self.preload.split(",") if name.strip()]

    @property
    def workspace(self) -> Path:
        return self.data_dir / "tmp"

    @classmethod
    def load(cls, **options: Any) -> "Settings":
        """Settings from options, which win, and the environment; raises InvalidRequest that names what is wrong."""
        unknown = sorted(
            name
            for name in os.environ
            if name.startswith(PREFIX) and name.removeprefix(PREFIX).lower() not in cls.model_fields
        )
        unknown = [name for name in unknown if name not in CLIENT_VARIABLES]
        if unknown:
            raise InvalidRequest(f"environment variable {unknown[0]} is no setting: expected one of docs/settings.md")
        try:
            return cls(**options)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"])) or "settings"
            reason = first["msg"].removeprefix("Value error, ")
            raise InvalidRequest(f"setting {name}: {reason}, not {first['input']!r}") from error

    @property
    def proof_limits(self) -> ProofLimits:
        return ProofLimits(
            self.max_unpacked, self.max_members, self.prove_memory, self.prove_timeout, self.require_sandbox
        )

    def environment(self) -> dict[str, str]:
        """These settings as environment variables, for worker processes."""
        return {f"{PREFIX}{name.upper()}": str(value) for name, value in self.model_dump().items()}
