"""Run the suites and build Data Docs whose pages need no network.

Great Expectations' pages load Bootstrap, icons and the index's tables from CDNs. Here those links are removed, a small
style sheet is put into each page, and the index is our own: a page that reads the same on a plane.
"""

from __future__ import annotations

import html
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bot4_platform.lake import Lake
from bot4_platform.quality.expectations import SUITES, Suite

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


@dataclass(frozen=True)
class Judged:
    """What a suite said: how many expectations passed, which failed and why, and its page within the docs."""

    suite: str
    rows: int
    passed: int
    failed: list[str] = field(default_factory=list)
    page: str = ""

    @property
    def success(self) -> bool:
        """Return whether every expectation passed."""
        return not self.failed


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
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    for name in list(context.get_site_names()):
        context.delete_data_docs_site(name)
    context.add_data_docs_site(
        site_name="docs",
        site_config={
            "class_name": "SiteBuilder",
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(site)},
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        },
    )
    source = context.data_sources.add_pandas("lake")
    judged = []
    for suite in SUITES:
        frame = suite.frame(lake)
        if frame is not None:
            results = _run(gx, context, source, suite, frame)
            pages = sorted(site.glob(f"validations/{suite.name}/**/*.html"))
            page = quote(str(pages[-1].relative_to(site))) if pages else ""
            judged.append(verdict(suite.name, len(frame), results, page))
    return judged


def _run(gx: Any, context: Any, source: Any, suite: Suite, frame: Any) -> list[Any]:
    batch = source.add_dataframe_asset(suite.name).add_batch_definition_whole_dataframe("all")
    kept = context.suites.add(gx.ExpectationSuite(name=suite.name, expectations=suite.expectations()))
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=suite.name, data=batch, suite=kept))
    action = gx.checkpoint.UpdateDataDocsAction(name="docs", site_names=["docs"])
    checkpoint = gx.Checkpoint(name=suite.name, validation_definitions=[definition], actions=[action])
    result = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": frame})
    return [found for run in result.run_results.values() for found in run.results]


def verdict(suite: str, rows: int, results: list[Any], page: str) -> Judged:
    """Return what the results of a suite say. A metric that broke is a failure with its cause, not a bad value."""
    failed = []
    for result in results:
        if result.success:
            continue
        config = result.expectation_config
        columns = [str(value) for name, value in config.kwargs.items() if name.startswith("column")]
        failed.append(f"{config.type}({', '.join(columns)}): {_cause(result)}")
    return Judged(suite, rows, len(results) - len(failed), failed, page)


def _cause(result: Any) -> str:
    info = result.exception_info or {}
    broken = [info] if "raised_exception" in info else list(info.values())
    for found in broken:
        if isinstance(found, dict) and found.get("raised_exception"):
            return f"could not be computed: {found.get('exception_message')}"
    seen = result.result.get("observed_value", result.result.get("partial_unexpected_list"))
    return f"found {seen}"


def offline(page: str) -> str:
    """Return a page without anything that is fetched from elsewhere, with a style sheet of its own."""
    page = INLINE_SCRIPTS.sub("", REMOTE.sub("", page))
    page = REMOTE_LINKS.sub(r"\1", page)
    return page.replace("</head>", f"<style>{STYLE}</style></head>", 1)


def index(judged: list[Judged]) -> str:
    """Return the index page: one row a suite, with what failed."""
    about = {suite.name: suite.about for suite in SUITES}
    rows = []
    for found in judged:
        status = '<span class="ok">passed</span>' if found.success else '<span class="bad">failed</span>'
        why = "<br>".join(html.escape(text) for text in found.failed) or html.escape(about.get(found.suite, ""))
        total = found.passed + len(found.failed)
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
