"""`/status`, `/healthz` and `/readyz`."""

import asyncio
from typing import Any

import psutil
from fastapi import APIRouter

from tfaas.api.services import Shared
from tfaas.errors import RegistryUnavailable

READY_SECONDS = 5.0

router = APIRouter(tags=["server"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(services: Shared) -> dict[str, str]:
    """The registry can be used; 503 when it can't."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            await services.repository.revision()
    except TimeoutError as error:
        raise RegistryUnavailable(f"the registry does not answer within {READY_SECONDS:g} s") from error
    return {"status": "ready"}


@router.get("/status")
async def status(services: Shared) -> dict[str, Any]:
    """Memory and load of the machine, and what the worker that answers has done since its start."""
    machine = await asyncio.to_thread(_machine)
    metrics = services.metrics
    return machine | {
        "Uptime": metrics.uptime,
        "getRequests": metrics.requests["GET"],
        "postRequests": metrics.requests["POST"],
        "deleteRequests": metrics.requests["DELETE"],
        "events": metrics.events,
        "unexpectedErrors": metrics.unexpected,
    }


def _machine() -> dict[str, Any]:
    virtual, swap = psutil.virtual_memory(), psutil.swap_memory()
    load1, load5, load15 = psutil.getloadavg()
    memory = {
        kind: {"total": stats.total, "free": stats.free, "used": stats.used, "usedPercent": stats.percent}
        for kind, stats in (("Virtual", virtual), ("Swap", swap))
    }
    process = psutil.Process()
    return {
        "Memory": memory,
        "Load": {"load1": load1, "load5": load5, "load15": load15},
        "CPU": psutil.cpu_percent(percpu=True),
        "process": {"pid": process.pid, "resident": process.memory_info().rss, "threads": process.num_threads()},
    }
