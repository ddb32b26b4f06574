"""The HTTP side: routes beside Streamlit's, and the middleware in front of both."""

from chatcore.api.company import ReadClaims, company_middleware
from chatcore.api.middleware import COOKIE, CallerMiddleware, middleware
from chatcore.api.parts import Parts
from chatcore.api.routes import routes

__all__ = ["COOKIE", "CallerMiddleware", "Parts", "ReadClaims", "company_middleware", "middleware", "routes"]
