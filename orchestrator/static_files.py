"""Stylesheets, scripts and fonts, served by the site itself, without a build step or `collectstatic`."""

from contextlib import closing
from typing import Any

from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware


class StaticFilesMiddleware(WhiteNoiseMiddleware):
    """WhiteNoise that answers with whole files.

    WhiteNoise streams by a synchronous iterator, which Django's ASGI handler reads whole all the same, and warns.
    """

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponse:
        """Answer with the file, or with the part of it that was asked for."""
        found = static_file.get_response(request.method, request.META)
        if found.file is None:
            response = HttpResponse(status=int(found.status))
        else:
            with closing(found.file):
                response = HttpResponse(found.file.read(), status=int(found.status))
        del response["content-type"]
        for name, value in found.headers:
            response[name] = value
        return response
