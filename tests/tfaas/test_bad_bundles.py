"""Archives that are broken or hostile are refused, and nothing of them stays."""

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import h5py
import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.networks import linear_onnx, model_bytes
from tests.servers import Server, running_server

GOOD = linear_onnx([2.0])


def archive(*members: tuple[str, bytes | tarfile.TarInfo]) -> bytes:
    """A .tar.gz with these members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members:
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                tar.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def repacked(packed: bytes, kind: str) -> bytes:
    return {"bz2": bz2.compress, "xz": lzma.compress}[kind](gzip.decompress(packed))


def special(kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


def params(**fields: object) -> bytes:
    return json.dumps(fields).encode()


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory: pytest.TempPathFactory):
    """A server with small limits, and a folder for temporary files of its own."""
    folder = tmp_path_factory.mktemp("strict")
    (folder / "temporary").mkdir()
    with running_server(
        folder / "data",
        TMPDIR=str(folder / "temporary"),
        TFAAS_MAX_UNPACKED=str(8 * 1024**2),
        TFAAS_MAX_MEMBERS="50",
        TFAAS_PROVE_TIMEOUT="60",
    ) as server:
        answer = httpx.post(f"{server.url}/upload", content=archive(("good/m.onnx", GOOD)), timeout=60)
        assert answer.status_code == 200, answer.text
        yield server


def files_below(folder: Path) -> set[Path]:
    own = {".lock", "running", "crashed"}
    return {
        path for path in folder.rglob("*") if path.is_file() and path.name not in own and "registry" not in path.name
    }


def ops(*nodes: object, output: str = "y", **constants: object) -> bytes:
    return model_bytes(
        list(nodes),
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", 2])],
        **constants,
    )


def external_data(location: str) -> bytes:
    """A model whose weight is said to lie in another file."""
    model = onnx.load_from_string(GOOD)
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    return model.SerializeToString()


def lying_tensor() -> bytes:
    """A weight that says it has a thousand million numbers, and brings one."""
    model = onnx.load_from_string(GOOD)
    model.graph.initializer[0].dims[:] = [1_000_000_000, 1]
    return model.SerializeToString()


def keras_file(config: dict[str, object], weights: bytes = b"") -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("metadata.json", '{"keras_version": "3.0.0"}')
        file.writestr("config.json", json.dumps(config))
        file.writestr("model.weights.h5", weights)
    return target.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return target.getvalue()


def broken_zip() -> bytes:
    """A zip file whose directory leads to nothing."""
    content = zipped({"a": b"hello"})
    return b"X" * 4 + content[4:]


def keras_model(class_name: str, module: str, **config: object) -> bytes:
    """A Keras file with a layer of the user's choosing."""
    shape = {"batch_shape": [None, 1], "dtype": "float32", "name": "input"}
    layers = [
        {"module": "keras.layers", "class_name": "InputLayer", "config": shape, "registered_name": None},
        {"module": module, "class_name": class_name, "config": {"name": "l", **config}, "registered_name": None},
    ]
    sequential = {"name": "s", "trainable": True, "layers": layers, "build_input_shape": [None, 1]}
    return keras_file({"module": "keras", "class_name": "Sequential", "config": sequential, "registered_name": None})


def hdf5_bomb() -> bytes:
    """Weights of a few kilobytes that unfold to 64 GB."""
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        group = file.create_group("layers/dense/vars")
        group.create_dataset("0", shape=(8_000_000_000, 1), dtype="f8", chunks=(1_000_000, 1), compression="gzip")
    return target.getvalue()


def dense_with(weights: bytes) -> bytes:
    shape = {"batch_shape": [None, 1], "dtype": "float32", "name": "input"}
    layers = [
        {"module": "keras.layers", "class_name": "InputLayer", "config": shape, "registered_name": None},
        {
            "module": "keras.layers", "class_name": "Dense", "registered_name": None,
            "config": {"name": "dense", "units": 1, "use_bias": False}, "build_config": {"input_shape": [None, 1]},
        },
    ]  # fmt: skip
    sequential = {"name": "s", "trainable": True, "layers": layers, "build_input_shape": [None, 1]}
    config = {"module": "keras", "class_name": "Sequential", "config": sequential, "registered_name": None}
    return keras_file(config, weights)


LAMBDA = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None, "closure": None}}

# fmt: off
BAD = {
    "traversal": (archive(("m/m.onnx", GOOD), ("m/../../../canary", b"x")), "expected a name inside the bundle"),
    "absolute": (archive(("/tmp/canary", b"x")), "expected a name inside the bundle"),
    "symbolic link": (archive(("m/link", special(tarfile.SYMTYPE, "/etc"))), "no regular file or folder"),
    "hard link": (archive(("m/a", b"x"), ("m/b", special(tarfile.LNKTYPE, "m/a"))), "no regular file or folder"),
    "device": (archive(("m/null", special(tarfile.CHRTYPE))), "no regular file or folder"),
    "fifo": (archive(("m/fifo", special(tarfile.FIFOTYPE))), "no regular file or folder"),
    "duplicate": (archive(("m/m.onnx", GOOD), ("m/m.onnx", GOOD)), "twice"),
    "file and folder": (archive(("m/a", b"x"), ("m/a/b", b"x")), "both as a file and as a folder"),
    "control characters": (archive(("m/a\nb", b"x")), "no name for a file"),
    "too many members": (archive(*((f"m/{i}", b"") for i in range(60))), "more than 50 members"),
    "bomb": (archive(("m/zeros", bytes(9 * 1024**2))), "more than 8388608 bytes"),
    "bomb in bzip2": (repacked(archive(("m/zeros", bytes(9 * 1024**2))), "bz2"), "more than 8388608 bytes"),
    "bomb in xz": (repacked(archive(("m/zeros", bytes(9 * 1024**2))), "xz"), "more than 8388608 bytes"),
    "bomb in a Keras file": (
        archive(("m/m.keras", keras_file({}, bytes(9 * 1024**2)))), "unpacks to more than 8388608 bytes"
    ),
    "bomb in HDF5": (archive(("m/m.keras", dense_with(hdf5_bomb()))), "'m.keras'"),
    "Keras Lambda": (archive(("m/m.keras", keras_model("Lambda", "keras.layers", function=LAMBDA))), "'m.keras'"),
    "Keras class of others": (archive(("m/m.keras", keras_model("Popen", "subprocess", args="touch"))), "'m.keras'"),
    "Keras function of others": (
        archive(("m/m.keras", keras_model("Activation", "keras.layers", activation={
            "module": "os", "class_name": "function", "config": "system", "registered_name": "system"}))), "'m.keras'"
    ),
    "ONNX data outside": (archive(("m/m.onnx", external_data("../../../../canary"))), "no ONNX model"),
    "ONNX data at an absolute path": (archive(("m/m.onnx", external_data("/etc/passwd"))), "no ONNX model"),
    "ONNX tensor that lies": (archive(("m/m.onnx", lying_tensor())), "ONNX"),
    "pickle as ONNX": (archive(("m/m.onnx", pickle.dumps(print))), "'m.onnx' is a pickle"),
    "pickle as Keras": (archive(("m/m.keras", pickle.dumps(print))), "'m.keras' is a pickle"),
    "pickle as a graph": (archive(("m/m.pb", pickle.dumps(print))), "'m.pb' is a pickle"),
    "pickle beside a model": (archive(("m/m.onnx", GOOD), ("m/a/notes.txt", pickle.dumps(print))), "'notes.txt' is a"),
    "pickle of the first protocol": (
        archive(("m/m.onnx", GOOD), ("m/labels", b"cos\nsystem\n(S'true'\ntR.")), "'labels' is a pickle"
    ),
    "pickle in a zip file": (
        archive(("m/m.onnx", GOOD), ("m/m.pt", zipped({"m/data.pkl": pickle.dumps(print)}))), "the pickle 'm/data.pkl'"
    ),
    "broken zip file": (archive(("m/m.onnx", GOOD), ("m/m.pt", broken_zip())), "'m.pt' is a broken zip file"),
    "name that no file system likes": (archive(("m/" + "a" * 300, b"x")), "no name for a file"),
    "backslashes": (archive(("m\\..\\canary", b"x")), "no name for a file"),
    "empty": (archive(), "holds no files"),
    "truncated": (archive(("m/m.onnx", os.urandom(5000)))[:3000], "can't be read"),
    "cut after its members": (archive(("m/m.onnx", GOOD))[:-9], "can't be read"),
    "gzip of no tar": (gzip.compress(b"hello" * 1000), "can't be read"),
    "no model": (archive(("m/readme.txt", b"hello")), "holds no model, only readme.txt"),
    "two models": (archive(("m/a.onnx", GOOD), ("m/b.onnx", GOOD)), "several models (a.onnx, b.onnx)"),
    "unknown format": (archive(("m/m.pkl", b"\x80\x04."), ("m/params.json", params(model="m.pkl"))), "is no model"),
    "named model missing": (archive(("m/m.onnx", GOOD), ("m/params.json", params(model="x"))), "not in the bundle"),
    "not ONNX": (archive(("m/m.onnx", b"hello")), "no ONNX model"),
    "not Keras": (archive(("m/m.keras", b"hello")), "Keras can't load 'm.keras'"),
    "not frozen": (archive(("m/m.pb", b"hello")), "frozen graph"),
    "not SavedModel": (archive(("m/saved_model.pb", b"\x08\x01hello")), "'saved_model.pb' is no SavedModel"),
    "bad name": (archive(("-m/m.onnx", GOOD)), "not allowed"),
    "two names": (archive(("m/m.onnx", GOOD), ("m/params.json", params(name="n"))), "expected one name"),
    "no name": (archive(("m.onnx", GOOD)), "no top folder and no name"),
    "wrong width": (archive(("m/m.onnx", GOOD), ("m/params.json", params(features=["a", "b"]))), "fill 2 numbers"),
    "labels missing": (archive(("m/m.onnx", GOOD), ("m/params.json", params(labels="l.txt"))), "not in the bundle"),
    "jagged without dim type": (
        archive(("m/m.onnx", GOOD), ("m/params.json", params(features=[{"name": "a", "kind": "round"}]))),
        "params.json: features.0.kind",
    ),
    "answers that depend on the batch": (
        archive(("m/m.onnx", ops(helper.make_node("Softmax", ["x"], ["y"], axis=0)))), "differently alone"
    ),
    "half a surrogate": (archive(("m/m.onnx", GOOD), ("m/params.json", b'{"metrics": {"x": "\\ud800"}}')), "not JSON"),
    "NUL": (archive(("m/m.onnx", GOOD), ("m/params.json", b'{"description": "\\u0000"}')), "NUL characters"),
    "infinity": (archive(("m/m.onnx", GOOD), ("m/params.json", b'{"metrics": {"x": 1e400}}')), "not JSON"),
    "output that is not there": (
        archive(("m/m.onnx", GOOD), ("m/params.json", params(output_node="nope"))), "output_node 'nope' is none of y"
    ),
    "NaN": (archive(("m/m.onnx", GOOD), ("m/params.json", b'{"metrics": {"x": NaN}}')), "NaN is no JSON"),
    "reference events differ": (
        archive(("m/m.onnx", GOOD), ("m/reference.json", params(inputs=[[1.0]], outputs=[[3.0]]))),
        "differ by up to 1 ",
    ),
}
# fmt: on


@pytest.mark.parametrize("kind", BAD)
def test_bad_bundle_is_refused_and_leaves_nothing(strict_server: Server, kind: str) -> None:
    content, reason = BAD[kind]
    before = files_below(strict_server.data_dir)
    answer = httpx.post(f"{strict_server.url}/upload", content=content, timeout=120)
    assert answer.status_code == 400, answer.text
    assert reason in answer.json()["error"]
    assert [row["name"] for row in httpx.get(f"{strict_server.url}/models").json()] == ["good"]
    assert files_below(strict_server.data_dir) == before
    left = {path.name for path in (strict_server.data_dir.parent / "temporary").iterdir()}
    assert left <= {".ses"}  # which ONNX Runtime itself leaves there when it is imported
    assert httpx.post(f"{strict_server.url}/json", json={"values": [4]}).json() == [8.0]


def test_what_only_looks_like_a_pickle_is_taken(strict_server: Server) -> None:
    # The first begins like the name of a function, the second holds numbers only.
    files = (("m/labels.txt", b"cat\ndog\n"), ("m/numbers", pickle.dumps([1, 2])))
    answer = httpx.post(f"{strict_server.url}/upload", content=archive(("m/m.onnx", GOOD), *files), timeout=60)
    assert answer.status_code == 200, answer.text
    assert httpx.delete(f"{strict_server.url}/delete/m").status_code == 200


def test_clutter_of_macos_is_passed_over(strict_server: Server) -> None:
    content = archive(("./mac/._m.onnx", b"x"), ("./mac/m.onnx", GOOD), ("./._mac", b"x"))
    assert httpx.post(f"{strict_server.url}/upload", content=content, timeout=60).json()["model"] == "mac"
    httpx.delete(f"{strict_server.url}/delete/mac").raise_for_status()


def test_a_model_that_does_not_end_is_given_up(tmp_path: Path) -> None:

    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Identity", ["v"], ["v_next"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, ["N", 1]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v_next", TensorProto.FLOAT, ["N", 1]),
        ],
    )
    endless = model_bytes(
        [helper.make_node("Loop", ["", "yes", "x"], ["y"], body=body)],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])],
        yes=np.array(True),
    )
    with running_server(tmp_path / "data", TFAAS_PROVE_TIMEOUT="4") as server:
        answer = httpx.post(f"{server.url}/upload", content=archive(("endless/m.onnx", endless)), timeout=60)
        assert answer.status_code == 400
        assert "not ready after 4 s" in answer.json()["error"]
        assert httpx.get(f"{server.url}/models").json() == []
        assert files_below(server.data_dir / "tmp") == set()


def test_a_graph_that_touches_files_is_refused(strict_server: Server, tmp_path: Path) -> None:
    script = tmp_path / "save.py"
    script.write_text(
        "import sys, tensorflow as tf\n"
        "class M(tf.Module):\n"
        "    @tf.function(input_signature=[tf.TensorSpec((None, 1), tf.float32, name='x')])\n"
        "    def __call__(self, x):\n"
        "        secret = tf.io.decode_raw(tf.io.read_file('/etc/hostname'), tf.uint8)\n"
        "        return {'y': x + tf.cast(secret[0], tf.float32)}\n"
        "m = M()\n"
        "tf.saved_model.save(m, sys.argv[1], signatures={'serving_default': m.__call__})\n"
    )
    subprocess.run([sys.executable, script, tmp_path / "spy"], check=True, stderr=subprocess.DEVNULL)
    with tarfile.open(tmp_path / "spy.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "spy", "spy")
    content = (tmp_path / "spy.tar.gz").read_bytes()
    answer = httpx.post(f"{strict_server.url}/upload", content=content, timeout=120)
    assert answer.status_code == 400
    assert "the graph uses the operation 'ReadFile'" in answer.json()["error"]


def test_operations_that_touch_anything_are_refused_and_those_that_compute_are_not(tmp_path: Path) -> None:
    """In the graph and in functions, whether anything calls them or not."""
    script = tmp_path / "check.py"
    script.write_text(CHECK_OPERATIONS)
    done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    assert {name: reason for name, reason in answers.items() if "expected none" not in reason} == {
        "dense": "", "lookup": "", "random": "", "loop": ""
    }  # fmt: skip


CHECK_OPERATIONS = """
import json, sys
from pathlib import Path
import tensorflow as tf
from tfaas.bundles.graphs import check_operations
from tfaas.errors import InvalidBundle

folder = Path(sys.argv[1])
spec = [tf.TensorSpec((None, 2), tf.float32, name="x")]
answers = {}

def ask(name, path):
    try:
        check_operations(path)
        answers[name] = ""
    except InvalidBundle as error:
        answers[name] = str(error)

def saved(name, body, **things):
    module = tf.Module()
    module.v = tf.Variable(tf.ones((2, 1)))
    for key, value in things.items():
        setattr(module, key, value)
    module.f = tf.function(lambda x: {"y": body(x, module)}, input_signature=spec)
    tf.saved_model.save(module, str(folder / name), signatures={"serving_default": module.f})
    ask(name, folder / name / "saved_model.pb")

table = tf.lookup.StaticHashTable(
    tf.lookup.KeyValueTensorInitializer(tf.constant([1, 2], tf.int64), tf.constant([3.0, 4.0])), 0.0)
saved("dense", lambda x, m: x @ m.v)
saved("lookup", lambda x, m: m.table.lookup(tf.cast(x, tf.int64)), table=table)
saved("random", lambda x, m: x + tf.random.uniform(tf.shape(x)))
saved("loop", lambda x, m: tf.while_loop(lambda i, z: i < 3, lambda i, z: (i + 1, z * 2), (0, x))[1])
saved("write", lambda x, m: (tf.io.write_file("/tmp/canary", "x"), x)[1])
saved("python", lambda x, m: tf.py_function(lambda z: z, [x], tf.float32))
saved("numpy", lambda x, m: tf.numpy_function(lambda z: z, [x], tf.float32, stateful=False))
saved("match", lambda x, m: x + tf.cast(tf.size(tf.io.matching_files("/etc/*")), tf.float32))
saved("print", lambda x, m: (tf.print(x), x)[1])
saved("nested", lambda x, m: tf.cond(tf.reduce_sum(x) > 1e9, lambda: tf.io.parse_tensor(
    tf.io.read_file("/etc/hostname"), tf.float32), lambda: x))
saved("save", lambda x, m: (tf.raw_ops.SaveV2(
    prefix="/tmp/canary", tensor_names=["a"], shape_and_slices=[""], tensors=[x]), x)[1])
saved("restore", lambda x, m: x + tf.raw_ops.RestoreV2(
    prefix="/tmp/canary", tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32])[0])
vocabulary = folder / "vocabulary.txt"
vocabulary.write_text("a")
saved("mapped file", lambda x, m: x + tf.raw_ops.ImmutableConst(
    dtype=tf.float32, shape=[1], memory_region_name="/etc/hostname"))
saved("record file", lambda x, m: (tf.raw_ops.DatasetToTFRecord(
    input_dataset=tf.data.Dataset.from_tensors("a")._variant_tensor,
    filename="/tmp/canary", compression_type=""), x)[1])
saved("text file", lambda x, m: x + tf.cast(m.words.size(), tf.float32), words=tf.lookup.StaticHashTable(
    tf.lookup.TextFileInitializer(str(vocabulary), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
    tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER), 0))
graph = tf.compat.v1.GraphDef()
graph.node.add(name="x", op="Placeholder").attr["dtype"].type = 1
graph.node.add(name="y", op="NoSuchOperation", input=["x"])
(folder / "unknown.pb").write_bytes(graph.SerializeToString())
ask("unknown", folder / "unknown.pb")
graph.node[1].op = "Identity"
function = graph.library.function.add()
function.signature.name = "sleeper"
function.node_def.add(name="r", op="ReadFile")
(folder / "sleeper.pb").write_bytes(graph.SerializeToString())
ask("sleeper", folder / "sleeper.pb")
print(json.dumps(answers))
"""
