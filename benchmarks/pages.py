"""Open pages in a real Chromium: how soon what happened is on them."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import UUID

from playwright.sync_api import Error, Page, sync_playwright

from benchmarks.measures import BenchmarkError, Bound, NotHereError, Row, percentile
from benchmarks.processes import PROGRAMS, PYTHON
from benchmarks.records import wait_until
from benchmarks.scripts import run_tasks
from benchmarks.serving import Server, serving

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ("--disable-background-networking", "--disable-dev-shm-usage", "--disable-gpu", "--no-first-run")
WAIT_SECONDS = 60
TICK_SECONDS = 0.17  # no whole part of the quarter second in which pages gather changes

# Notes when a text that matches is first in the page: window.seen, text → milliseconds since the epoch.
_WATCH = """
window.seen = {};
const look = text => {
  for (const [found] of text.matchAll(/PATTERN/g))
    if (!(found in window.seen)) window.seen[found] = performance.timeOrigin + performance.now();
};
new MutationObserver(changes => {
  const changed = new Set(changes.map(change => change.target.parentNode || change.target));
  for (const node of changed) look(node.textContent || "");
}).observe(document, {childList: true, characterData: true, subtree: true});
"""


def live(quick: bool) -> Iterator[Row]:
    """A flow prints the time, again and again; its open page shows the lines."""
    ticks = 20 if quick else 60
    with serving() as server, open_page(server, r"tick-\d{16}") as page:
        command = [PYTHON, str(PROGRAMS / "ticking.py"), str(ticks + 30), str(TICK_SECONDS)]
        with _running(command, server) as process:
            page.goto(f"{server.url}/runs/{_wait_for_run(server)}/")
            page.wait_for_timeout(1000)  # its socket is open
            opened = time.time() * 1000
            page.wait_for_timeout((ticks + 2) * TICK_SECONDS * 1000)
            if process.poll() is not None:
                raise BenchmarkError("the flow ended while its page was watched")
            closed = time.time() * 1000
            page.wait_for_timeout(2000)
        seen = page.evaluate("window.seen")
        printed = {text: int(text.removeprefix("tick-")) / 1000 for text in _printed(server)}
    watched = {text: at for text, at in printed.items() if opened <= at <= closed}
    late = [seen[text] - at for text, at in watched.items() if text in seen]
    if len(late) < max(ticks, len(watched)):
        raise BenchmarkError(f"the page showed {len(late)} of {max(ticks, len(watched))} lines")
    note = f"{len(late)} printed lines on the run's page in Chromium; median {percentile(late, 50):.0f} ms"
    yield Row("fact to open page, p95", "ms", (percentile(late, 95),), Bound(500), note)


def count(quick: bool) -> Iterator[Row]:
    """Many tasks in one flow, its page open: how long after the flow's end the count on it has them all."""
    tasks = 2_000 if quick else 10_000
    text = f"{tasks:,}"
    pattern = rf"(?<!of\s*){text}(\s+of\s+{text})?\s+task\s+runs\s+completed"
    with serving() as server, open_page(server, pattern) as page:
        signal = server.home / "begin"
        with ThreadPoolExecutor(1) as pool:
            run = pool.submit(run_tasks, tasks, server.environment, "--when", str(signal))
            try:
                page.goto(f"{server.url}/runs/{_wait_for_run(server)}/")
                page.wait_for_timeout(1000)  # its socket is open
            finally:
                signal.touch()
            page.wait_for_function("Object.keys(window.seen).length > 0", timeout=WAIT_SECONDS * 1000)
            _, ended = run.result()
        shown = min(page.evaluate("window.seen").values()) / 1000
        server.records.expect_tasks(tasks)
    yield Row(f"{tasks:,} tasks on the page's count after the run's end", "s", (max(0.0, shown - ended),), Bound(2.0))


@contextmanager
def open_page(server: Server, pattern: str) -> Iterator[Page]:
    """Yield a page that is signed in and notes when a text that matches is first in it.

    NotHereError without Chromium.
    """
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        raise NotHereError("no Chromium on PATH; CHROMIUM=/path names one")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # root cannot use it
    sign_in = server.command("server", "url").split()[-1]
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS, *sandbox])
            page = browser.new_page()
            page.add_init_script(_WATCH.replace("PATTERN", pattern))
            page.goto(sign_in)
            yield page
            browser.close()
    except Error as error:
        raise BenchmarkError(f"Chromium: {error.message.splitlines()[0]}") from None


@contextmanager
def _running(command: list[str], server: Server) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(command, env=server.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _printed(server: Server) -> list[str]:
    return [text.strip() for (text,) in server.records.rows("SELECT message FROM runs_log WHERE message LIKE 'tick-%'")]


def _wait_for_run(server: Server) -> UUID:
    """Return the id of the newest flow run, once it is in the database and runs."""
    query = "SELECT id FROM runs_flowrun WHERE state_type = 'RUNNING' ORDER BY id DESC LIMIT 1"
    wait_until(lambda: server.records.count(f"SELECT count(*) FROM ({query})") > 0, "a running flow run", 30)
    return UUID(server.records.rows(query)[0][0])


BENCHMARKS: dict[str, Callable[[bool], Iterator[Row]]] = {"live": live, "count": count}
