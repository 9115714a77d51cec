"""What the routes share, as dependencies."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from tfaas.bundles.publish import publish
from tfaas.engine.resolve import Engine
from tfaas.observability.metrics import Metrics
from tfaas.registry import Repository, VersionRecord
from tfaas.registry.artifacts import ArtifactCache
from tfaas.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of a running server; `scratch` is its folder for temporary files."""

    settings: Settings
    repository: Repository
    artifacts: ArtifactCache
    engine: Engine
    metrics: Metrics
    scratch: Path
    proofs: asyncio.Semaphore

    async def publish(self, archive: Path, follows: int | None = None, becomes_latest: bool = True) -> VersionRecord:
        """Prove and publish a bundle, and have it served before anybody hears of it.

        Args:
            follows: id of the version that must still be the latest one.
            becomes_latest: whether `latest` moves to it.
        """
        async with self.proofs:
            limits = self.settings.proof_limits
            record = await publish(
                self.repository, archive, self.scratch, limits, follows=follows, becomes_latest=becomes_latest
            )
        await self.engine.published(record)
        return record


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


Shared = Annotated[Services, Depends(_services)]
