"""`type = "s7"`: polls a Siemens S7 controller in blocks of bytes. It must allow PUT/GET, and blocks not optimised."""

from __future__ import annotations

from nodeagent.pipeline.section import Section
from nodeagent.sources.polled import ItemLink, Polled
from nodeagent.sources.s7_options import S7Options, endpoint
from nodeagent.sources.source import SourceContext

OPTIONS = S7Options


def source(id: str, options: S7Options, context: SourceContext) -> Polled:  # noqa: A002
    """A source that loads its library when it connects."""

    async def open_link() -> ItemLink:
        from nodeagent.sources.s7_link import S7Link

        return await S7Link.open(
            endpoint(options.url), options.places(), timeout_s=float(options.timeout), max_gap=options.max_gap
        )

    return Polled(id, "s7", options.tags, options, context, open_link)


def create(section: Section, context: SourceContext) -> Polled:
    """The source of a section."""
    assert isinstance(section.options, S7Options)
    return source(section.id, section.options, context)
