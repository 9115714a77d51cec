"""What a training publishes, and which alias moves."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlaas.errors import MlaasError, ParameterError, PublishError
from mlaas.options import TrainOptions
from mlaas.promotion import Condition
from mlaas.publish import check_target, publish_bundle, set_alias
from mlaas.training import Trained
from tfaas.bundles import InvalidRequest
from tfaas.registry import check_name

Tell = Callable[[str], None]


def model_name(options: TrainOptions) -> str:
    """The name of the model, or that of its file; raises ParameterError for one that no model can have."""
    given = options.name is not None
    try:
        return check_name(options.name if options.name is not None else options.model.stem)
    except InvalidRequest as error:
        where = "--name" if given else f"--model {options.model}, give a --name"
        raise ParameterError(f"{where}: {error}") from error


def check_publication(options: TrainOptions, name: str) -> Condition | None:
    """Find out before the training that what is to be published can be; the condition for the alias."""
    if not options.publish:
        for option, value in (("--alias", options.alias), ("--promote-if", options.promote_if)):
            if value is not None:
                raise ParameterError(f"{option} {value}: --publish is missing, which says where")
        return None
    condition = Condition.parse(options.promote_if) if options.promote_if is not None else None
    if condition is not None and options.alias is None:
        raise ParameterError(f"--promote-if {options.promote_if}: --alias is missing, which says what moves")
    if options.alias is not None:
        try:
            check_name(options.alias, "alias")
        except InvalidRequest as error:
            raise ParameterError(f"--alias: {error}") from error
    check_target(options.publish, name, options.any_owner)
    return condition


def publish_trained(
    options: TrainOptions, trained: Trained, bundle: Path, condition: Condition | None, tell: Tell
) -> dict[str, Any]:
    """Publish the bundle and move the alias: what the summary says about it."""
    if not options.publish:
        return {"version": None}
    promoted = options.alias is not None
    if condition is not None:
        # Before it is published, since the alias may be `latest`.
        with _bundle_kept(bundle, options.publish):
            promoted, why = condition.holds(trained.name, options.publish, trained.dataset, trained.test)
        tell(f"{options.alias} {'moves' if promoted else 'stays'}: {why}")
    alias = options.alias if promoted else None
    return {"version": publish_kept(options.publish, bundle, alias, tell), "alias": alias}


def publish_kept(target: str, bundle: Path, alias: str | None, tell: Tell) -> int:
    """Publish a bundle at a database or server URL, and let an alias point at it: the version that it has become.

    Raises:
        PublishError: The registry refuses, or is away; the message says how to publish what is kept.
    """
    with _bundle_kept(bundle, target):
        published = publish_bundle(bundle, target)
    tell(f"published as {published.model}:{published.version}, served by {published.runtime}: {published.reason}")
    if alias is not None:
        set_alias(target, published.model, published.version, alias)
        tell(f"{published.model}@{alias} is version {published.version}")
    return published.version


@contextmanager
def _bundle_kept(bundle: Path, target: str) -> Iterator[None]:
    try:
        yield
    except MlaasError as error:
        raise PublishError(f"{error}; the trained model is kept, {_how_to_publish(bundle, target)}") from error


def _how_to_publish(bundle: Path, target: str) -> str:
    kept = bundle.resolve()
    if target.startswith("http"):
        return f"publish it by: curl --data-binary @{kept} {target.rstrip('/')}/upload"
    return f"publish it by: tfaas upload {kept} --database {target}"
