"""The tables of the registry; `migrations/` builds and changes them."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, ForeignKey, LargeBinary, MetaData, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

DIGEST = String(64)
NAME = String(128)


class UTCDateTime(TypeDecorator[datetime]):
    """A timestamp that is in UTC and aware on every database, SQLite included."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: object) -> datetime | None:
        return value if value is None or value.tzinfo else value.replace(tzinfo=UTC)


def now() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Artifact(Base):
    """Bytes that versions refer to, addressed by their SHA-256."""

    __tablename__ = "artifacts"

    digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)


class Chunk(Base):
    """A block of bytes, addressed by its SHA-256 and shared by all artifacts that hold it."""

    __tablename__ = "chunks"

    digest: Mapped[str] = mapped_column(DIGEST, primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class ArtifactChunk(Base):
    """Which chunk stands at which position of an artifact."""

    __tablename__ = "artifact_chunks"

    artifact_digest: Mapped[str] = mapped_column(ForeignKey("artifacts.digest", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    chunk_digest: Mapped[str] = mapped_column(ForeignKey("chunks.digest"), index=True)


class Model(Base):
    """A name under which versions are published."""

    __tablename__ = "models"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(NAME, unique=True)
    owner: Mapped[str] = mapped_column(NAME, default="")
    last_version: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)


class Version(Base):
    """One immutable upload of a model; one that is marked as deleted is there for nobody, and can be restored."""

    __tablename__ = "versions"
    __table_args__ = (UniqueConstraint("model_id", "number"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"))
    number: Mapped[int]
    owner: Mapped[str] = mapped_column(NAME, default="")
    description: Mapped[str] = mapped_column(default="")
    framework: Mapped[str] = mapped_column(String(32))
    framework_version: Mapped[str] = mapped_column(String(64), default="")
    runtime: Mapped[str] = mapped_column(String(32))
    runtime_reason: Mapped[str] = mapped_column(default="")
    signature: Mapped[dict[str, Any]] = mapped_column(JSON)
    manifest: Mapped[dict[str, Any]] = mapped_column(JSON)
    labels: Mapped[list[str]] = mapped_column(JSON)
    metrics: Mapped[dict[str, Any]] = mapped_column(JSON)
    lineage: Mapped[dict[str, Any]] = mapped_column(JSON)
    bundle_digest: Mapped[str] = mapped_column(ForeignKey("artifacts.digest"), index=True)
    serving_digest: Mapped[str] = mapped_column(ForeignKey("artifacts.digest"), index=True)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)
    deleted_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    crashes: Mapped[int] = mapped_column(default=0, server_default="0")

    tags: Mapped[list["VersionTag"]] = relationship(lazy="selectin", order_by="VersionTag.name")
    model: Mapped[Model] = relationship(lazy="joined", innerjoin=True)
    bundle: Mapped[Artifact] = relationship(lazy="joined", innerjoin=True, foreign_keys=[bundle_digest])
    serving: Mapped[Artifact] = relationship(lazy="joined", innerjoin=True, foreign_keys=[serving_digest])


class VersionTag(Base):
    """A word that a version can be found by."""

    __tablename__ = "version_tags"

    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(NAME, primary_key=True, index=True)


class Alias(Base):
    """A movable name for one version of a model."""

    __tablename__ = "aliases"

    model_id: Mapped[int] = mapped_column(ForeignKey("models.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("versions.id", ondelete="CASCADE"), index=True)


class State(Base):
    """The single row that counts changes and names the default model."""

    __tablename__ = "registry_state"

    id: Mapped[int] = mapped_column(primary_key=True)
    revision: Mapped[int] = mapped_column(BigInteger, default=0)
    default_model_id: Mapped[int | None] = mapped_column(ForeignKey("models.id", ondelete="SET NULL"))
