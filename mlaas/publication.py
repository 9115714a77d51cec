"""What a training publishes, and which alias moves."""

from collections.abc import Callable
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

    def holds(registry: str) -> tuple[bool, str]:
        assert condition is not None
        return condition.holds(trained.name, registry, trained.dataset, trained.test)

    return publish_bundled(options, trained.name, bundle, tell, holds if condition is not None else None)


def publish_bundled(
    options: TrainOptions,
    name: str,
    bundle: Path,
    tell: Tell,
    holds: Callable[[str], tuple[bool, str]] | None = None,
) -> dict[str, Any]:
    """The same for whatever has given the bundle.

    Args:
        holds: whether the alias moves, and why, by the registry it is in; None moves it.
    """
    if not options.publish:
        return {"version": None}
    try:
        promoted = options.alias is not None
        if holds is not None:
            # Before it is published, since the alias may be `latest`.
            promoted, why = holds(options.publish)
            tell(f"{options.alias} {'moves' if promoted else 'stays'}: {why}")
        published = publish_bundle(bundle, options.publish)
    except MlaasError as error:
        raise PublishError(f"{error}; the trained model is kept, {_how_to_publish(bundle, options.publish)}") from error
    tell(f"published as {name}:{published.version}, served by {published.runtime}: {published.reason}")
    if promoted and options.alias:
        set_alias(options.publish, name, published.version, options.alias)
        tell(f"{name}@{options.alias} is version {published.version}")
    return {"version": published.version, "alias": options.alias if promoted else None}


def _how_to_publish(bundle: Path, target: str) -> str:
    kept = bundle.resolve()
    if target.startswith("http"):
        return f"publish it by: curl --data-binary @{kept} {target.rstrip('/')}/upload"
    return f"publish it by: tfaas upload {kept} --database {target}"
