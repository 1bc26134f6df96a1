"""REST: snapshots of code. `orchestrator deploy` brings them, workers' runs fetch them."""

import io
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.http import StreamingHttpResponse
from drf_spectacular.utils import OpenApiTypes, extend_schema, inline_serializer
from rest_framework import exceptions, serializers, status
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from flows.snapshot_actions import manifest_of, note_use, pieces_of, take_in
from flows.snapshots import Snapshot
from orchestrator.api_views import ApiView
from orchestrator.bodies import ReadSerializer, read_bounded
from orchestrator.sdk.snapshots.manifest import MAX_FILES, BadSnapshot
from orchestrator.sdk.snapshots.pack import MEDIA_TYPE, packed, read_pack
from runs.code_access import found_snapshot
from teams.acting import acting_team

MAX_BODY_BYTES = 16 * 1024 * 1024  # of one request; larger snapshots come in several


class PackParser(BaseParser):
    """A pack, handed on as it came."""

    media_type = MEDIA_TYPE

    def parse(self, stream: Any, media_type: str | None = None, parser_context: dict[str, Any] | None = None) -> bytes:
        """Return the body. Raises TooLarge."""
        return read_bounded(stream, MAX_BODY_BYTES)


class SnapshotSerializer(ReadSerializer):
    """A snapshot."""

    class Meta:
        model = Snapshot
        fields = ("hash", "files", "size", "created_at", "used_at")
        read_only_fields = fields


class SnapshotLimitsView(ApiView):
    """How large a snapshot may be."""

    @extend_schema(
        summary="How large a snapshot may be",
        responses=inline_serializer(
            "SnapshotLimits", {"max_bytes": serializers.IntegerField(), "max_files": serializers.IntegerField()}
        ),
    )
    def get(self, request: Request) -> Response:
        """The server's setting."""
        return Response({"max_bytes": settings.SNAPSHOT_MAX_BYTES, "max_files": MAX_FILES})


class StoredSnapshotSerializer(serializers.Serializer[Any]):
    """What became of a pack."""

    hash = serializers.CharField()
    missing = serializers.ListField(child=serializers.CharField(), help_text="Digests of pieces.")
    is_new = serializers.BooleanField(help_text="Whether it is whole since this request.")


class SnapshotsView(ApiView):
    """Snapshots come in."""

    parser_classes = [PackParser]
    own_keys = frozenset({"post"})

    @extend_schema(
        summary="Store a snapshot, or a part of it",
        description="A pack: frames of a length (4 bytes) and deflated data; the list of files, then any of their"
        " pieces. The answer says which pieces are `missing` still; the snapshot is there when none is. To begin with,"
        " send the list alone: what the server has is not sent again.",
        request={MEDIA_TYPE: OpenApiTypes.BINARY},
        responses=dict.fromkeys([(200, "application/json"), (201, "application/json")], StoredSnapshotSerializer),
    )
    def post(self, request: Request) -> Response:
        """Take in what came. Who may not deploy is refused at the door, before any of it is read."""
        body = request.data if isinstance(request.data, bytes) else b""
        try:
            manifest, pieces = read_pack(io.BytesIO(body).read)
            taken = take_in(
                acting_team(request), manifest, pieces, most_bytes=settings.SNAPSHOT_MAX_BYTES, user=request.user
            )
        except BadSnapshot as error:
            raise exceptions.ValidationError(str(error)) from None
        answer = {"hash": manifest.hash, "missing": taken.missing, "is_new": taken.is_new}
        return Response(answer, status=status.HTTP_201_CREATED if taken.is_new else status.HTTP_200_OK)


class SnapshotView(ApiView):
    """One snapshot."""

    @extend_schema(summary="Inspect a snapshot", responses=SnapshotSerializer)
    def get(self, request: Request, hash: str) -> Response:
        """404 where the caller's teams have none of this hash."""
        return Response(SnapshotSerializer(found_snapshot(request, hash)).data)


class _AnyForm(DefaultContentNegotiation):
    """Whatever is accepted: what there is is sent, and refusals are JSON."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """The first."""
        return renderers[0], renderers[0].media_type


class SnapshotPackView(ApiView):
    """A snapshot's files, under WSGI, whose servers have threads of their own; else `runs.pack_stream` sends them."""

    unrated = frozenset({"get"})
    content_negotiation_class = _AnyForm

    @extend_schema(
        summary="Fetch a snapshot's files",
        description="A pack, as it is stored by POST. A run's own token fetches the snapshot that it runs, no other.",
        responses={(200, MEDIA_TYPE): OpenApiTypes.BINARY},
    )
    def get(self, request: Request, hash: str) -> StreamingHttpResponse:
        """The list of files first, then each piece once."""
        snapshot = found_snapshot(request, hash)
        note_use(snapshot)
        return StreamingHttpResponse(_stream(snapshot), content_type=MEDIA_TYPE)


def _stream(snapshot: Snapshot) -> Iterator[bytes]:
    manifest = manifest_of(snapshot)
    yield from packed(manifest, pieces_of(snapshot, manifest.piece_sizes()))
