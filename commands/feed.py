"""feed: movements from a topic of Kafka."""

import re
from typing import Annotated

import typer

from commands.arguments import MetricsOption, listen_address, wrong_usage
from ledger.feed.topics import TopicFeed
from running.process import run
from settings import BadConfiguration, Settings
from telemetry.address import Address
from telemetry.logs import start_logging

_TOPIC = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
_GROUP_LENGTH_MAX = 200


@wrong_usage
def _topic(text: str) -> str:
    if not _TOPIC.fullmatch(text):
        raise ValueError(f"{text[:60]!r} is no topic: 1 to 249 characters of A-Z, a-z, 0-9, '.', '_' and '-'")
    return text


@wrong_usage
def _group(text: str) -> str:
    if not (1 <= len(text) <= _GROUP_LENGTH_MAX and text.isprintable()):
        raise ValueError(f"a group has 1 to {_GROUP_LENGTH_MAX} printable characters")
    return text


def feed(
    topic: Annotated[str, typer.Option(callback=_topic, metavar="TOPIC", help="The topic that is read.")],
    group: Annotated[
        str,
        typer.Option(
            callback=_group,
            metavar="GROUP",
            help="The consumers that share its partitions; a new name reads the topic from its beginning.",
        ),
    ],
    brokers: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT,…", help="Kafka brokers to ask first, instead of SOFT_STAKING_KAFKA_BROKERS."
        ),
    ] = None,
    health: Annotated[
        Address | None,
        typer.Option(parser=listen_address, metavar="HOST:PORT", help="Answer /livez and /readyz over HTTP here."),
    ] = None,
    metrics: MetricsOption = None,
) -> None:
    """Post the movements of a topic of Kafka until told to stop (Ctrl-C or SIGTERM).

    A message is a movement as POST /v1/movements takes it, with the user as its key, or a source's word, which is
    sent to every partition. What is posted and how far the topic is read are written in one transaction. Several
    processes of one group share the partitions.
    Example: python starter.py feed --topic movements --group soft-staking --brokers kafka-1:9092
    """
    try:
        from running.feeding import feed_until_stopped  # this needs a package that only an extra installs
    except ImportError as error:
        raise BadConfiguration(
            f"Kafka needs the package {error.name}, which is not installed: install the extra `kafka` "
            "(pip install 'soft-staking[kafka]')"
        ) from None
    from running.event_loop import new_event_loop

    start_logging(Settings())
    work = feed_until_stopped(TopicFeed(topic, group), brokers=brokers, health=health, metrics=metrics)
    run(work, metrics=metrics, new_event_loop=new_event_loop)
