"""What the exchange counts, for whoever watches many machines at once (design §7).

Must never: have a label that names a party, a referral, a credential or an address.

Implements: R-106 (stopped clocks), R-109 (notices by outcome).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from referral_api.server.api.site import Site

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class _Figures(Collector):
    def __init__(self, site: Site) -> None:
        self._site = site

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "referral_writes_open",
            "1 while acts are taken, 0 while writes are closed.",
            self._site.writer.closed is None,
        )
        yield GaugeMetricFamily(
            "referral_clocks_run", "0 where a deadline may pass without a word.", not self._site.timers.stopped
        )
        standing = self._site.waking.standing()
        yield GaugeMetricFamily(
            "referral_notice_channels", "Channels of the notices file.", 0 if standing is None else standing["channels"]
        )
        yield GaugeMetricFamily(
            "referral_notice_channels_failing",
            "Channels whose last attempt was in vain.",
            0 if standing is None else len(standing["failing"]),
        )
        notices = CounterMetricFamily("referral_notices", "What became of notices since the start.", labels=["outcome"])
        for outcome, count in sorted(self._site.waking.outcomes.items()):
            notices.add_metric([outcome], count)
        yield notices


def figures_of(site: Site) -> bytes:
    """All of it in Prometheus' text form."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(site))
    return generate_latest(registry)
