"""The server, wired together here and nowhere else."""

import asyncio
import gc
import multiprocessing
import sys
import tempfile
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from tfaas import __version__
from tfaas.api import images, models, status, uploads, versions
from tfaas.api.body import ClientGone
from tfaas.api.connection import Application
from tfaas.api.http_errors import error_response
from tfaas.api.openapi import describe_predictions
from tfaas.api.predict import PREFIXES, predict_endpoints
from tfaas.api.services import Services
from tfaas.api.watch import Watch
from tfaas.engine.resolve import Engine
from tfaas.errors import InvalidRequest, TFaaSError
from tfaas.observability.logs import configure_logs
from tfaas.observability.metrics import Metrics
from tfaas.registry import Database, Repository
from tfaas.registry.artifacts import ArtifactCache
from tfaas.sandbox import end_with_parent
from tfaas.security.certificate import HostCertificate, host_certificate
from tfaas.settings import Settings
from tfaas.workspace import Workspace

# How long a thread that computes in Python may keep the event loop waiting; Python's own choice is 5 ms.
SWITCH_SECONDS = 200e-6
# Objects made, and younger collections, before each generation of objects is looked through.
COLLECT_AFTER = (10_000, 20, 50)


def create_app(settings: Settings, certificate: HostCertificate | None = None) -> Application:
    """The server, for a database that is upgraded already; `tfaas.api.connection` answers its predictions.

    Args:
        settings: what it does, and within which limits.
        certificate: the one that the settings name, where it is read already.
    """
    database = Database(settings.database_url)
    repository = Repository(database)
    metrics = Metrics()
    artifacts = ArtifactCache(settings.artifact_cache, database)
    watch = Watch(settings.keep_alive, settings.receive_timeout)
    engine = Engine(settings, repository, artifacts, watch.count)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with Workspace(settings.workspace) as workspace:
            app.state.services = Services(
                settings=settings,
                repository=repository,
                artifacts=artifacts,
                engine=engine,
                metrics=metrics,
                scratch=workspace.path,
                proofs=asyncio.Semaphore(settings.concurrent_proofs),
            )
            # Forms and other temporary files go where there is room for them, and where the next process cleans up.
            tempfile.tempdir = str(workspace.path)
            if workspace.culprits:
                await repository.count_crash(workspace.culprits)
                engine.changed()
            await engine.open(workspace.path)
            watching = asyncio.create_task(watch.run())
            try:
                yield
            finally:
                watching.cancel()
                await engine.close()
                await database.close()

    app = FastAPI(
        title="TFaaS",
        version=__version__,
        summary="Inference as a service for high-energy physics",
        lifespan=lifespan,
        openapi_url=f"{settings.base_path}/openapi.json",
        docs_url=f"{settings.base_path}/docs",
        redoc_url=None,
        redirect_slashes=False,
    )
    for resource in (uploads, models, versions, images, status):
        app.include_router(resource.router, prefix=settings.base_path)
    _answer_errors_as_json(app)
    _describe(app, settings)
    endpoints = predict_endpoints(engine, settings, metrics)
    return Application(app, endpoints, settings, watch, metrics, certificate or host_certificate(settings))


def create_app_from_environment(certificate: HostCertificate | None = None) -> Application:
    """For server processes, which get the settings as environment variables."""
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        end_with_parent(parent.pid)
    settings = Settings()
    configure_logs(settings.log_level)
    app = create_app(settings, certificate)
    _tune_interpreter()
    return app


def _tune_interpreter() -> None:
    """Let neither threads nor the garbage collector hold up the event loop, which yields its lock at each callback."""
    sys.setswitchinterval(SWITCH_SECONDS)
    # That a value is not finite is found by a product that numpy would warn of, and answered by an error.
    warnings.filterwarnings("ignore", "invalid value encountered", RuntimeWarning)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def _answer_errors_as_json(app: FastAPI) -> None:
    async def answer(request: Request, error: Exception) -> Response:
        code, headers, body = error_response(error)
        return Response(body, code, headers)

    async def answer_framework(request: Request, error: HTTPException) -> Response:
        wrong = InvalidRequest(f"{request.method} {request.url.path}: {error.detail}")
        _, headers, body = error_response(wrong)
        return Response(body, error.status_code, headers | dict(error.headers or {}))

    async def answer_validation(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return await answer(request, InvalidRequest(f"{where}: {first['msg']}"))

    async def nobody_listens(request: Request, error: Exception) -> Response:
        return Response(status_code=400)

    app.add_exception_handler(TFaaSError, answer)
    app.add_exception_handler(ClientDisconnect, nobody_listens)
    app.add_exception_handler(ClientGone, nobody_listens)
    app.add_exception_handler(HTTPException, answer_framework)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, answer_validation)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, answer)


def _describe(app: FastAPI, settings: Settings) -> None:
    framework_openapi = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = describe_predictions(framework_openapi(), settings.base_path, PREFIXES)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
