"""The C++ client: its command line, its library as an installed package, and the original's functions."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tfaas_client import Client

Run = Callable[..., subprocess.CompletedProcess[str]]
OneLine = Callable[[str], str]
Expected = Callable[..., NDArray[np.float32]]


@pytest.fixture
def tfaas_cpp(server: Any, run: Run, cpp_program: Path) -> Run:
    return lambda *arguments, **options: run(cpp_program, "--url", server.url, *arguments, **options)


@pytest.mark.parametrize(("met", "jet_pt"), [(41.5, [80.2, 35.1]), (1e-4, [3.0]), (-7.0, ["nan"])])
def test_the_program_agrees_with_the_python_client(
    tfaas_cpp: Run, client: Client, model: str, met: float, jet_pt: list[Any]
) -> None:
    jets = [f"jet_pt={value}" for value in jet_pt]
    answer = tfaas_cpp("--model", model, "--json", f"met={met}", *jets)
    assert (answer.returncode, answer.stderr) == (0, "")
    python = client.predict(model, {"met": met, "jet_pt": [float(value) for value in jet_pt]})
    np.testing.assert_allclose(json.loads(answer.stdout), python, atol=1e-6)


def test_the_program_prints_a_line_for_each_output(
    tfaas_cpp: Run, model: str, flat_model: str, expected: Expected
) -> None:
    labelled = tfaas_cpp(f"--model={model}", "met=1", "jet_pt=2").stdout.splitlines()
    assert [line.split()[0] for line in labelled] == ["signal", "background"]
    positional = tfaas_cpp(f"--model={flat_model}", "1", "-2.5", "nan").stdout.splitlines()
    assert [line.split()[0] for line in positional] == ["0", "1"]
    np.testing.assert_allclose([float(line.split()[1]) for line in positional], expected(1, -2.5), atol=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["1"],
        ["--model"],
        ["--model=x", "met=high"],
        ["--model=x", "met="],
        ["--model=x", "met=1", "2"],
        ["--model=x", "--timeout=never", "1"],
        ["--model=x", "--speed=3", "1"],
        ["--model=x", "--url=no url", "1"],
        ["--model=no_such_model", "met=1"],
    ],
)
def test_what_the_user_can_mend_exits_2_with_one_line(tfaas_cpp: Run, one_line: OneLine, arguments: list[str]) -> None:
    refused = tfaas_cpp(*arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert one_line(refused.stderr).startswith("tfaas-cpp: ")


def test_a_wrong_number_of_values_is_explained(tfaas_cpp: Run, one_line: OneLine, flat_model: str) -> None:
    refused = tfaas_cpp("--model", flat_model, "1", "2")
    assert refused.returncode == 2
    assert "3" in one_line(refused.stderr)


def test_the_program_names_an_unreachable_server(tfaas_cpp: Run, one_line: OneLine, closed_url: str) -> None:
    refused = tfaas_cpp("--url", closed_url, "--model=x", "1")
    assert refused.returncode == 2
    assert closed_url in one_line(refused.stderr)


def test_its_own_tests_pass(cpp_program: Path) -> None:
    _ctest(cpp_program.parent)


def test_its_own_tests_pass_under_sanitizers(test_programs: Path) -> None:
    _ctest(test_programs.parent / "client")


def test_threads_share_a_client_and_get_right_answers(run: Run, test_programs: Path, server: Any, model: str) -> None:
    finished = run(test_programs / "many_threads", server.url, model)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "400\n", "")


def test_failures_are_values(run: Run, test_programs: Path, server: Any, closed_url: str) -> None:
    finished = run(test_programs / "failures", server.url, closed_url)
    assert (finished.returncode, finished.stderr) == (0, "")
    unknown, uneven, unreachable, no_url, moved_from, moved = finished.stdout.splitlines()
    assert unknown.startswith("4")
    assert "no_such_model" in unknown
    assert "2 keys and 1 values" in uneven
    assert closed_url in unreachable
    assert no_url.startswith("0 no url/proto")
    assert "moved from" in moved_from
    assert moved.startswith("4")
    assert all(line.endswith(" 0") for line in finished.stdout.splitlines())


def test_a_program_for_the_original_client_works(
    run: Run, one_line: OneLine, test_programs: Path, server: Any, model: str, expected: Expected
) -> None:
    finished = run(test_programs / "original_program", f"{server.url}/proto", model)
    assert finished.returncode == 0
    signal, background, outputs, refused = finished.stdout.splitlines()
    assert signal.startswith("signal ")
    assert background.startswith("background ")
    assert float(signal.split()[1]) == pytest.approx(expected(41.5, 80.2, 35.1)[0], abs=1e-5)
    assert (outputs, refused) == ("2", "0")
    assert "no_such_model" in one_line(finished.stderr)


def _ctest(build: Path) -> None:
    command = ["ctest", "--test-dir", build, "--output-on-failure", "--no-tests=error"]
    finished = subprocess.run(command, text=True, capture_output=True, timeout=600, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
