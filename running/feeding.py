"""A process that reads a topic of Kafka as a feed."""

from contextlib import AsyncExitStack
from datetime import timedelta

from confluent_kafka import KafkaException
from temporalio.runtime import Runtime

from ledger.database.engine import open_ledger
from ledger.feed.topics import TopicFeed
from running.process import CommandFailed, end_within, now, say, stop_signal
from settings import Settings
from streaming.connection import configuration
from streaming.feed import KafkaFeed
from telemetry.address import Address
from telemetry.feed_metrics import FeedMetrics
from telemetry.ledger_metrics import LedgerMetrics
from web.health import Health
from web.probes import health_app
from web.server import serving

_BEYOND_HELP_AFTER_S = 120.0
_STOPPED_WITHIN = timedelta(seconds=45)
"""The time after which the process ends, whatever delays it: a ledger or brokers that are silent."""


async def feed_until_stopped(
    feed: TopicFeed, *, brokers: str | None, health: Address | None, metrics: Address | None
) -> None:
    """Posts what comes until a signal; what is being posted then is posted."""
    stop = stop_signal()
    settings = Settings()
    client = configuration(settings, brokers)
    meter = Runtime.default().metric_meter
    async with AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(
            open_ledger(
                settings.ledger_url,
                observer=LedgerMetrics(meter),
                prepared_statements=settings.prepared_statements,
            )
        )
        ledger.check_clock()
        say(f"Ledger      {ledger.where}")
        reader = KafkaFeed(ledger, feed, FeedMetrics(meter, feed.topic), now, stop)
        if health is not None:
            standing = Health(
                ledger,
                None,
                not_live=lambda: reader.standing.not_live(_BEYOND_HELP_AFTER_S),
                not_ready=lambda: ["stopping"] if stop.is_set() else reader.standing.not_ready(),
            )
            where = serving(health_app(standing), host=health.host, port=health.port)
            say(f"Health      {await stack.enter_async_context(where)}")
        if metrics is not None:
            say(f"Metrics     http://{metrics}/metrics")
        say(f"Feed        {feed.topic} as {feed.group} from {client['bootstrap.servers']}; Ctrl-C stops it")
        try:
            await reader.run(client, on_stop=lambda: end_within(_STOPPED_WITHIN))
        except KafkaException as error:
            raise CommandFailed(f"the brokers do not let this consumer go on: {error}") from None
