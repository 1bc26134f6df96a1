"""What a server answers about slots, and how people are told."""

from __future__ import annotations

import msgspec


class Holder(msgspec.Struct):
    """A task run that holds a slot."""

    name: str = ""
    flow_run_name: str = ""


class WaitsFor(msgspec.Struct):
    """A limit that is full."""

    tag: str
    limit: int
    position: int = 0
    holders: list[Holder] = []


class Answer(msgspec.Struct):
    """Whether a task run may begin, else what it waits for."""

    granted: bool
    waits_for: list[WaitsFor] = []


class Granted(msgspec.Struct):
    """A slot was granted to this waiting task run."""

    task_run: str


def described(answer: Answer) -> str:
    """Return in a sentence what a task run waits for."""
    return "; ".join(_one_described(waits_for) for waits_for in answer.waits_for) or "Waits for a slot"


def _one_described(waits: WaitsFor) -> str:
    place = f", {waits.position} in line" if waits.position > 1 else ""
    text = f"Waits for a slot of tag '{waits.tag}' (limit {waits.limit}{place})"
    if not waits.holders:
        return text
    names = [f"'{holder.name}' of '{holder.flow_run_name}'" for holder in waits.holders]
    more = " and others" if waits.limit > len(names) else ""
    return f"{text}; held by {', '.join(names)}{more}"
