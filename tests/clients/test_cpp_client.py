"""The C++ client: its command line, its library as an installed package, and the original's functions."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tfaas_client import Client

from tests.servers import TFAAS, running_server

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
        ["--model=x", "--retries=-1", "1"],
        ["--model=x", "--branches=met", "1"],
        ["--model=x", "--rows=events.txt", "1"],
        ["--model=no_such_model", "--rows=/dev/null"],
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


def test_a_file_of_events_is_scored_line_by_line(
    tfaas_cpp: Run, flat_model: str, expected: Expected, tmp_path: Path
) -> None:
    events = [[float(number), number % 7 - 3.5, number % 5] for number in range(250_000)]
    path = tmp_path / "events.txt"
    path.write_text("# jets, met\n" + "".join(f"{second} {third},{first}\n" for first, second, third in events))
    answer = tfaas_cpp(f"--model={flat_model}", "--branches=jet_1_pt,jet_2_pt,met", f"--rows={path}")
    assert (answer.returncode, answer.stderr) == (0, "")
    scores = np.loadtxt(answer.stdout.splitlines())
    assert len(scores) == len(events)
    for number in (0, 1, 99_999, 100_000, 249_999):
        np.testing.assert_allclose(scores[number], expected(*events[number]), atol=1e-6)


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ("1 2 3\n\n4 5\n", "line 3: expected 3 numbers, got 2"),
        ("1 2 3 4\n", "line 1: expected 3 numbers, got 4"),
        ("1 2 high\n", "line 1: expected numbers, got high"),
        ("1 2 \0\n", "line 1: expected numbers, got \0"),
        ("1 2 " + 1000 * "x", "line 1: expected numbers, got " + 80 * "x"),
    ],
)
def test_a_line_that_is_no_event_is_named(
    tfaas_cpp: Run, one_line: OneLine, flat_model: str, events: str, problem: str
) -> None:
    refused = tfaas_cpp(f"--model={flat_model}", "--rows", "-", input=events)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert one_line(refused.stderr) == f"tfaas-cpp: {problem}\n"


def test_branches_that_do_not_fit_are_listed_beside_what_is_expected(
    tfaas_cpp: Run, one_line: OneLine, model: str
) -> None:
    refused = tfaas_cpp(f"--model={model}", "--rows=/dev/null", "--branches=met,jets")
    assert refused.returncode == 2
    problem = f"unknown branch 'jets', missing branch 'jet_pt': {model}:1 expects met, jet_pt (jagged, up to 2)"
    assert problem in one_line(refused.stderr)


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


def test_ten_threads_ask_a_bound_model(test_programs: Path, server: Any, model: str) -> None:
    """TFAAS_THREAD_REQUESTS=10000 is the long one."""
    requests = int(os.environ.get("TFAAS_THREAD_REQUESTS", "200"))
    command = [test_programs / "ten_threads", server.url, f"{model}@latest", str(requests)]
    finished = subprocess.run(command, text=True, capture_output=True, timeout=1800, check=False)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, f"{10 * requests}\n", "")


def test_many_events_are_scored_in_every_way(run: Run, test_programs: Path, server: Any, model: str) -> None:
    finished = run(test_programs / "many_events", server.url, model, "50001")
    assert (finished.returncode, finished.stderr) == (0, "")
    ways = ("rows", "columns", "future", "jagged", "bulk")
    assert finished.stdout.splitlines() == [f"{way} 50001 " for way in ways]


def test_a_model_stays_at_its_version(
    run: Run, test_programs: Path, unique_name: str, client: Client, model_files: Path, server: Any
) -> None:
    labels = model_files / "labels.txt"
    client.upload(unique_name, model_files / "model.onnx", params=model_files / "params.json", labels=labels)
    client.upload(unique_name, model_files / "model.onnx", params={"model": "model.onnx"})
    finished = run(test_programs / "ten_threads", server.url, f"{unique_name}:1", "1")
    assert (finished.returncode, finished.stdout) == (0, "10\n")
    refused = run(test_programs / "ten_threads", server.url, unique_name, "1")
    assert (refused.returncode, refused.stderr) == (1, f"2 branches: {unique_name}:2 expects 3 values\n")


def test_a_server_that_comes_back_is_found_again(
    test_programs: Path, model_files: Path, flat_manifest: dict[str, Any], tmp_path: Path
) -> None:
    with running_server(tmp_path / "data") as server:
        with Client(server.url) as client:
            client.upload("signal", model_files / "model.onnx", params=flat_manifest)
        with _patient(test_programs, server.url) as ask:
            assert ask() == "answered\n"
            server.kill()
            ask(wait=False)
            port = server.url.rpartition(":")[2]
            command = [TFAAS, "serve", "--port", port, "--data-dir", server.data_dir, "--log-level", "error"]
            with subprocess.Popen(command) as again:
                try:
                    assert ask(send=False) == "answered\n"
                finally:
                    again.terminate()


def test_another_server_answers_when_one_is_lost(
    test_programs: Path, model_files: Path, flat_manifest: dict[str, Any], tmp_path: Path
) -> None:
    database = f"--database=sqlite:///{tmp_path / 'registry.db'}"
    with running_server(tmp_path / "first", database) as first, running_server(tmp_path / "second", database) as second:
        with Client(first.url) as client:
            client.upload("signal", model_files / "model.onnx", params=flat_manifest)
        with _patient(test_programs, f"{first.url},{second.url}") as ask:
            assert ask() == "answered\n"
            first.kill()
            assert ask() == "answered\n"


@contextmanager
def _patient(programs: Path, urls: str) -> Iterator[Callable[..., str]]:
    """The program that answers each line; what is yielded sends one, waits for the answer, or both."""
    command = [programs / "patient", urls, "signal"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def ask(send: bool = True, wait: bool = True) -> str:
            if send:
                stdin.write("\n")
            return stdout.readline() if wait else ""

        yield ask


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
