"""Makes docs/tutorial.ipynb from docs/tutorial.md and runs it: `.venv/bin/python scripts/make_notebook.py URL [OUT]`.

Prose becomes Markdown cells, Python blocks become code cells. URL is a running service, which stands in for the
tutorial's own address while the notebook runs.
"""

import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parents[1]
ADDRESS = "http://127.0.0.1:8000"
_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def notebook_of(text: str, url: str) -> nbformat.NotebookNode:
    """The cells of a Markdown page; odd parts of the split are the Python blocks."""
    cells = []
    for i, part in enumerate(_PYTHON.split(text)):
        if part.strip():
            source = part.strip().replace(ADDRESS, url)
            cells.append(new_code_cell(source) if i % 2 else new_markdown_cell(source))
    for i, cell in enumerate(cells):
        cell["id"] = f"cell-{i}"  # not random, so that the same page makes the same file
    return new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})


def main(url: str, out: Path) -> None:
    """Writes the executed notebook. Raises CellExecutionError where a cell fails."""
    notebook = notebook_of((ROOT / "docs" / "tutorial.md").read_text(), url)
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.source = cell.source.replace(url, ADDRESS)
    nbformat.write(notebook, out)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "docs" / "tutorial.ipynb")
