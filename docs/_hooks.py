"""Gives the site the files that lie outside of docs/: the README as first page, the changelog, examples and benchmarks.

A link such as `../examples/05_compare_honestly.py` works on the page in the repository; here it is turned to the page
that is made of that file. Any other link out of docs/ is left alone, and the strict build refuses it.
"""

import ast
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
FOLDERS = {"examples": "Examples", "benchmarks": "Benchmarks"}
_OUT = re.compile(rf"\]\((?:\.\./)+(?:({'|'.join(FOLDERS)})(?:/(\w+)\.py|/?)|CHANGELOG\.md)(#[^)]*)?\)")


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
    for uri, text in pages.items():
        files.append(File.generated(config, uri, content=text))
    return files


def _first_page():
    """The README, with links as they are from docs/."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = text.replace("](docs/", "](").replace("](examples)", "](examples/index.md)")
    return text.replace("[CONTRIBUTING.md](CONTRIBUTING.md)", "`CONTRIBUTING.md`")


def on_page_markdown(markdown, page, **_):
    """Turn links to these files to their pages."""
    up = "../" * page.file.src_uri.count("/")

    def turned(link):
        folder, name, anchor = link.groups()
        target = f"{folder}/{name or 'index'}.md" if folder else "changelog.md"
        return f"]({up}{target}{anchor or ''})"

    return _OUT.sub(turned, markdown)
