"""Uploads and predictions against a real server, as clients in the field make them."""

import base64
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.networks import Network, linear_onnx
from tests.servers import Server
from tfaas.bundles.publish import pack
from tfaas.codecs.tfaas_pb2 import Predictions, Row


def curl(*arguments: str | Path) -> str:
    """What curl prints."""
    done = subprocess.run(["curl", "-s", "-S", *map(str, arguments)], capture_output=True, text=True, check=True)
    return done.stdout


def publish_linear(server: Server, name: str, weights: list[float], **params: object) -> dict[str, object]:
    answer = httpx.post(
        f"{server.url}/upload",
        data={"name": name},
        files={
            "model": ("m.onnx", linear_onnx(weights)),
            "params": ("params.json", json.dumps({"name": name, **params})),
        },
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def predict(server: Server, **body: object) -> httpx.Response:
    return httpx.post(f"{server.url}/json", content=json.dumps(body))


def test_curl_calls_of_the_original_work_as_printed(server: Server, network: Network, tmp_path: Path) -> None:
    folder = network.folder
    form = curl(
        *("-X", "POST", f"{server.url}/upload", "-F", "name=ImageModel", "-F", f"params=@{folder}/params.json"),
        *("-F", f"model=@{folder}/tf_model.pb", "-F", f"labels=@{folder}/labels.txt"),
    )
    assert json.loads(form)["model"] == "ImageModel"
    bundle = curl(
        *("-X", "POST", "-H", "Content-Encoding: gzip", "-H", "content-type: application/octet-stream"),
        *("--data-binary", f"@{folder}/model.tar.gz", f"{server.url}/upload"),
    )
    assert json.loads(bundle)["model"] == "model"
    rows = json.loads(curl(f"{server.url}/models"))
    image = next(row for row in rows if row["name"] == "ImageModel")
    assert image["inputNode"] == "dense_4_input"
    assert image["labels"] == "labels.txt"
    body = tmp_path / "input.json"
    values = network.events[0].tolist()
    body.write_text(json.dumps({"keys": [str(i) for i in range(27)], "values": values, "model": "model"}))
    with_keys = curl("-X", "POST", "-H", "Content-type: application/json", f"-d@{body}", f"{server.url}/json")
    body.write_text(json.dumps({"values": values, "model": "ImageModel"}))
    without_keys = curl(f"-d@{body}", f"{server.url}/predict/json")  # as application/x-www-form-urlencoded
    assert json.loads(with_keys) == pytest.approx([network.answers[0]], abs=1e-5)
    assert json.loads(without_keys) == pytest.approx([network.answers[0]], abs=1e-5)
    assert "ImageModel" in curl("-X", "DELETE", "-F", "model=ImageModel", f"{server.url}/delete")
    assert "model" in curl("-X", "DELETE", f"{server.url}/delete/model")
    assert not {"ImageModel", "model"} & {row["name"] for row in json.loads(curl(f"{server.url}/models"))}


def test_all_formats_of_one_network_agree_also_for_50_clients_at_once(server: Server, network: Network) -> None:
    uploads = {"same_onnx": "net.onnx", "same_keras": "net.keras", "same_frozen": "tf_model.pb"}
    for name, file in uploads.items():
        answer = httpx.post(
            f"{server.url}/upload",
            data={"name": name},
            files={"model": (file, (network.folder / file).read_bytes())},
            timeout=120,
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["runtime"] == "onnx", answer.json()["reason"]
    answer = httpx.post(
        f"{server.url}/upload",
        content=(network.folder / "model.tar.gz").read_bytes(),
        headers={"content-type": "application/gzip"},
        timeout=120,
    )
    assert answer.json()["runtime"] == "onnx"
    names = [*uploads, "model"]

    def one_client(index: int) -> float:
        event = index % len(network.events)
        body = {"values": network.events[event].tolist(), "model": names[index % len(names)]}
        got = httpx.post(f"{server.url}/json", json=body, timeout=60).json()
        return abs(got[0] - float(network.answers[event]))

    with ThreadPoolExecutor(50) as clients:
        assert max(clients.map(one_client, range(400))) < 1e-5


def test_base64_form_of_the_original_python_client(server: Server) -> None:
    answer = httpx.post(
        f"{server.url}/upload",
        data={"name": "b64"},
        files={
            "model": ("m.onnx", base64.encodebytes(linear_onnx([2.0]))),
            "params": ("params.json", b'{"name": "b64", "model": "m.onnx"}'),
        },
        headers={"Content-Encoding": "base64"},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    assert predict(server, values=[3], model="b64").json() == [6.0]


def test_keys_are_matched_by_name_and_reordered(server: Server) -> None:
    publish_linear(server, "named", [1.0, 10.0, 100.0], features=["a", "b", "c"])
    assert predict(server, keys=["a", "b", "c"], values=[1, 2, 3], model="named").json() == [321.0]
    assert predict(server, keys=["c", "a", "b"], values=[3, 1, 2], model="named").json() == [321.0]
    assert predict(server, values=[1, 2, 3], model="named").json() == [321.0]
    row = Row(key=["b", "c", "a"], value=[2, 3, 1], model="named")
    answer = httpx.post(f"{server.url}/proto", content=row.SerializeToString())
    assert [p.probability for p in Predictions.FromString(answer.content).prediction] == [321.0]


def test_keys_are_only_counted_when_the_model_declares_no_features(server: Server) -> None:
    publish_linear(server, "anonymous", [1.0, 10.0])
    assert predict(server, keys=["1", "0"], values=[1, 2], model="anonymous").json() == [21.0]
    answer = predict(server, keys=["0"], values=[1, 2], model="anonymous")
    assert answer.status_code == 400
    assert "1 keys but 2 values" in answer.json()["error"]


def test_labels_are_filled_in_where_the_model_has_them(server: Server) -> None:
    httpx.post(
        f"{server.url}/upload",
        data={"name": "labelled"},
        files={"model": ("m.onnx", linear_onnx([1.0])), "labels": ("names.txt", b"signal\nbackground\n")},
        timeout=60,
    ).raise_for_status()
    answer = httpx.post(f"{server.url}/predict/proto", content=Row(value=[4], model="labelled").SerializeToString())
    (prediction,) = Predictions.FromString(answer.content).prediction
    assert (prediction.label, prediction.probability) == ("signal", 4.0)


def test_jagged_features_are_padded_and_truncated_on_the_server(server: Server) -> None:
    from onnx import TensorProto, helper

    from tests.networks import model_bytes

    # Missing objects arrive as NaN; this graph counts them as 1000.
    graph = model_bytes(
        [
            helper.make_node("IsNaN", ["x"], ["missing"]),
            helper.make_node("Where", ["missing", "thousand", "x"], ["filled"]),
            helper.make_node("MatMul", ["filled", "w"], ["y"]),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])],
        thousand=np.float32(1000.0),
        w=np.ones((3, 1), np.float32),
    )
    params = {"name": "jagged", "features": ["met", {"name": "jet_pt", "kind": "jagged", "dim": 2}]}
    httpx.post(
        f"{server.url}/upload",
        data={"name": "jagged"},
        files={"model": ("m.onnx", graph), "params": ("params.json", json.dumps(params))},
        timeout=60,
    ).raise_for_status()
    keys = ["jet_pt", "met"]
    for objects, expected in (([], 2001), ([5], 1006), ([5, 7], 13), ([5, 7, 9], 13), ([None, 7], 1008)):
        assert predict(server, keys=keys, values=[objects, 1], model="jagged").json() == [expected]
    assert predict(server, values=[1, [5, 7]], model="jagged").json() == [13]
    row = Row(key=["jet_pt", "met", "jet_pt"], value=[5, 1, 7], model="jagged")
    answer = httpx.post(f"{server.url}/proto", content=row.SerializeToString())
    assert Predictions.FromString(answer.content).prediction[0].probability == 13
    empty = Row(key=["jet_pt", "met"], value=[float("nan"), 1], model="jagged")
    answer = httpx.post(f"{server.url}/proto", content=empty.SerializeToString())
    assert Predictions.FromString(answer.content).prediction[0].probability == 2001
    assert "missing feature 'jet_pt'" in predict(server, keys=["met"], values=[1], model="jagged").text
    assert "2 keys but rows of 1 values" in predict(server, keys=keys, values=[[1], [1]], model="jagged").text


def test_setting_params_makes_a_new_version_and_the_default_model(server: Server) -> None:
    publish_linear(server, "described", [1.0, 2.0], features=["a", "b"])
    answer = httpx.post(
        f"{server.url}/params", json={"name": "described", "features": ["b", "a"], "description": "x"}, timeout=60
    )
    assert answer.json()["version"] == 2
    assert predict(server, keys=["a", "b"], values=[1, 10]).json() == [12.0]  # the default model now
    assert predict(server, keys=["a", "b"], values=[1, 10], model="described:1").json() == [21.0]
    params = httpx.get(f"{server.url}/params/described").json()
    assert (params["description"], [f["name"] for f in params["features"]]) == ("x", ["b", "a"])
    again = httpx.post(f"{server.url}/params", json={"name": "described"}, timeout=60)
    assert again.json()["version"] == 2


def test_a_model_with_a_fixed_batch_dimension_is_served(server: Server, tmp_path: Path) -> None:
    archive = tmp_path / "b.tar"
    pack("fixed", {"m.onnx": linear_onnx([1.0, 2.0], batch=4)}, archive)
    answer = httpx.post(f"{server.url}/bundle", content=archive.read_bytes(), timeout=60)
    assert answer.status_code == 200, answer.text
    assert predict(server, values=[1, 2], model="fixed").json() == [5.0]


def test_openapi_describes_every_call(server: Server) -> None:
    paths = set(httpx.get(f"{server.url}/openapi.json").json()["paths"])
    assert paths >= {"/json", "/predict/json", "/proto", "/predict/proto", "/upload", "/bundle", "/models", "/status"}
    assert httpx.get(f"{server.url}/docs").status_code == 200


def test_status_tells_memory_load_and_requests(server: Server) -> None:
    before = httpx.get(f"{server.url}/status").json()
    after = httpx.get(f"{server.url}/status").json()
    assert after["getRequests"] == before["getRequests"] + 1
    assert after["Memory"]["Virtual"]["total"] > 0
    assert after["Uptime"] > before["Uptime"]


@pytest.mark.parametrize("kind", ["keras", "savedmodel"])
def test_several_inputs_keep_their_order(server: Server, tmp_path: Path, kind: str) -> None:
    script = tmp_path / "save.py"
    script.write_text(
        "import sys, keras\n"
        "z, a = keras.layers.Input((1,), name='zz'), keras.layers.Input((1,), name='aa')\n"
        "model = keras.Model([z, a], keras.layers.Add(name='sum')([keras.layers.Rescaling(10.0)(z), a]))\n"
        "model.save(sys.argv[1] + '.keras')\n"
        "model.export(sys.argv[1], verbose=False)\n"
    )
    subprocess.run([sys.executable, script, tmp_path / "two"], check=True, stderr=subprocess.DEVNULL)
    name = f"two_{kind}"
    files: dict[str, bytes | Path] = {}
    params: dict[str, object] = {"name": name, "features": ["first", "second"]}
    if kind == "keras":
        files["two.keras"] = tmp_path / "two.keras"
    else:
        for path in (tmp_path / "two").rglob("*"):
            if path.is_file():
                files[str(path.relative_to(tmp_path / "two"))] = path

    def upload() -> httpx.Response:
        pack(name, files | {"params.json": json.dumps(params).encode()}, tmp_path / "b.tar")
        return httpx.post(f"{server.url}/upload", content=(tmp_path / "b.tar").read_bytes(), timeout=120)

    if kind == "savedmodel":
        refused = upload()
        assert refused.status_code == 400
        assert "aa, zz of a SavedModel have no order" in refused.json()["error"]
        params["input_node"] = "zz,aa"
    answer = upload()
    assert answer.status_code == 200, answer.text
    assert predict(server, keys=["second", "first"], values=[2, 1], model=name).json() == [12.0]


def test_a_bundle_whose_parameters_name_nodes_of_the_graph_is_served(
    server: Server, network: Network, tmp_path: Path
) -> None:
    root = network.folder / "saved" / "model"
    files: dict[str, bytes | Path] = {str(p.relative_to(root)): p for p in root.rglob("*") if p.is_file()}
    nodes = {"input_name": "serving_default_inputs_input", "output_name": "StatefulPartitionedCall"}
    pack("by_nodes", files | {"params.json": json.dumps(nodes).encode()}, tmp_path / "b.tar")
    answer = httpx.post(f"{server.url}/upload", content=(tmp_path / "b.tar").read_bytes(), timeout=120)
    assert answer.status_code == 200, answer.text
    got = predict(server, values=network.events[0].tolist(), model="by_nodes").json()
    assert got == pytest.approx([network.answers[0]], abs=1e-5)


def test_integers_are_checked_where_the_model_takes_them(server: Server) -> None:
    from onnx import TensorProto, helper

    from tests.networks import model_bytes

    graph = model_bytes(
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)],
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["N", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])],
    )
    files = {"model": ("m.onnx", graph)}
    httpx.post(f"{server.url}/upload", data={"name": "bytes"}, files=files, timeout=60).raise_for_status()
    assert predict(server, values=[200], model="bytes").json() == [200.0]
    for value in (300, -1, 0.5):
        answer = predict(server, values=[value], model="bytes")
        assert answer.status_code == 400
        assert "expected an integer from 0 to 255" in answer.json()["error"]


def test_numbers_beyond_float32_are_refused(server: Server) -> None:
    publish_linear(server, "narrow", [1.0])
    answer = predict(server, values=[1e300], model="narrow")
    assert answer.status_code == 400
    assert "no finite float32" in answer.json()["error"]


def test_params_that_race_with_an_upload_are_refused(server: Server) -> None:
    publish_linear(server, "raced", [1.0])
    with ThreadPoolExecutor(2) as clients:
        uploaded = clients.submit(publish_linear, server, "raced", [2.0])
        time.sleep(0.1)
        changed = clients.submit(
            httpx.post, f"{server.url}/params", json={"name": "raced", "options": ["x"]}, timeout=60
        )
    assert uploaded.result()["version"] == 2
    assert changed.result().status_code == 409, changed.result().text
    assert predict(server, values=[1], model="raced").json() == [2.0]


def test_a_model_is_served_in_the_precision_that_its_manifest_asks_for(server: Server) -> None:
    weights = np.random.default_rng(3).normal(size=16).tolist()
    for name, serving in (("single", {}), ("half", {"precision": "float16"})):
        publish_linear(server, name, weights, serving=serving)
    values = np.random.default_rng(4).normal(size=16).tolist()
    single, half = (predict(server, model=name, values=values).json()[0] for name in ("single", "half"))
    assert half == pytest.approx(single, rel=0.01, abs=0.01)
    assert half != single
    reasons = {row["name"]: row["reason"] for row in httpx.get(f"{server.url}/models").json()}
    assert reasons["half"] == "uploaded as ONNX; in float16"
    answer = httpx.post(
        f"{server.url}/upload",
        data={"name": "large"},
        files={
            "model": ("m.onnx", linear_onnx([1e7])),
            "params": ("params.json", json.dumps({"serving": {"precision": "float16"}})),
        },
        timeout=60,
    )
    assert answer.status_code == 400
    assert "in float16 the model differs from itself in float32" in answer.json()["error"]
