"""Causes are found upstream by the time of the data, whatever ran last."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bot4_platform.staleness.ages import EVERYTHING, Reach
from bot4_platform.staleness.rules import JOURNAL, SEALED, Rule
from bot4_platform.staleness.trace import Graph, Item, judge

S = 10**9
NOW = 1_000_000 * S
BTC, ETH = "binance_usdm:BTCUSDT", "binance_usdm:ETHUSDT"
PARENTS = {
    JOURNAL: (), SEALED: (JOURNAL,), "ticks": (SEALED,), "view": ("ticks",), "fits": ("view",),
    "online": ("fits",), "news": (), "model": ("fits", "news"),
}  # fmt: skip
RULES = {
    JOURNAL: Rule(1, 59, trading=True), SEALED: Rule(900, 100), "ticks": Rule(900, 100), "view": None,
    "fits": Rule(900, 200), "online": Rule(300, 300, trading=True), "news": Rule(3000, 600),
    "model": Rule(10_000, 1_000, trading=True),
}  # fmt: skip


def graph(**ages_s: float | dict[str, float] | None) -> Graph:
    """Return the graph above; ages in seconds, of BTC alone or by scope; unnamed ones are 10 s old."""
    reach = {}
    for name, rule in RULES.items():
        plain: dict[str, float] = {EVERYTHING if name in ("news", "model") else BTC: 10.0}
        given = ages_s.get(name, plain) if rule else {}
        scopes = given if isinstance(given, dict) else {} if given is None else dict.fromkeys(plain, given)
        reach[name] = Reach(rule, {scope: NOW - int(age * S) for scope, age in scopes.items()})
    return Graph(PARENTS, reach, frozenset({JOURNAL, SEALED, "ticks", "view", "fits", "online"}), BTC)


def test_nothing_is_stale_when_all_is_new() -> None:
    report = judge(graph(), NOW)
    assert report.stale == ()
    assert report.judged == 7
    assert not report.blocks_trading


def test_a_source_that_stops_is_the_one_cause_of_all_that_follows() -> None:
    report = judge(graph(journal=5000, sealed_segments=5000, ticks=5000, fits=5000, online=5000), NOW)
    assert [found.item for found in report.causes] == [Item(JOURNAL, BTC)]
    assert set(report.causes[0].holds_up) == {Item(n, BTC) for n in (SEALED, "ticks", "fits", "online")}
    assert report.causes[0].threatens == (Item("model", EVERYTHING),)
    assert "no session or recorder writes" in report.causes[0].why
    assert report.blocks_trading


def test_a_lenient_input_is_the_cause_of_an_impatient_view() -> None:
    # A segment of 800 s is within its limit; the online view wants 600 s.
    report = judge(graph(sealed_segments=800, ticks=800, fits=800, online=800), NOW)
    assert [found.item for found in report.stale] == [Item("online", BTC)]
    assert report.stale[0].causes == (Item(SEALED, BTC),)
    assert "BOT4_JOURNAL__ROTATE_S" in report.causes[0].why


def test_what_was_not_computed_is_its_own_cause() -> None:
    report = judge(graph(fits=4000, online=4000), NOW)
    assert [found.item for found in report.causes] == [Item("fits", BTC)]
    assert "was not computed since" in report.causes[0].why
    assert report.causes[0].holds_up == (Item("online", BTC),)


def test_two_causes_of_one_thing_and_the_more_harmful_first() -> None:
    report = judge(graph(journal=20_000, sealed_segments=20_000, ticks=20_000, fits=20_000, online=20_000,
                         news=20_000, model=20_000), NOW)  # fmt: skip
    model = next(found for found in report.stale if found.item.name == "model")
    assert model.causes == (Item(JOURNAL, BTC), Item("news", EVERYTHING))
    assert [found.item.name for found in report.causes] == [JOURNAL, "news"]
    assert report.causes[1].why.startswith("the source ends at")
    told = judge(graph(news=20_000), NOW, {EVERYTHING: "html, a page of HTML came"}).causes[0].why
    assert told.endswith("its last answer was quarantined: html, a page of HTML came")
    assert not judge(graph(news=None), NOW).stale, "a source that never gave anything is off, not stale"


def test_what_never_was_is_missing_and_another_markets_silence_does_not_stop_trading() -> None:
    report = judge(graph(model=None, journal={BTC: 5, ETH: 9_000}), NOW)
    assert {found.item for found in report.stale} == {Item(JOURNAL, ETH), Item("model", EVERYTHING)}
    by_name = {found.item.name: found for found in report.stale}
    assert by_name["model"].age_s is None
    assert by_name["model"].trading
    assert not by_name[JOURNAL].trading
    assert next(found for found in report.causes if found.item.name == "model").why.startswith("was never computed")
    assert judge(graph(journal={ETH: 5}), NOW).blocks_trading, "the traded market is missed"


@settings(max_examples=40, deadline=None)
@given(st.fixed_dictionaries({name: st.integers(0, 30_000) for name, rule in RULES.items() if rule}))
def test_every_stale_thing_has_a_cause_that_is_no_newer_than_allowed(ages: dict[str, int]) -> None:
    made = graph(**ages)
    report = judge(made, NOW)
    for found in report.stale:
        assert found.causes
        for cause in found.causes:
            newest = made.newest(cause)
            assert newest is not None
            assert NOW - newest > found.limit_s * S
            assert cause == found.item or found.item in next(c for c in report.causes if c.item == cause).holds_up
            assert all(NOW - (made.newest(above) or 0) <= found.limit_s * S for above in made.inputs(cause))
    assert {found.item for found in report.stale} == {
        item
        for item in made.items()
        if NOW - (made.newest(item) or 0) > made.reach[item.name].rule.limit_s * S  # type: ignore[union-attr]
    }
