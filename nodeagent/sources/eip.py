"""`type = "eip"`: polls tags of a Rockwell controller over EtherNet/IP, all in one request."""

from __future__ import annotations

from nodeagent.pipeline.section import Section
from nodeagent.sources.eip_options import EipOptions, endpoint
from nodeagent.sources.polled import ItemLink, Polled
from nodeagent.sources.source import SourceContext

OPTIONS = EipOptions


def source(id: str, options: EipOptions, context: SourceContext) -> Polled:  # noqa: A002
    """A source that loads its library when it connects."""

    async def open_link() -> ItemLink:
        from nodeagent.sources.eip_link import EipLink

        return await EipLink.open(endpoint(options.url), options.wanted(), timeout_s=float(options.timeout))

    return Polled(id, "eip", options.tags, options, context, open_link)


def create(section: Section, context: SourceContext) -> Polled:
    """The source of a section."""
    assert isinstance(section.options, EipOptions)
    return source(section.id, section.options, context)
