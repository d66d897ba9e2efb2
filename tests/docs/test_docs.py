"""The documentation says what the code does: tables, reasons, filters, manifests and links are compared with it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controllers.placement.core.filters import FILTERS, OF_INSTANCE
from controllers.placement.core.weighers import NAMES
from crds.base import API_VERSION
from crds.kinds import KINDS
from crds.schema import root_schema
from docs.tables import MEND, wanted
from docs.troubleshooting import CONDITIONS, anchor, reasons
from tests.bench import rates, results
from tests.docs import reason_literals
from tests.placement import loads

ROOT = reason_literals.ROOT
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _prose(path: Path) -> str:
    """The page without its blocks."""
    return BLOCK.sub("", path.read_text())


def _anchors(path: Path) -> set[str]:
    """What the forge makes of its headings."""
    heads = (re.sub(r"\[([^\]]*)\]\([^)]*\)|`", r"\1", head) for head in HEADING.findall(_prose(path)))
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(_prose(page)):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert not broken


def test_tables_that_come_from_the_code_are_up_to_date() -> None:
    stale = [path.name for path, text in wanted() if not path.exists() or path.read_text() != text]
    assert not stale, f"to mend: {MEND}"


def test_every_page_with_a_table_from_the_code_is_looked_at() -> None:
    text = "".join((ROOT / "docs" / name).read_text() for name in ("api.md", "operating.md"))
    assert set(re.findall(r"<!-- table: (\w+) -->", text)) == {"settings", "metrics", "kinds", "unsupported"}


def test_every_reason_in_the_code_is_explained() -> None:
    known = reasons()
    missing = {reason: place for reason, place in reason_literals.reasons().items() if reason not in known}
    assert not missing, "add them to docs/troubleshooting.yaml"


def test_every_reason_that_is_explained_is_in_the_code() -> None:
    text = "".join(path.read_text() for path in [*reason_literals.sources(), *(ROOT / "crds").glob("*.py")])
    unknown = [name for name in reasons() if f'"{name}"' not in text and not _derived(name)]
    assert not unknown, "take them out of docs/troubleshooting.yaml"


def _derived(name: str) -> bool:
    """Built from a kind or a power action."""
    kind, action = name.removesuffix("NotFound"), name.removesuffix("Done")
    return (kind != name and kind in KINDS) or action in ("Start", "Stop", "ForceStop", "Restart", "Reset")


def test_reasons_name_kinds_and_conditions_that_exist() -> None:
    for name, reason in reasons().items():
        assert set(reason.kinds) <= {"all", *KINDS}, name
        assert set(reason.of) <= {"Event", *CONDITIONS}, name
        for text in (reason.means, reason.cause, reason.do):
            assert text.endswith("."), name


def test_every_reason_has_its_place_in_the_page() -> None:
    page = ROOT / "docs" / "troubleshooting.md"
    assert {name for name in reasons() if anchor(name)[1:] not in _anchors(page)} == set()
    assert len(re.findall("^- Cause: ", page.read_text(), re.MULTILINE)) == len(reasons())


def test_every_condition_type_in_the_code_is_told_of() -> None:
    found: set[str] = set()
    for path in reason_literals.sources():
        found |= set(re.findall(r'conditions\.set\(\s*"(\w+)"', path.read_text()))
        found |= set(re.findall(r'type_="(\w+)"', path.read_text()))
    assert found <= set(CONDITIONS)


def test_filters_stand_in_their_order() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "placement.md").read_text(), re.MULTILINE)
    names = [*(f.reason for f in FILTERS), *OF_INSTANCE]
    assert [row for row in rows if row in names] == names


def test_every_weigher_is_told_of() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "placement.md").read_text(), re.MULTILINE)
    assert set(NAMES) <= set(rows)


def _manifests() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every manifest of ours in a YAML block of a page, or that a shell block hands to kubectl."""
    for page in PAGES:
        for indent, language, text in BLOCK.findall(page.read_text()):
            body = re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)
            parts = (
                [body] if language == "yaml" else re.findall(r"<<'?EOF'?\n(.*?)^EOF", body, re.DOTALL | re.MULTILINE)
            )
            for part in parts:
                for document in yaml.safe_load_all(part):
                    if isinstance(document, dict) and document.get("apiVersion") == API_VERSION:
                        yield f"{_id(page)} {document['kind']} {document['metadata']['name']}", document


MANIFESTS = list(_manifests())


@pytest.mark.parametrize("manifest", [m for _, m in MANIFESTS], ids=[name for name, _ in MANIFESTS])
def test_manifests_in_the_documentation_are_good(manifest: dict[str, Any]) -> None:
    kind = KINDS[manifest["kind"]]
    kind.spec.model_validate(manifest["spec"])
    assert ("namespace" in manifest["metadata"]) == kind.namespaced
    assert list(_unknown(manifest["spec"], root_schema(kind)["properties"]["spec"], "spec")) == []


def _unknown(value: Any, schema: dict[str, Any], path: str) -> Iterator[str]:
    """Fields that the API server would drop, and words that it would refuse."""
    if isinstance(value, dict) and "properties" in schema:
        for name, inner in value.items():
            if name not in schema["properties"]:
                yield f"{path}.{name}"
            else:
                yield from _unknown(inner, schema["properties"][name], f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from _unknown(item, schema.get("items", {}), f"{path}[]")
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value}"


def test_the_documentation_has_manifests() -> None:
    assert len(MANIFESTS) > 8


def test_every_safety_rule_in_the_code_is_told_to_the_user() -> None:
    told = set(re.findall(r"^- \*\*([A-Z]\d)\*\* ", (ROOT / "docs" / "safety.md").read_text(), re.MULTILINE))
    text = "".join(path.read_text() for room in ("drivers", "controllers") for path in (ROOT / room).rglob("*.py"))
    used = set(re.findall(r"\b([WIMHDN][1-7])\b(?=[^\w.]|$)", text))
    assert used - {"M5", "M6", "M7", "N5", "N6", "N7"} <= told


def test_every_annotation_of_ours_is_told_of() -> None:
    text = (ROOT / "docs" / "api.md").read_text()
    names = set(re.findall(r'f"\{GROUP\}/([a-z-]+)"', (ROOT / "crds" / "base.py").read_text())) - {"finalizer"}
    assert {name for name in names if f"stratiform.dev/{name}" not in text} == set()


def test_plots_show_the_figures_that_are_kept() -> None:
    entries = json.loads(results.FILE.read_text())
    assert results.PLOT.read_text() == results.plot(entries)
    assert results.RATES.read_text() == rates.plot(entries)


def test_the_plot_over_hosts_has_every_kind_of_request_at_every_number_of_hosts() -> None:
    found = rates.lines(json.loads(results.FILE.read_text()))
    assert set(found) == set(loads.KINDS)
    assert {tuple(hosts for hosts, _ in points) for points in found.values()} == {(100, 1000, 10_000, 50_000)}
