"""Logging: one line for each thing worth knowing, as JSON or as text. kopf's own lines go the same way."""

import logging

import structlog
from structlog.typing import Processor


def configure(log_format: str) -> None:
    """Set up structlog and the standard library's logging, once, at the start."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer() if log_format == "json" else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(processors=[*shared, renderer], logger_factory=structlog.PrintLoggerFactory())
    handler = logging.StreamHandler()
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
