"""What every view of the REST API does: answers repeated requests once, and refuses lost updates.

`Idempotency-Key` is honoured by every POST (`teams.idempotency`), `If-Match` by every PATCH, PUT and DELETE
(`orchestrator.versions`), and a single object that can be changed is answered with its `ETag`.
"""

from functools import partial
from typing import Any, ClassVar

from django.db import transaction
from django.db.models import Model
from rest_framework import status, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from orchestrator import versions
from teams import idempotency
from teams.acting import apply_header

CHANGING = frozenset({"PATCH", "PUT", "DELETE"})
VERSIONED = frozenset({"retrieve", "partial_update", "destroy", "schedules", "replace_schedules"})


class ApiView(APIView):
    """The base of the API's views. Wraps whichever method answers the request, once it is known who asks."""

    #: Actions (or methods in lower case) that have a key of their own, or nothing to repeat.
    own_keys: ClassVar[frozenset[str]] = frozenset()
    #: Those whose work is in transactions of its own, so that their answer is kept after it.
    own_transactions: ClassVar[frozenset[str]] = frozenset()
    #: Those that the caller's rate does not count: what running processes send by themselves.
    unrated: ClassVar[frozenset[str]] = frozenset()
    #: The object that this request is about, as it was found.
    found: Model | None = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Wrap the method after the caller was let in; DRF looks it up just after this."""
        super().initial(request, *args, **kwargs)
        method = str(request.method).lower()
        if (handler := getattr(self, method, None)) is not None:
            setattr(self, method, partial(self._guarded, handler))

    def perform_authentication(self, request: Request) -> None:
        """Find out who asks, and for which team."""
        super().perform_authentication(request)
        apply_header(request)

    @property
    def verb(self) -> str:
        """The action's name, or the method's."""
        return str(getattr(self, "action", None) or str(self.request.method).lower())

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Say how the caller stands."""
        if (standing := getattr(request, "rate", None)) is not None:
            for name, value in standing.headers().items():
                response[name] = value
        return super().finalize_response(request, response, *args, **kwargs)

    def is_versioned(self, verb: str) -> bool:
        """Whether this answers a whole object that can be changed, or changes one."""
        return False

    def _guarded(self, handler: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        done = partial(handler, request, *args, **kwargs)
        if request.method == "POST" and self.verb not in self.own_keys and (key := idempotency.key_of(request)):
            return idempotency.answer(request, key, done, together=self.verb not in self.own_transactions)
        if request.method in CHANGING and "If-Match" in request.headers:
            with transaction.atomic():
                return self._with_version(done())
        response: Response = done()
        return self._with_version(response)

    def _with_version(self, response: Response) -> Response:
        """Add the version of the object that was read or changed."""
        if self.found is not None and self.is_versioned(self.verb) and response.status_code == status.HTTP_200_OK:
            changed = self.request.method in CHANGING
            row = type(self.found)._default_manager.get(pk=self.found.pk) if changed else self.found
            response["ETag"] = versions.etag(row)
        return response


class ApiViewSet(ApiView, viewsets.GenericViewSet[Any]):
    """A set of views of the API."""

    def is_versioned(self, verb: str) -> bool:
        """Objects that have a PATCH."""
        return hasattr(self, "partial_update") and verb in VERSIONED

    def get_object(self) -> Any:
        """Return the object. Raises ChangedMeanwhile where it is not the one that `If-Match` names.

        Its row is then locked until the request is answered.
        """
        row = super().get_object()
        wanted = self.request.headers.get("If-Match", "") if self.request.method in CHANGING else ""
        if wanted and self.found is None:
            locked = type(row)._default_manager.select_for_update(of=("self",)).get(pk=row.pk)
            versions.check(locked, wanted)
            row = super().get_object()
        self.found = row
        return row
