"""Errors as users should see them: with the frames of their own code, not the engine's."""

import os
from types import TracebackType

_MAX_MESSAGE_CHARACTERS = 10_000
_ENGINE = os.path.dirname(os.path.abspath(__file__)) + os.sep


class RemoteTraceback(Exception):
    """The traceback of an error that was raised in another process, as the cause of that error.

    Attributes:
        text: As the other process formatted it.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


def is_engine(filename: str) -> bool:
    """Whether code of this file is the engine's."""
    return filename.startswith(_ENGINE)


def user_frames(traceback: TracebackType | None) -> TracebackType | None:
    """Unlink the engine's frames from a traceback, in place.

    Returns:
        The first frame that is left, None if none is.
    """
    while traceback is not None and is_engine(traceback.tb_frame.f_code.co_filename):
        traceback = traceback.tb_next
    frame = traceback
    while frame is not None:
        while frame.tb_next is not None and is_engine(frame.tb_next.tb_frame.f_code.co_filename):
            frame.tb_next = frame.tb_next.tb_next
        frame = frame.tb_next
    return traceback


def hide_engine(error: BaseException) -> None:
    """Leave only the user's frames in an error and in the errors that led to it."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        error_or_none = waiting.pop()
        if error_or_none is None or id(error_or_none) in seen:
            continue
        seen.add(id(error_or_none))
        error_or_none.__traceback__ = user_frames(error_or_none.__traceback__)
        waiting += [error_or_none.__cause__, error_or_none.__context__]


def summary(error: BaseException) -> str:
    """Return `ValueError: message`, or the name alone where there is no message."""
    try:
        message = str(error)
    except Exception as unprintable:  # a user's __str__
        message = f"<its message cannot be read: {type(unprintable).__name__}>"
    if len(message) > _MAX_MESSAGE_CHARACTERS:
        message = f"{message[:_MAX_MESSAGE_CHARACTERS]}… ({len(message):,} characters in all)"
    return f"{type(error).__qualname__}: {message}" if message else type(error).__qualname__
