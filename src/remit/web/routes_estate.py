"""The routes of edges, and of whoever looks after them; part of the table in `routes`."""

from __future__ import annotations

from . import api_estate as estate
from . import api_rollout as rollout
from . import shapes
from . import shapes_estate as told
from .route import EDGE, KIB, OPERATOR, READERS, Route

ESTATE_ROUTES: tuple[Route, ...] = (
    Route("POST", "/v1/estate/beats", EDGE, estate.beats, body=told.BeatRequest),
    Route("POST", "/v1/estate/reports", EDGE, estate.reports, body=told.ReportsRequest, limit=1536 * KIB),
    Route("GET", "/v1/estate/frames", EDGE, estate.frames, query=("since",)),
    Route("POST", "/v1/estate/tasks/{task}/entrust", EDGE, estate.entrusted, body=told.EntrustRequest),
    Route("POST", "/v1/estate/tasks/{task}/return", EDGE, estate.returned, body=told.ReturnRequest),
    Route("POST", "/v1/estate/snapshot", EDGE, estate.snapshot, body=told.SnapshotRequest),
    Route("GET", "/v1/estate/catalogues/{digest}", EDGE, estate.catalogue),
    Route("GET", "/v1/estate", READERS, estate.list_edges),
    Route("GET", "/v1/estate/edges/{edge}", READERS, estate.show_edge),
    Route("POST", "/v1/estate/edges/{edge}/forget", OPERATOR, estate.forget_edge, body=shapes.ReasonRequest),
    Route("GET", "/v1/estate/keys/{digest}", EDGE, estate.enforcer_key),
    Route("GET", "/v1/rollout", READERS, rollout.show),
    Route("POST", "/v1/rollout", OPERATOR, rollout.begin, body=shapes.RolloutRequest, limit=8192 * KIB),
    Route("POST", "/v1/rollout/share", OPERATOR, rollout.share, body=shapes.ShareRequest),
    Route("POST", "/v1/rollout/finish", OPERATOR, rollout.finish),
    Route("POST", "/v1/rollout/back", OPERATOR, rollout.back, body=shapes.ReasonRequest),
)
