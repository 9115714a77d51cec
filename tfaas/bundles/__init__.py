"""An upload on its way in: unpack → manifest → convert → try → publish."""

from tfaas.bundles.convert import function_to_onnx
from tfaas.bundles.manifest import Feature, Manifest, parse_manifest
from tfaas.bundles.prove import ProofLimits
from tfaas.bundles.publish import current_user, pack, publish
from tfaas.errors import InvalidBundle, InvalidRequest, RegistryUnavailable, TFaaSError

__all__ = [
    "Feature",
    "InvalidBundle",
    "InvalidRequest",
    "Manifest",
    "ProofLimits",
    "RegistryUnavailable",
    "TFaaSError",
    "current_user",
    "function_to_onnx",
    "pack",
    "parse_manifest",
    "publish",
]
