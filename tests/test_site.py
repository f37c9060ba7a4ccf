"""The site of docs/: built strictly, complete, without requests to other hosts, and readable on a phone."""

import functools
import http.server
import importlib
import pkgutil
import re
import subprocess
import sys
import threading
from html.parser import HTMLParser

import pytest

import keras_entropy
from conftest import ROOT

pytestmark = pytest.mark.once

DOCS = sorted((ROOT / "docs").rglob("*.md"))
READ = [*DOCS, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
FIGURE = re.compile(r"^!\[[^\]]*\]\(([^)]+)\)(.*?)(?=\n\n|\Z)\s*(.*?)(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)
PAGES = ["index.html", "choosing.html", "exact_entropy.html", "landscape.html", "api/index.html", "api/study.html"]
PAGES += ["examples/08_sigmoid_entropy.html"]


@pytest.fixture(scope="module")
def site(tmp_path_factory, child_environment):
    """The folder of the site."""
    for package in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(package, reason="the site is built with the packages of the extra docs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=child_environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class _Page(HTMLParser):
    """Ids, what is fetched with the page, and whether an example has become a quotation."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.fetched, self.quotations = set(), [], [], 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if given.get("id"):
            self.ids.add(given["id"])
        self.quotations += tag == "blockquote"
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            self.fetched.append(given.get("href", ""))
        self.fetched.append(given.get("src") or "")


@pytest.fixture(scope="module")
def pages(site):
    return {path.relative_to(site).as_posix(): _Page(path) for path in site.rglob("*.html")}


def public_modules():
    names = [module.name for module in pkgutil.iter_modules(keras_entropy.__path__)]
    return [name for name in names if not name.startswith("_")]


@pytest.mark.parametrize("name", public_modules())
def test_every_public_name_has_an_entry(name, pages):
    module = importlib.import_module(f"keras_entropy.{name}")
    own = [n for n, v in vars(module).items() if n[0] != "_" and getattr(v, "__module__", None) == module.__name__]
    public = getattr(module, "__all__", own)
    entries = pages[f"api/{name}.html"].ids if public else set()  # runs/ has no public names

    assert [n for n in public if f"keras_entropy.{name}.{n}" not in entries] == []


def test_every_name_of_the_top_is_in_its_table(pages):
    linked = {link.rpartition(".")[2] for link in pages["api/index.html"].links if "#keras_entropy." in link}

    assert sorted(set(keras_entropy.__all__) - linked) == []


def test_examples_in_docstrings_are_code(pages):
    """`>>>` outside of a section that is named `Examples:` is Markdown for a quotation."""
    assert [name for name, page in pages.items() if name.startswith("api/") and page.quotations] == []


@pytest.mark.parametrize(
    "page", [path for path in READ if "![" in path.read_text(encoding="utf-8")], ids=lambda p: p.name
)
def test_every_figure_says_by_which_command_it_is_made_and_what_to_see(page):
    text = page.read_text(encoding="utf-8")
    figures = FIGURE.findall(text)

    assert len(figures) == text.count("![")
    for figure, rest, below in figures:
        said = re.match(r"Made by\s+`(?:\w+=\w+ )*((?:python|keras-entropy) [^`]+)`", below)
        assert said, f"below {figure} should stand: Made by `COMMAND`. It is: {rest}{below}"
        assert "What to see: " in " ".join(below.split()), (
            f"below {figure} should stand, after the command: What to see: ..."
        )
        assert (page.parent / figure).is_file()
        assert is_command(said[1].split()), said[1]


def is_command(words):
    match words:
        case ["keras-entropy", name, *_]:
            from keras_entropy_cli.app import app

            return name in {command.name or command.callback.__name__ for command in app.registered_commands}
        case ["python", "-m", "reproduction", name, *_]:
            import reproduction

            return name in reproduction.names()
        case ["python", "-m", module, *_]:
            return (ROOT / module.replace(".", "/")).with_suffix(".py").is_file()
        case ["python", path, *_]:
            return (ROOT / path).is_file()
    return False


@pytest.mark.parametrize("page", READ, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_relative_links_lead_to_files(page):
    """In the repository; those of the site are checked by its strict build, anchors too."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]

    assert [link for link in links if link and not (page.parent / link).exists()] == []


def test_no_page_fetches_from_another_host(site, pages):
    elsewhere = re.compile(r"^(?:\w+:)?//")
    styles = {
        path.name: re.findall(r"(?:url\(|@import\s+)[\"']?(?:https?:)?//[^\"')]+", path.read_text(encoding="utf-8"))
        for path in site.rglob("*.css")
    }

    assert {name: [u for u in page.fetched if elsewhere.match(u)] for name, page in pages.items()} == {
        n: [] for n in pages
    }
    assert {name: found for name, found in styles.items() if found} == {}


@pytest.mark.parametrize("path", sorted((ROOT / "examples/notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_has_a_title_of_words(path, site):
    text = (site / f"examples/notebooks/{path.stem}.html").read_text(encoding="utf-8")
    (title,) = re.findall(r"<title>(.*) - keras-entropy</title>", text)

    assert len(title.split()) > 2
    assert re.search(rf"<h1[^>]*>{title}<", text)


@pytest.fixture(scope="module")
def address(site):
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=site)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_on_a_phone(page, scheme, address, browser):
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    preferred = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": preferred})
    browser.get_log("browser")

    browser.get(f"{address}/{page}")

    width, palette, fetched, figures = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.body.dataset.mdColorScheme, "
        "performance.getEntriesByType('resource').map(entry => entry.name), "
        "[...document.querySelectorAll('.md-content img')].map("
        "image => [image.getBoundingClientRect().right, image.src === image.closest('a').href])]"
    )
    assert width <= 390
    assert all(right <= 390 and opens_its_file for right, opens_its_file in figures)
    assert palette == {"light": "default", "dark": "slate"}[scheme]
    assert [url for url in fetched if not url.startswith(address)] == []
    assert browser.get_log("browser") == []


@pytest.mark.browser
@pytest.mark.parametrize("page", ["quick_start.html", "examples/notebooks/search.html", "api/study.html"])
def test_code_and_results_fit_a_laptop(page, address, browser):
    size = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    browser.get(f"{address}/{page}")

    blocks = "[...document.querySelectorAll('pre > code')]"
    cut = f"return {blocks}.filter(e => e.scrollWidth > e.clientWidth).map(e => e.innerText)"
    assert browser.execute_script(cut) == []
