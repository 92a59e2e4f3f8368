"""Run the suites and build Data Docs whose pages need no network.

Great Expectations' pages load Bootstrap, icons and the index's tables from CDNs. Here those links are removed, a small
style sheet is put into each page, and the index is our own: a page that reads the same on a plane.
"""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bot4_platform.lake import Lake
from bot4_platform.quality import judge
from bot4_platform.quality.judge import Judged
from bot4_platform.quality.suites import SUITES, Suite

REMOTE = re.compile(
    r"<script\b[^>]*\bsrc=[\"']?(?:https?:)?//[^>]*>\s*</script>"
    r"|<link\b[^>]*\bhref=[\"']?(?:https?:)?//[^>]*>"
    r"|<img\b[^>]*\bsrc=[\"']?(?:https?:)?//[^>]*>"
    r"|<footer\b.*?</footer>"
    r"|background:\s*url\(['\"]?https?://[^)]*\)[^;]*;",
    re.IGNORECASE | re.DOTALL,
)
REMOTE_LINKS = re.compile(r"<a\b[^>]*\bhref=[\"']?https?://[^>]*>(.*?)</a>", re.IGNORECASE | re.DOTALL)
INLINE_SCRIPTS = re.compile(r"<script\b(?![^>]*\bsrc=)[^>]*>.*?</script>", re.IGNORECASE | re.DOTALL)
JUDGED = "judged.json"  # the verdicts, for pages that link here
STYLE = """
body{font:14px/1.5 system-ui,sans-serif;margin:0 auto;max-width:1080px;padding:16px;color:#1d2433;background:#fff}
table{border-collapse:collapse;width:100%;margin:8px 0 20px}th,td{border:1px solid #d5dae3;padding:6px 9px;
text-align:left;vertical-align:top}th{background:#f2f4f8}a{color:#1c5cab}
h1,h2,h3,h4,h5,h6{font-size:16px;line-height:1.25;margin:18px 0 6px}
h1{font-size:26px}.row{display:block}
.col-2,.col-lg-2,.col-md-2,.ge-actions-container,.modal,.navbar .btn,#ge-cta-footer,.cooltip .top{display:none}
.fa-check-circle::before{content:"\\2713";color:#17803d;font-weight:700;font-style:normal}
.fa-times::before{content:"\\2717";color:#b3261e;font-weight:700;font-style:normal}
.fa-exclamation-triangle::before{content:"!";color:#a15c00;font-weight:700;font-style:normal}
.ok{color:#17803d;font-weight:600}.bad{color:#b3261e;font-weight:600}.small{color:#5b6475}
.collapse{display:block}ol.breadcrumb{list-style:none;padding:0;display:flex;gap:8px}pre{white-space:pre-wrap}
@media (prefers-color-scheme:dark){body{background:#12151c;color:#e4e8f0}th{background:#1d2230}
th,td{border-color:#343c4d}a{color:#8ab4f8}}
"""


def build(lake: Lake, target: Path) -> list[Judged]:
    """Judge every suite that has data and put the docs at `target`, replacing what was there; return the verdicts."""
    staged = target.with_name(f".{target.name}.new")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    try:
        judged = _validate(lake, staged)
        for page in staged.rglob("*.html"):
            page.write_text(offline(page.read_text()))
        (staged / "index.html").write_text(index(judged))
        (staged / JUDGED).write_text(json.dumps([found.as_dict() for found in judged], indent=1) + "\n")
        old = target.with_name(f".{target.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            target.rename(old)
        staged.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return judged


def _validate(lake: Lake, site: Path) -> list[Judged]:
    context = judge.context()
    context.add_data_docs_site(
        site_name="docs",
        site_config={
            "class_name": "SiteBuilder",
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(site)},
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        },
    )
    judged = []
    try:
        for suite in SUITES:
            frame = suite.frame(lake, suite.newest(lake))
            if frame.height:
                results = _run(context, suite, frame.to_pandas())
                pages = sorted(site.glob(f"validations/{suite.name}/**/*.html"))
                page = quote(str(pages[-1].relative_to(site))) if pages else ""
                judged.append(judge.verdict(suite.name, suite.table, frame.height, results, page))
    finally:
        context.delete_data_docs_site("docs")
    return judged


def _run(context: Any, suite: Suite, frame: Any) -> list[Any]:
    import great_expectations

    gx: Any = great_expectations
    kept = context.suites.add_or_update(judge.expectation_suite(suite))
    definition = context.validation_definitions.add_or_update(
        gx.ValidationDefinition(name=suite.name, data=judge.batch_definition(suite), suite=kept)
    )
    action = gx.checkpoint.UpdateDataDocsAction(name="docs", site_names=["docs"])
    checkpoint = gx.Checkpoint(name=suite.name, validation_definitions=[definition], actions=[action])
    result = context.checkpoints.add_or_update(checkpoint).run(batch_parameters={"dataframe": frame})
    return [found for run in result.run_results.values() for found in run.results]


def offline(page: str) -> str:
    """Return a page without anything that is fetched from elsewhere, with a style sheet of its own."""
    page = INLINE_SCRIPTS.sub("", REMOTE.sub("", page))
    page = REMOTE_LINKS.sub(r"\1", page)
    return page.replace("</head>", f"<style>{STYLE}</style></head>", 1)


def index(judged: list[Judged]) -> str:
    """Return the index page: one row a suite, with what failed."""
    about = {suite.name: f"{suite.about} Table {suite.table}." for suite in SUITES}
    rows = []
    for found in judged:
        status = '<span class="ok">passed</span>' if found.success else '<span class="bad">failed</span>'
        why = "<br>".join(html.escape(text) for text in found.failed) or html.escape(about.get(found.suite, ""))
        total = len(found.findings)
        rows.append(
            f'<tr><td>{status}</td><td><a href="{html.escape(found.page)}">{html.escape(found.suite)}</a></td>'
            f"<td>{found.passed} of {total}</td><td>{found.rows}</td><td>{why}</td></tr>"
        )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Bot4 data docs</title>'
        f"<style>{STYLE}</style></head><body><h1>Data quality</h1>"
        '<p class="small">Great Expectations over minute profiles, samples and slow sources. Rules on single events '
        "are the feed's; keys and nulls are dbt's.</p>"
        "<table><thead><tr><th>Status</th><th>Suite</th><th>Expectations</th><th>Rows</th><th>About</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></body></html>\n"
    )
