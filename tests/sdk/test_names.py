"""Generated names."""

import os
import re

from orchestrator.sdk.ids import new_id, uuid7
from orchestrator.sdk.names import ADJECTIVES, ANIMALS, generate_name


def test_names_are_an_adjective_and_an_animal():
    for _ in range(100):
        adjective, _, animal = generate_name().partition("-")
        assert adjective in ADJECTIVES
        assert animal in ANIMALS


def test_word_lists_are_long_clean_and_without_repetition():
    for words in (ADJECTIVES, ANIMALS):
        assert len(words) == len(set(words)) >= 150
        assert all(re.fullmatch(r"[a-z]{2,12}", word) for word in words)


def test_ids_are_uuid7_text_in_order_of_time():
    first, second = new_id(), new_id()
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", first)
    assert first[:18] <= second[:18] <= str(uuid7())[:18]
    assert first != second


def test_forked_process_makes_ids_of_its_own():
    new_id()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, "".join(new_id()[-17:] for _ in range(5)).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    theirs = os.read(reader, 1000).decode()
    os.close(reader)
    os.close(writer)
    assert len(theirs) == 5 * 17
    assert not [ours for ours in (new_id()[-17:] for _ in range(5)) if ours in theirs]
