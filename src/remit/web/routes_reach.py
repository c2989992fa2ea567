"""The routes of who can reach what: data."""

from __future__ import annotations

from remit.formats.chart import Packed

from . import api_reach as reach
from .route import KIB, OPERATOR, PERSON, READERS, Route

REACH_ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/reach", PERSON | READERS, reach.reach, query=("from", "who", "to", "cut", "q", "limit")),
    Route("GET", "/v1/charts", READERS, reach.list_charts),
    Route("POST", "/v1/charts/{chart}", OPERATOR, reach.import_chart, body=Packed, limit=16 * 1024 * KIB, creates=True),
    Route("POST", "/v1/charts/{chart}/remove", OPERATOR, reach.remove_chart),
)
