"""The notebook is committed without outputs, and runs from its first cell to its last in a kernel of its own."""

import os
import re
from pathlib import Path

import nbformat
import psutil
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorial.ipynb"


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=nbformat.NO_CONVERT)


def test_it_is_committed_without_outputs(notebook: nbformat.NotebookNode) -> None:
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.metadata == {}
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_it_runs_and_leaves_nothing_behind(
    notebook: nbformat.NotebookNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, temporary = tmp_path / "work", tmp_path / "tmp"
    for folder in (work, temporary):
        folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    for name in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(work)}})
    client.execute()  # raises what a cell has raised
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    told = "".join(output.text for output in outputs if output.get("name") == "stdout")
    values = "".join(output.data["text/plain"] for output in outputs if output.output_type == "execute_result")
    assert "published as resonance:2" in told
    assert "production moves: auc" in told
    assert "WARNING" not in told
    assert "did you mean 'epochs'?" in told
    (answers,) = re.findall(r"'output': array\(\[(\S+), (\S+?) *\]", values)
    assert float(answers[0]) > float(answers[1])
    assert [output for output in outputs if output.get("name") == "stderr"] == []
    assert list(work.iterdir()) == []
    # ONNX Runtime writes this one wherever it is imported.
    assert [path.name for path in temporary.iterdir() if path.name != ".ses"] == []
    assert _processes_with("TMPDIR", str(temporary)) == []


def _processes_with(name: str, value: str) -> list[psutil.Process]:
    """Processes, other than this one, that were started with a variable in their environment."""
    found = []
    for process in psutil.process_iter(["environ"]):
        if process.pid != os.getpid() and (process.info["environ"] or {}).get(name) == value:
            found.append(process)
    return found
