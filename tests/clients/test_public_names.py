import inspect
import subprocess
import sys
from pathlib import Path

import tfaas_client
from tfaas_client import tfaas_pb2

from tfaas.codecs import tfaas_pb2 as server_pb2


def test_all_is_sorted_and_names_everything_public() -> None:
    public = {
        name for name, value in vars(tfaas_client).items() if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert set(tfaas_client.__all__) == public
    assert tfaas_client.__all__ == sorted(tfaas_client.__all__)


def test_errors_are_one_tree_and_fit_the_builtin_ones() -> None:
    for name in tfaas_client.__all__:
        value = getattr(tfaas_client, name)
        if inspect.isclass(value) and issubclass(value, Exception):
            assert issubclass(value, tfaas_client.TFaaSError)
    assert issubclass(tfaas_client.TimeoutError, TimeoutError)
    assert issubclass(tfaas_client.ConnectionError, ConnectionError)


def test_messages_of_client_and_server_live_in_one_process() -> None:
    sent = tfaas_pb2.Row(key=["met"], value=[1.5], model="signal")
    assert server_pb2.Row.FromString(sent.SerializeToString()) == sent
    assert server_pb2.DESCRIPTOR is tfaas_pb2.DESCRIPTOR


def test_type_checkers_tell_one_event_from_many() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", Path(__file__).with_name("typed_usage.py")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
