"""Readers take whole lines, follow segments, and judge only what they may."""

from pathlib import Path

import msgspec
import pytest

from orchestrator.sdk.boot import this_boot
from orchestrator.sdk.events import Ended, Exited, Header, Log, encode
from orchestrator.sdk.home import Home
from orchestrator.sdk.journal import Journal
from orchestrator.sdk.journal_ending import append_ending
from orchestrator.sdk.reader import (
    JournalReader,
    Judgement,
    UnreadableJournal,
    ask_lock,
    decode_facts,
    segment,
    segments,
    sweep_unfinished,
)

JOURNAL = "01890000-0000-7000-8000-000000000000"


def write(home: Path, *lines: bytes, number: int = 0, header: Header | None = None) -> Path:
    """Write a segment by hand."""
    Home(home).make()
    here = this_boot()
    header = header or Header(journal=JOURNAL, segment=number, boot=here.boot, machine=here.machine, host=here.host)
    path = segment(Home(home).journals, JOURNAL, number).path
    path.write_bytes(encode(header) + b"\n" + b"".join(lines))
    return path


def log(n: int, message: str = "m") -> bytes:
    """A log fact as a line."""
    return encode(Log(n=n, run="r", message=message)) + b"\n"


def reader(home: Path) -> JournalReader:
    """A reader of the first segment in a home."""
    return JournalReader(segments(Home(home))[0])


def numbers(reader: JournalReader, **bounds: int) -> list[list[int]]:
    """The numbers of the facts in each batch that can be read now."""
    return [[fact.n for fact in batch.facts] for batch in reader.batches(**bounds)]


def flat(batches: list[list[int]]) -> list[int]:
    """All numbers of all batches."""
    return [number for batch in batches for number in batch]


def test_no_home_has_no_segments(tmp_path: Path) -> None:
    assert segments(Home(tmp_path / "none")) == []


def test_line_without_its_end_is_left_for_later(home: Path) -> None:
    path = write(home, log(1), log(2)[:-1])
    journal = reader(home)
    assert numbers(journal) == [[1]]
    with path.open("ab") as file:
        file.write(b"\n" + log(3))
    assert numbers(journal) == [[2, 3]]
    assert numbers(journal) == []


def test_batches_are_bounded_by_facts_and_by_bytes(home: Path) -> None:
    write(home, *(log(n) for n in range(1, 11)))
    assert numbers(reader(home), max_facts=4) == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]
    assert flat(numbers(reader(home), max_bytes=100)) == list(range(1, 11))


def test_line_longer_than_a_batch_is_read_whole(home: Path) -> None:
    write(home, log(1, "x" * 10_000), log(2))
    assert flat(numbers(reader(home), max_bytes=1_000)) == [1, 2]


def test_reading_goes_on_from_an_offset(home: Path) -> None:
    write(home, log(1), log(2))
    first = reader(home)
    first.read(max_facts=1)
    second = JournalReader(first.segment, first.offset)
    assert numbers(second) == [[2]]
    assert second.header.journal == JOURNAL


def test_torn_and_unknown_lines_are_passed_over_and_counted() -> None:
    known, skipped = decode_facts(
        log(1)
        + b'{"k":"log","ru\n'
        + b'{"k":"hologram","n":2}\n'
        + b'{"k":"log","run":"r","depth":3,"n":3}\n'
        + b"\xff\n"
    )
    assert [fact.n for fact in known] == [1, 3]
    assert skipped == 3


def test_facts_of_a_newer_version_are_read_as_far_as_known(home: Path) -> None:
    line = msgspec.json.encode({"k": "header", "v": 99, "journal": JOURNAL, "colour": "red"}) + b"\n"
    Home(home).make()
    segment(Home(home).journals, JOURNAL, 0).path.write_bytes(line + log(1))
    assert reader(home).header.v == 99
    assert numbers(reader(home)) == [[1]]


def test_segments_are_followed_and_named_as_passed(home: Path) -> None:
    first = write(home, log(1), log(2))
    write(home, log(3), encode(Ended(n=4)) + b"\n", number=1)
    batches = list(reader(home).batches())
    assert [[fact.n for fact in batch.facts] for batch in batches] == [[1, 2], [3, 4]]
    assert [batch.passed for batch in batches] == [(), (first,)]
    assert [batch.ended for batch in batches] == [False, True]
    assert [batch.header.segment for batch in batches] == [0, 1]


def test_journal_of_another_boot_of_this_machine_is_dead(home: Path) -> None:
    here = this_boot()
    write(home, log(1), header=Header(journal=JOURNAL, boot="earlier", machine=here.machine, host=here.host))
    journal = reader(home)
    assert journal.judge() is not Judgement.DEAD
    assert numbers(journal) == [[1]]
    assert journal.judge() is Judgement.DEAD


def test_journal_of_another_machine_is_never_judged_by_its_lock(home: Path) -> None:
    path = write(home, log(1), header=Header(journal=JOURNAL, boot="b", machine="m", host="h"))
    assert ask_lock(path) is Judgement.UNKNOWN


def test_supervised_journal_is_left_to_its_host_for_a_while(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = this_boot()
    header = Header(journal=JOURNAL, boot=here.boot, machine=here.machine, host=here.host, run="r", attempt=1)
    write(home, log(1), header=header)
    journal = reader(home)
    journal.judge()
    assert numbers(journal) == [[1]]
    assert journal.judge() is Judgement.DYING
    monkeypatch.setattr("orchestrator.sdk.reader.SUPERVISOR_GRACE_SECONDS", 0.0)
    assert journal.judge() is Judgement.DEAD


def test_file_without_a_header_is_refused(home: Path) -> None:
    Home(home).make()
    segment(Home(home).journals, JOURNAL, 0).path.write_bytes(log(1))
    with pytest.raises(UnreadableJournal):
        reader(home)


def test_sweep_deletes_only_old_unfinished_files(home: Path) -> None:
    Home(home).make()
    (Home(home).journals / "a.making").write_text("")
    assert sweep_unfinished(Home(home)) == 0
    assert sweep_unfinished(Home(home), older_than_seconds=-1) == 1


def test_ending_is_written_behind_a_torn_line(home: Path) -> None:
    path = write(home, log(1), log(2)[:20])
    assert append_ending(Home(home), JOURNAL, Exited(run="r", signal=9, message="killed"))
    [batch] = reader(home).batches()
    assert [(type(fact).__name__, fact.n) for fact in batch.facts] == [("Log", 1), ("Exited", 2), ("Ended", 3)]
    assert batch.skipped == 1
    assert not append_ending(Home(home), JOURNAL, Exited(run="r"))
    assert path.read_bytes().count(b"exited") == 1


def test_ending_makes_the_journal_that_never_was(home: Path) -> None:
    assert append_ending(Home(home), JOURNAL, Exited(run="r", attempt=2, exit_code=1))
    journal = reader(home)
    assert (journal.header.run, journal.header.attempt) == ("r", 2)
    assert numbers(journal) == [[1, 2]]


def test_ending_behind_a_long_last_line(home: Path) -> None:
    write(home, log(1), log(2, "x" * 300_000))
    append_ending(Home(home), JOURNAL, Exited(run="r"))
    assert numbers(reader(home)) == [[1, 2, 3, 4]]


def test_ending_behind_a_header_alone_counts_from_its_first_number(home: Path) -> None:
    write(home, header=Header(journal=JOURNAL, first=51))
    append_ending(Home(home), JOURNAL, Exited(run="r"))
    assert numbers(reader(home)) == [[51, 52]]


def test_writer_and_reader_agree_while_segments_turn(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.sdk.journal.SEGMENT_BYTES", 2_000)
    journal = Journal()
    read: list[int] = []
    passed: list[Path] = []
    follower: JournalReader | None = None
    for number in range(500):
        journal.record(Log(run="r", message=str(number)))
        if number % 7 == 0:
            follower = follower or reader(home)
            for batch in follower.batches():
                read += [fact.n for fact in batch.facts]
                passed += batch.passed
                for path in batch.passed:
                    path.unlink()
    journal.close()
    assert follower is not None
    read += flat(numbers(follower))
    assert read == list(range(1, 502))
    assert follower.ended
    assert len(passed) > 10
