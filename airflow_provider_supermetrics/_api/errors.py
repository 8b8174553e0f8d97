"""Errors of the pure core, which the hooks translate to the public exceptions."""

from __future__ import annotations

from datetime import datetime


class InvalidRequest(ValueError):
    """An argument that the API does not allow; no request was sent."""


class ContractViolation(ValueError):
    """A response that the API does not document; using it could lose entries."""


class NoProgress(ContractViolation):
    """One single ``log_time`` fills a page, so the API cannot be paged past it without possible loss.

    :param log_time: the time that fills the page.
    :param page_length: how many entries the page had, newer ones included.
    """

    def __init__(self, log_time: datetime, page_length: int) -> None:
        super().__init__(
            f"the log_time {log_time.isoformat()} fills a page: {page_length} entries came, none older. "
            "The API offers no way to page within one time, so entries at that time could be lost"
        )
        self.log_time = log_time
        self.page_length = page_length
