"""The routes of who answers for what, and of reviews; part of the table in `routes`."""

from __future__ import annotations

from . import api_accountability as accountability
from . import api_reviews as reviews
from . import scim
from . import shapes_accountability as shapes
from .route import DIRECTORY, OPERATOR, PERSON, READERS, Route

_ONLY = ("attributes", "excludedAttributes")

ACCOUNTABILITY_ROUTES: tuple[Route, ...] = (
    Route("GET", "/v1/successions", PERSON | READERS, accountability.list_successions),
    Route(
        "POST",
        "/v1/successions/{reach}/{name}/accept",
        PERSON,
        accountability.accept,
        body=shapes.AcceptRequest,
    ),
    Route("GET", "/v1/reviews", PERSON | READERS, reviews.list_reviews, query=("campaign",)),
    Route("POST", "/v1/reviews", OPERATOR, reviews.open_reviews, body=shapes.OpenReviewsRequest, creates=True),
    Route("GET", "/v1/reviews/{agent}", PERSON | READERS, reviews.show_review),
    Route("GET", "/v1/reviews/{agent}/change", READERS, reviews.change),
    Route("POST", "/v1/reviews/{agent}/challenge", PERSON, reviews.challenge, body=shapes.ReviewAnswerRequest),
    Route("POST", "/v1/reviews/{agent}/answer", PERSON, reviews.answer, body=shapes.ReviewAnswerRequest),
    Route("GET", "/scim/v2/ServiceProviderConfig", DIRECTORY, scim.provider),
    Route("GET", "/scim/v2/Schemas", DIRECTORY, scim.schemas),
    Route("GET", "/scim/v2/Schemas/{id}", DIRECTORY, scim.schema),
    Route("GET", "/scim/v2/ResourceTypes", DIRECTORY, scim.resource_types),
    Route("GET", "/scim/v2/ResourceTypes/{id}", DIRECTORY, scim.resource_type),
    Route("POST", "/scim/v2/.search", DIRECTORY, scim.across, also=(501,)),
    Route("GET", "/scim/v2/Users", DIRECTORY, scim.search, query=("filter", "startIndex", "count", *_ONLY)),
    Route("POST", "/scim/v2/Users", DIRECTORY, scim.create, raw=True, creates=True),
    Route("GET", "/scim/v2/Users/{user}", DIRECTORY, scim.show, query=_ONLY),
    Route("PUT", "/scim/v2/Users/{user}", DIRECTORY, scim.replace, raw=True, query=_ONLY, also=(200,)),
    Route("PATCH", "/scim/v2/Users/{user}", DIRECTORY, scim.patch, raw=True, query=_ONLY),
    Route("DELETE", "/scim/v2/Users/{user}", DIRECTORY, scim.delete, also=(204,)),
)
