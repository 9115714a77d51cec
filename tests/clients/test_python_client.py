import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tfaas_client
from numpy.typing import NDArray
from tfaas_client import Client, ClientError, InputError, TransportError, Wire

Expected = Callable[..., NDArray[np.float32]]
EVENTS: list[tuple[float, list[float]]] = [(41.5, [80.2, 35.1]), (10.0, [25.0]), (-3.25, []), (np.nan, [50.0])]


@pytest.mark.parametrize("wire", ["json", "proto"])
@pytest.mark.parametrize(("met", "jet_pt"), EVENTS)
def test_predictions_follow_the_named_values(
    client: Client, model: str, expected: Expected, wire: Wire, met: float, jet_pt: list[float]
) -> None:
    answer = client.predict(model, {"jet_pt": jet_pt, "met": met}, wire=wire)
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, expected(met, *jet_pt), atol=1e-6)


def test_labels_come_with_classify(client: Client, model: str, expected: Expected) -> None:
    labels, probabilities = client.classify(model, {"met": 41.5, "jet_pt": [80.2]})
    assert labels == ("signal", "background")
    np.testing.assert_allclose(probabilities, expected(41.5, 80.2), atol=1e-6)


@pytest.mark.parametrize("wire", ["json", "proto"])
def test_positional_values_are_taken_in_order(client: Client, flat_model: str, expected: Expected, wire: Wire) -> None:
    answer = client.predict(flat_model, [41.5, 80.2, 35.1], wire=wire)
    np.testing.assert_allclose(answer, expected(41.5, 80.2, 35.1), atol=1e-6)


def test_upload_makes_the_next_version_and_delete_forgets_it(
    client: Client, model_files: Path, unique_name: str, flat_manifest: dict[str, Any]
) -> None:
    first = client.upload(
        unique_name, model_files / "model.onnx", model_files / "params.json", model_files / "labels.txt"
    )
    second = client.upload(unique_name, model_files / "model.onnx", params=flat_manifest)
    assert (first.model, first.version, second.version) == (unique_name, 1, 2)
    assert first.digest
    assert first.runtime
    assert unique_name in [described["name"] for described in client.models()]
    assert [feature["name"] for feature in client.params(unique_name)["features"]] == [
        "met",
        "jet_1_pt",
        "jet_2_pt",
    ]
    client.delete(unique_name)
    assert unique_name not in [described["name"] for described in client.models()]
    with pytest.raises(ClientError, match=unique_name):
        client.predict(unique_name, [1.0, 2.0, 3.0])


@pytest.mark.parametrize("packed", [True, False])
def test_a_bundle_is_published_under_the_name_of_its_folder(
    client: Client, model_files: Path, unique_name: str, tmp_path: Path, expected: Expected, packed: bool
) -> None:
    if packed:
        bundle = tmp_path / "bundle.tar.gz"
        with tarfile.open(bundle, "w:gz") as tar:
            tar.add(model_files, arcname=unique_name)
    else:
        bundle = model_files.rename(model_files.with_name(unique_name))
    try:
        uploaded = client.upload_bundle(bundle)
    finally:
        if not packed:
            bundle.rename(model_files)
    assert (uploaded.model, uploaded.version) == (unique_name, 1)
    np.testing.assert_allclose(
        client.predict(unique_name, {"met": 5.0, "jet_pt": [30.0]}), expected(5.0, 30.0), atol=1e-6
    )
    client.delete(unique_name)


def test_a_folder_with_a_link_is_not_packed(client: Client, tmp_path: Path) -> None:
    (tmp_path / "params.json").symlink_to("/etc/hostname")
    with pytest.raises(InputError, match=r"params\.json is a link"):
        client.upload_bundle(tmp_path)


def test_a_refused_upload_says_why_and_publishes_nothing(client: Client, unique_name: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"this is no model")
    with pytest.raises(ClientError) as refused:
        client.upload(unique_name, tmp_path / "model.onnx", params={"name": unique_name, "model": "model.onnx"})
    assert 400 <= refused.value.status < 500
    assert refused.value.message
    assert unique_name not in [described["name"] for described in client.models()]


@pytest.mark.parametrize("wire", ["json", "proto"])
def test_an_unknown_model_is_named_in_the_error(client: Client, wire: Wire) -> None:
    with pytest.raises(ClientError, match="no_such_model") as refused:
        client.predict("no_such_model", [1.0], wire=wire)
    assert 400 <= refused.value.status < 500


@pytest.mark.parametrize("wire", ["json", "proto"])
def test_a_missing_feature_is_named_in_the_error(client: Client, model: str, wire: Wire) -> None:
    with pytest.raises(ClientError, match="jet_pt"):
        client.predict(model, {"met": 1.0}, wire=wire)


def test_an_unknown_wire_is_refused(client: Client) -> None:
    wire: Any = "avro"
    with pytest.raises(InputError, match=r"avro.*json, proto"):
        client.predict("signal", [1.0], wire=wire)


def test_status_tells_about_the_server(client: Client) -> None:
    assert client.status()


def test_threads_may_share_a_client(client: Client, model: str, expected: Expected) -> None:
    def matches(index: int) -> bool:
        answer = client.predict(model, {"met": float(index), "jet_pt": [index / 2]}, wire="proto")
        return bool(np.allclose(answer, expected(index, index / 2), atol=1e-6))

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(matches, range(200)))


def test_an_unreachable_server_is_a_connection_error(closed_url: str) -> None:
    with Client(closed_url) as client, pytest.raises(tfaas_client.ConnectionError, match=closed_url):
        client.models()


@pytest.mark.parametrize("url", ["localhost:8083", "ftp://localhost", "http://localhost:port"])
def test_what_is_no_url_is_a_transport_error(url: str) -> None:
    with pytest.raises(TransportError), Client(url) as client:
        client.models()


def test_missing_files_are_named(client: Client, tmp_path: Path) -> None:
    for send in (client.upload_bundle, lambda path: client.upload("signal", path)):
        with pytest.raises(InputError, match=r"absent\.onnx cannot be read"):
            send(tmp_path / "absent.onnx")


def test_a_missing_certificate_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.pem"):
        Client("https://localhost", cert=tmp_path / "absent.pem")
