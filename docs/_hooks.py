"""Gives the site the files outside of docs/: the README as first page, the changelog, examples, notebooks, benchmarks.

A link such as `../examples/05_compare_honestly.py` works on the page in the repository; here it is turned to the page
that is made of that file. Any other link out of docs/ is left alone, and the strict build refuses it.
"""

import ast
import base64
import json
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
FOLDERS = {"examples": "Examples", "benchmarks": "Benchmarks"}
NOTEBOOKS = "examples/notebooks"
_OUT = re.compile(
    rf"\]\((?:\.\./)+(?:({'|'.join((NOTEBOOKS, *FOLDERS))})(?:/(\w+)\.(?:py|ipynb)|/?)|CHANGELOG\.md)(#[^)]*)?\)"
)


def on_files(files, config):
    """Add a page for each file, and one that lists those of a folder."""
    pages = {"changelog.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), "index.md": _first_page()}
    for folder, title in FOLDERS.items():
        rows = []
        for path in sorted((ROOT / folder).glob("*.py")):
            code = path.read_text(encoding="utf-8")
            summary = ast.get_docstring(ast.parse(code)).splitlines()[0]
            pages[f"{folder}/{path.stem}.md"] = f"# {path.name}\n\n`{folder}/{path.name}`\n\n```python\n{code}```\n"
            rows.append(f"* [{path.name}]({path.stem}.md): {summary}\n")
        pages[f"{folder}/index.md"] = f"# {title}\n\n{''.join(rows)}"
    pages |= _notebooks()
    for uri, text in pages.items():
        files.append(File.generated(config, uri, content=text))
    return files


def _notebooks():
    """A page for each notebook with its outputs, its images, and a page that lists them."""
    pages, rows = {}, []
    for path in sorted((ROOT / NOTEBOOKS).glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        blocks = [f"`{NOTEBOOKS}/{path.name}`, with its outputs."]
        for cell in cells:
            source = "".join(cell["source"])
            blocks.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
            for output in cell.get("outputs", ()):
                data = output.get("data", {"text/plain": output.get("text", "")})
                if "image/png" in data:
                    image = f"{path.stem}_{len(pages)}.png"
                    pages[f"{NOTEBOOKS}/{image}"] = base64.b64decode("".join(data["image/png"]))
                    blocks.append(f"![Output of the cell above]({image})")
                    continue
                text = f"{''.join(data['text/plain']).rstrip()}\n```"
                if blocks[-1].startswith("```text\n"):  # a cell that prints several times has one block
                    blocks[-1] = blocks[-1].removesuffix("```") + text
                else:
                    blocks.append(f"```text\n{text}")
        pages[f"{NOTEBOOKS}/{path.stem}.md"] = "\n\n".join(blocks) + "\n"
        rows.append(f"* [{path.name}]({path.stem}.md): {''.join(cells[0]['source']).splitlines()[0]}\n")
    return pages | {f"{NOTEBOOKS}/index.md": f"# Notebooks\n\n{''.join(rows)}"}


def _first_page():
    """The README, with links as they are from docs/."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = text.replace("](docs/", "](").replace("](examples)", "](examples/index.md)")
    return text.replace("[CONTRIBUTING.md](CONTRIBUTING.md)", "`CONTRIBUTING.md`")


def on_page_content(html, **_):
    """Make each figure a link to its file: a phone shows it at the width of the page, and a tap at its full size."""
    return re.sub(r'<img [^>]*src="([^"]+)"[^>]*>', r'<a href="\1" title="Open the figure">\g<0></a>', html)


def on_page_markdown(markdown, page, **_):
    """Turn links to these files to their pages, and give a notebook its title in the navigation."""
    if page.file.src_uri.startswith(NOTEBOOKS) and not page.file.src_uri.endswith("index.md"):
        markdown = f"# {page.title}\n\n{markdown}"
    up = "../" * page.file.src_uri.count("/")

    def turned(link):
        folder, name, anchor = link.groups()
        target = f"{folder}/{name or 'index'}.md" if folder else "changelog.md"
        return f"]({up}{target}{anchor or ''})"

    return _OUT.sub(turned, markdown)
