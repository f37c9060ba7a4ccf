"""What a release says about itself agrees: versions, the citation and the workflow."""

import re
import tomllib

import pytest

from conftest import ROOT

yaml = pytest.importorskip("yaml", reason="it comes with mkdocs")
pytestmark = pytest.mark.once

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def read(path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_citation_has_the_version_of_the_package():
    citation = read("CITATION.cff")
    page = (ROOT / "docs" / "cite.md").read_text(encoding="utf-8")

    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert all({"title", "authors", "type"} <= set(paper) for paper in citation["references"])
    assert f"version = {{{PROJECT['version']}}}" in page


def test_the_workflow_calls_a_session_that_exists():
    steps = read(".github/workflows/release.yml")["jobs"]["package"]["steps"]
    called = re.findall(r"nox -s (\w+)", " ".join(step.get("run", "") for step in steps))

    assert called == ["package"]
    assert "def package(session)" in (ROOT / "noxfile.py").read_text(encoding="utf-8")


def test_the_issue_templates_ask_for_something():
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        form = read(path)
        if path.name != "config.yml":
            assert form["name"]
            assert form["description"]
            assert any(part.get("validations", {}).get("required") for part in form["body"])
