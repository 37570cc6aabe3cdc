"""The notebooks run, on the recordings that are shipped, and say what is stored in them.

VIO_REGENERATE=1 stores what they say now, pictures too.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
RECORDINGS = ("reporter/sample/demo.vio", *(f"tests/data/{name}" for name in ("repeats", "writeback.vio")))
_LARGEST_BYTES = 200_000


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a place that has the recordings where the notebooks look for them: their tables are not written here."""
    place = tmp_path_factory.mktemp("checkout")
    for name in RECORDINGS:
        shutil.copytree(ROOT / name, place / name)
    (place / "notebooks").mkdir()
    return place


def texts(notebook: nbformat.NotebookNode) -> Iterator[str]:
    """Yield what the cells say, pictures left out: those are of one version of the library that draws them."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            said = output.get("text") or output.get("data", {}).get("text/plain", "")
            if not said.startswith("<Figure"):
                yield "".join(said)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("default")  # of the machinery that runs notebooks
def test_a_notebook_says_what_is_stored_in_it(path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the pictures go into the notebook
    stored = nbformat.read(path, as_version=4)
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(checkout / "notebooks")}})
    client.execute(cleanup_kc=True)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran
    if os.environ.get("VIO_REGENERATE"):
        nbformat.write(notebook, path)
        stored = notebook
    assert list(texts(notebook)) == list(texts(stored)), "if this is wanted: VIO_REGENERATE=1 pytest " + __file__
    assert not any(output.output_type == "error" for cell in notebook.cells for output in cell.get("outputs", []))
    assert path.stat().st_size < _LARGEST_BYTES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_stored_notebook_has_pictures_and_no_place_of_this_machine(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(name in path.read_text(encoding="utf-8") for name in ("/home/", "/root/", "/tmp/", str(ROOT)))
