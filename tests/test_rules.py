"""Rules of the design that a machine can check."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MLAAS_MAY_IMPORT = ("tfaas.bundles", "tfaas.registry")


def imports(package: str) -> Iterator[tuple[Path, str]]:
    """Each module of a package, with every name it imports."""
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield from ((path, f"{node.module}.{alias.name}") for alias in node.names)


def below(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_tfaas_never_imports_mlaas() -> None:
    assert [(path, name) for path, name in imports("tfaas") if below(name, "mlaas")] == []


def test_mlaas_imports_only_bundles_and_registry_of_tfaas() -> None:
    wrong = [
        (path, name)
        for path, name in imports("mlaas")
        if below(name, "tfaas") and not any(below(name, allowed) for allowed in MLAAS_MAY_IMPORT)
    ]
    assert wrong == []


def test_the_python_client_imports_neither() -> None:
    found = [(path, name) for path, name in imports("clients/python") if below(name, "tfaas") or below(name, "mlaas")]
    assert found == []


@pytest.mark.parametrize("target", ["tfaas/codecs", "clients/python/tfaas_client"])
def test_the_generated_messages_are_current(target: str, tmp_path: Path) -> None:
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", "-Iproto"),
            *(f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", "proto/tfaas.proto"),
        ],
        cwd=ROOT,
        check=True,
    )
    for name in ("tfaas_pb2.py", "tfaas_pb2.pyi"):
        assert (ROOT / target / name).read_text() == (tmp_path / name).read_text(), "run `make proto`"


def test_the_field_numbers_of_clients_in_the_field_have_not_changed() -> None:
    from tfaas.codecs import tfaas_pb2

    fields = {
        message.name: {field.name: field.number for field in message.fields}
        for message in tfaas_pb2.DESCRIPTOR.message_types_by_name.values()
    }
    assert fields == {
        "Row": {"key": 1, "value": 2, "model": 3},
        "DataFrame": {"row": 1},
        "Class": {"label": 1, "probability": 2},
        "Predictions": {"prediction": 1},
        "Detector": {"name": 1, "x": 2, "y": 3, "z": 4},
        "Hits": {"det": 1},
        "Output": {"name": 1, "width": 2, "value": 3, "label": 4},
        "Outputs": {"output": 1},
    }


def test_every_setting_is_in_the_documentation() -> None:
    from tfaas.settings import Settings

    table = (ROOT / "docs" / "settings.md").read_text()
    missing = [name for name in Settings.model_fields if f"`TFAAS_{name.upper()}`" not in table]
    assert missing == []
