"""The C++ programs and commands of the documentation: built against an installed client, and run where they can be."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tfaas_client import Client

from tests.servers import running_server

DOCS = Path(__file__).parents[2] / "docs"
STAND_INS = Path(__file__).parent / "cpp" / "root"
WRITTEN_URL = "http://localhost:8083"
PROGRAMS = [
    pytest.param(page, number, id=f"{page}-{number}")
    for page in ("clients-cpp", "rdataframe")
    for number in range(len(re.findall("^```cpp$", (DOCS / f"{page}.md").read_text(), re.MULTILINE)))
]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / f"{page}.md").read_text(), re.DOTALL | re.MULTILINE)


@dataclass
class Installed:
    """Where the client is, and a server with the model `signal` that the pages speak of."""

    prefix: Path
    url: str

    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.prefix / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "PKG_CONFIG_PATH": str(self.prefix / "lib/pkgconfig"),
            "LD_LIBRARY_PATH": str(self.prefix / "lib"),
            "TFAAS_URL": self.url,
        }

    def written(self, text: str) -> str:
        """A block with the places of this installation instead of those that the page shows."""
        return text.replace(WRITTEN_URL, self.url).replace("/opt/tfaas", str(self.prefix))

    def run(self, *command: object, folder: Path) -> subprocess.CompletedProcess[str]:
        parts = [str(part) for part in command]
        return subprocess.run(
            parts, cwd=folder, env=self.environment(), text=True, capture_output=True, timeout=300, check=False
        )

    def succeed(self, *command: object, folder: Path) -> str:
        finished = self.run(*command, folder=folder)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout


@pytest.fixture(scope="module")
def installed(cpp_program: Path, model_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    folder = tmp_path_factory.mktemp("installed")
    command = ["cmake", "--install", cpp_program.parent, "--prefix", folder / "prefix"]
    subprocess.run(command, check=True, capture_output=True)
    with running_server(folder / "data") as server:
        with Client(server.url) as client:
            labels = model_files / "labels.txt"
            client.upload("signal", model_files / "model.onnx", params=model_files / "params.json", labels=labels)
        yield Installed(folder / "prefix", server.url)


@pytest.mark.parametrize(("page", "number"), PROGRAMS)
def test_a_program_of_the_pages_works(installed: Installed, tmp_path: Path, page: str, number: int) -> None:
    program = blocks(page, "cpp")[number]
    (tmp_path / "program.cpp").write_text(installed.written(program))
    flags = installed.succeed("pkg-config", "--cflags", "--libs", "tfaas", folder=tmp_path).split()
    warnings = ["-Wall", "-Wextra", "-Werror"]
    command = ["g++", "-std=c++17", *warnings, f"-I{STAND_INS}", "program.cpp", *flags, "-lcurl", "-o", "program"]
    installed.succeed(*command, folder=tmp_path)
    if WRITTEN_URL in program:
        installed.succeed(tmp_path / "program", folder=tmp_path)


def test_the_project_of_the_page_finds_the_installed_client(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(blocks("clients-cpp", "cmake")[0])
    (tmp_path / "analysis.cpp").write_text(installed.written(blocks("clients-cpp", "cpp")[0]))
    installed.succeed("cmake", "-S.", "-Bbuild", f"-DCMAKE_PREFIX_PATH={installed.prefix}", folder=tmp_path)
    installed.succeed("cmake", "--build", "build", folder=tmp_path)
    name, score = installed.succeed(tmp_path / "build" / "analysis", folder=tmp_path).split()
    assert name == "signal:1"
    assert 0.5 < float(score) < 1


def test_the_compiler_commands_of_the_page_work(installed: Installed, tmp_path: Path) -> None:
    for name, part in (("analysis", "predict({"), ("single", "TFAAS_IMPLEMENTATION")):
        program = next(block for block in blocks("clients-cpp", "cpp") if part in block)
        (tmp_path / f"{name}.cpp").write_text(installed.written(program))
    commands = [block for block in blocks("clients-cpp", "sh") if block.startswith("g++")]
    for command in commands:
        installed.succeed("sh", "-c", installed.written(command), folder=tmp_path)
    printed = {installed.succeed(tmp_path / name, folder=tmp_path).split()[-1] for name in ("analysis", "single")}
    assert len(commands) == len(printed) == 2


def test_the_commands_of_the_page_print_scores(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "events.txt").write_text("41.5 80.2 35.1\n\n# no jets\n12, nan, nan\n")
    lines = next(block for block in blocks("clients-cpp", "sh") if block.startswith("tfaas-cpp")).splitlines()
    one, rows = [installed.succeed(*shlex.split(line), folder=tmp_path) for line in lines]
    labelled = dict(line.split() for line in one.splitlines())
    assert list(labelled) == ["signal", "background"]
    first, second = (json.loads(line) for line in rows.splitlines())
    assert first == pytest.approx([float(score) for score in labelled.values()])
    assert second == pytest.approx([0.529964, 0.470036], abs=1e-5)
