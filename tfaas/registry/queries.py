"""Questions that several operations on the registry ask."""

from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from tfaas.registry.names import Reference
from tfaas.registry.tables import Alias, Model, Version

SORTS: dict[str, Any] = {
    "name": Model.name,
    "created": Version.created_at,
    "version": Version.number,
    "owner": Version.owner,
    "framework": Version.framework,
}
# Whether a model has a version that is not marked as deleted.
IS_LIVE = select(Version.id).where(Version.model_id == Model.id, Version.deleted_at.is_(None)).exists()


async def aliases_of(session: AsyncSession, name: str) -> dict[str, int]:
    rows = await session.execute(
        select(Alias.name, Version.number)
        .join(Version, Version.id == Alias.version_id)
        .join(Model, Model.id == Alias.model_id)
        .where(Model.name == name, Version.deleted_at.is_(None))
        .order_by(Alias.name)
    )
    return {row.name: row.number for row in rows}


def select_version(reference: Reference) -> Select[Version]:
    query = (
        select(Version)
        .join(Model, Model.id == Version.model_id)
        .where(Model.name == reference.name, Version.deleted_at.is_(None))
    )
    if reference.number is not None:
        return query.where(Version.number == reference.number)
    return query.join(Alias, Alias.version_id == Version.id).where(Alias.name == reference.alias)
