"""The kind `kubernetes` against an API server that breaks: one Job an attempt, no false crash, every end told apart."""

import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from orchestrator.sdk.causes import Cause
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.infrastructure import cluster as api
from orchestrator.sdk.infrastructure import pod_beginning
from orchestrator.sdk.infrastructure.base import Ended, InfrastructureError, Launch, Unreachable
from orchestrator.sdk.infrastructure.cluster import ClusterProblem, read_kubeconfig
from orchestrator.sdk.infrastructure.container_engine import name_of
from orchestrator.sdk.infrastructure.kubernetes import Kubernetes
from orchestrator.sdk.infrastructure.kubernetes_settings import KubernetesSettings
from orchestrator.sdk.infrastructure.manifests import TOKEN
from orchestrator.sdk.infrastructure.pod_beginning import PodBeginning
from tests.infrastructure.cluster import Certificates, FakeCluster, fake_cluster

WAIT_SECONDS = 30.0
WAITS = "import sys, time\nprint('up', flush=True)\ntime.sleep(60)"


class Attempt:
    """An attempt that executes some code in place of a run, and what was told of it."""

    def __init__(
        self, cluster: FakeCluster, code: str, run: str = "", number: int = 1, goes_on: bool = False, **settings: Any
    ) -> None:
        given = {"image": "etl:7", "python": sys.executable, "kubeconfig": "test", **settings}
        credentials = {"kubeconfig": {"kubeconfig": cluster.kubeconfig}}
        self.kind = Kubernetes(KubernetesSettings(**given), "prod", credentials)
        self.cluster = cluster
        self.lines: list[str] = []
        self.told = threading.Condition()
        self.run = run or str(uuid7())
        self.job = name_of(self.run, number)
        self.launch = Launch(
            run=self.run,
            attempt=number,
            goes_on=goes_on,
            arguments=("-u", "-c", code),
            environment={"ORCHESTRATOR_API_URL": "http://127.0.0.1:9", TOKEN: "orun_secret"},
            stop_reason=lambda: "cancelled",
            tell=self._tell,
        )

    def _tell(self, line: str) -> None:
        with self.told:
            self.lines.append(line)
            self.told.notify_all()

    def execute(self) -> Ended:
        return self.kind.run(self.launch)

    def begin(self, line: str = "up") -> Callable[[], Ended]:
        """Execute it in a thread, wait until it tells a line, and return what waits for its end."""
        ends: Future[Ended] = Future()

        def execute() -> None:
            try:
                ends.set_result(self.execute())
            except (InfrastructureError, Unreachable) as error:
                ends.set_exception(error)

        threading.Thread(target=execute).start()
        with self.told:
            assert self.told.wait_for(lambda: any(line in each for each in self.lines), WAIT_SECONDS), self.lines
        return lambda: ends.result(WAIT_SECONDS)


def names(cluster: FakeCluster, kind: str) -> list[str]:
    with cluster.changed:
        return [name for other, _, name in cluster.objects if other == kind]


def eventually(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_job_gets_its_token_from_a_secret_of_its_own_and_its_lines_are_told(cluster: FakeCluster) -> None:
    code = "import os\nprint(os.environ['ORCHESTRATOR_API_TOKEN'], os.environ['GREETING'])\nprint('half', end='')"
    attempt = Attempt(cluster, code, environment={"GREETING": "hi"})
    assert attempt.execute() == Ended(0, message="exit code 0")
    assert attempt.lines == ["orun_secret hi", "half"]
    job = cluster.get("jobs", "default", attempt.job)
    assert "orun_secret" not in str(job)
    secret = cluster.get("secrets", "default", attempt.job)
    assert secret["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
    assert job["spec"]["ttlSecondsAfterFinished"] == 3600


def test_a_job_that_is_not_kept_is_gone_with_all_that_is_its_own(cluster: FakeCluster) -> None:
    attempt = Attempt(cluster, "print('out of luck'); raise SystemExit(3)", keep_finished_seconds=0)
    assert attempt.execute() == Ended(3, message="exit code 3; it last said: out of luck")
    assert names(cluster, "jobs") == names(cluster, "pods") == names(cluster, "secrets") == []


def test_watches_that_drop_410_and_503_are_no_crash(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = Attempt(cluster, "import time\nprint('up', flush=True)\nfor n in range(20): print(n); time.sleep(0.1)")
    end = attempt.begin()
    cluster.drop()
    cluster.failing += [503, 429, 500]
    eventually(lambda: not cluster.failing)
    cluster.compact()
    cluster.is_away = True
    cluster.drop()
    eventually(lambda: any("cannot be asked" in line for line in attempt.lines))
    cluster.is_away = False
    assert end() == Ended(0, message="exit code 0")
    assert [line for line in attempt.lines if line.isdigit()] == [str(n) for n in range(20)]
    assert cluster.created.count(("jobs", attempt.job)) == 1


def test_what_its_supervisor_left_is_taken_over_and_not_started_twice(cluster: FakeCluster) -> None:
    first = Attempt(cluster, "import time\nprint('up', flush=True)\ntime.sleep(1)\nprint('done')")
    end = first.begin()
    second = Attempt(cluster, "print('twice')", run=first.run)
    assert second.execute().exit_code == 0
    assert end().exit_code == 0
    assert first.lines == second.lines == ["up", "done"]
    assert cluster.created.count(("jobs", first.job)) == 1


def test_the_next_attempt_begins_when_the_one_before_is_gone(cluster: FakeCluster) -> None:
    first = Attempt(cluster, WAITS)
    end = first.begin()
    second = Attempt(cluster, "print('second')", run=first.run, number=2)
    assert second.execute().exit_code == 0
    assert end().signal == 15
    assert first.job not in names(cluster, "jobs")


def test_an_attempt_before_is_deleted_in_whatever_order_the_cluster_has_them(cluster: FakeCluster) -> None:
    tenth = Attempt(cluster, "print('done')", number=10)
    tenth.execute()  # by name the Job of an attempt 10 stands before that of attempt 9
    ninth = Attempt(cluster, WAITS, run=tenth.run, number=9)
    end = ninth.begin()
    assert Attempt(cluster, "", run=tenth.run, number=10).execute().exit_code == 0
    assert end().signal == 15
    assert names(cluster, "jobs") == [tenth.job]


def test_what_is_followed_is_not_given_up_while_the_cluster_is_away(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "PATIENCE_SECONDS", 0.3)
    first = Attempt(cluster, "import time\nprint('up', flush=True)\ntime.sleep(3)\nprint('done')")
    first.begin()
    cluster.is_away = True
    second = Attempt(cluster, "", run=first.run, goes_on=True)
    end = second.begin("cannot be asked")
    cluster.is_away = False
    assert end() == Ended(0, message="exit code 0")
    assert [line for line in second.lines if "cannot be asked" not in line] == ["up", "done"]


def test_a_refusal_is_no_end_of_what_is_followed(cluster: FakeCluster) -> None:
    first = Attempt(cluster, WAITS)
    first.begin()
    stale = Attempt(cluster, "", run=first.run, goes_on=True)
    stale.kind.credentials = {"kubeconfig": {"kubeconfig": cluster.kubeconfig.replace("cluster-token", "stale-token")}}
    with pytest.raises(Unreachable, match="Unauthorized"):
        stale.execute()
    stale.kind.credentials = {}
    with pytest.raises(Unreachable, match="holds no kubeconfig"):
        stale.execute()
    assert names(cluster, "jobs") == [first.job]
    first.kind.stop(0.0)


def test_a_cluster_that_goes_away_while_the_job_is_made_ends_nothing(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "PATIENCE_SECONDS", 0.3)
    attempt = Attempt(cluster, WAITS)
    make = attempt.kind._make

    def make_and_go_away(*given: Any) -> dict[str, Any]:
        job = make(*given)
        cluster.is_away = True
        return job

    monkeypatch.setattr(attempt.kind, "_make", make_and_go_away)
    with pytest.raises(Unreachable, match="does not answer"):
        attempt.execute()
    assert names(cluster, "jobs") == [attempt.job]


def test_a_pod_that_waits_for_its_own_secret_is_not_told_of(cluster: FakeCluster) -> None:
    attempt = Attempt(cluster, WAITS)
    beginning = PodBeginning(attempt.launch, 60, lambda: "")
    for name in (attempt.job, "other"):
        held = {"reason": "CreateContainerConfigError", "message": f'secret "{name}" not found'}
        status = {"containerStatuses": [{"name": "run", "state": {"waiting": held}}]}
        assert beginning.judge({"status": status}) is None
    assert attempt.lines == ['Waiting: CreateContainerConfigError: secret "other" not found']


def test_stopping_is_sigterm_and_then_sigkill_and_nothing_is_left(cluster: FakeCluster) -> None:
    code = "import signal, time\nsignal.signal(15, lambda *_: exit(5))\nprint('up', flush=True)\ntime.sleep(60)"
    polite = Attempt(cluster, code)
    end = polite.begin()
    polite.kind.stop(20.0)
    assert end().exit_code == 5

    stubborn = Attempt(cluster, "import signal, time\nsignal.signal(15, 1)\nprint('up', flush=True)\ntime.sleep(60)")
    end = stubborn.begin()
    stubborn.kind.stop(0.0)
    assert end().signal == 9
    eventually(lambda: not names(cluster, "pods"))
    assert names(cluster, "jobs") == names(cluster, "secrets") == []


def test_stopped_before_it_began_nothing_is_made(cluster: FakeCluster) -> None:
    attempt = Attempt(cluster, WAITS)
    attempt.kind.stop(0.0)
    assert attempt.execute().message == "cancelled"
    assert cluster.created == []


def test_evicted_out_of_memory_and_deleted_are_told_apart_with_the_last_line(cluster: FakeCluster) -> None:
    evicted = Attempt(cluster, WAITS)
    end = evicted.begin()
    cluster.evict(evicted.job, "The node was low on resource: memory.")
    assert end() == Ended(
        message="evicted: The node was low on resource: memory.; it last said: up", cause=Cause.EVICTED
    )

    greedy = Attempt(cluster, WAITS, memory_limit="256Mi")
    end = greedy.begin()
    cluster.run_out_of_memory(greedy.job)
    assert end() == Ended(
        signal=9, message="out of memory: its pod may use 256Mi; it last said: up", cause=Cause.OUT_OF_MEMORY
    )

    deleted = Attempt(cluster, WAITS)
    end = deleted.begin()
    cluster.delete_pod(deleted.job)
    assert end() == Ended(message="its pod was deleted; it last said: up", cause=Cause.LOST)


def test_a_pod_that_finds_no_node_says_so_and_is_given_up_in_time(cluster: FakeCluster) -> None:
    cluster.unschedulable = "0/3 nodes are available: 3 Insufficient memory."
    attempt = Attempt(cluster, WAITS, start_timeout_seconds=1)
    ended = attempt.execute()
    assert ended.cause is Cause.UNSCHEDULABLE
    assert ended.message == (
        "unschedulable: 0/3 nodes are available: 3 Insufficient memory. (it had not begun after 1 s)"
    )
    assert attempt.lines == ["Waiting: unschedulable: 0/3 nodes are available: 3 Insufficient memory."]
    assert names(cluster, "jobs") == []  # it must not begin after all


def test_a_pod_that_waited_for_a_node_begins_when_there_is_one(cluster: FakeCluster) -> None:
    cluster.unschedulable = "0/3 nodes are available."
    attempt = Attempt(cluster, "print('up')")
    end = attempt.begin("Waiting: unschedulable")
    cluster.unschedulable = ""
    assert end().exit_code == 0
    assert attempt.lines[-1] == "up"


def test_an_image_that_cannot_be_pulled_is_told_in_the_cluster_s_words(cluster: FakeCluster) -> None:
    attempt = Attempt(cluster, WAITS, image="registry/missing:1", start_timeout_seconds=1)
    ended = attempt.execute()
    assert ended.cause is Cause.IMAGE
    assert ended.message == "ErrImagePull: registry/missing:1: not found (it had not begun after 1 s)"


def test_a_job_that_gets_no_pod_says_what_its_controller_said(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_beginning, "_QUIET_SECONDS", 0.1)
    cluster.no_pods = "Error creating: pods is forbidden: exceeded quota: batch"
    attempt = Attempt(cluster, WAITS, start_timeout_seconds=1)
    ended = attempt.execute()
    assert ended.message == "Error creating: pods is forbidden: exceeded quota: batch (it had not begun after 1 s)"


def test_a_cluster_that_says_no_ends_it_in_its_own_words(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    invalid = Attempt(cluster, WAITS)
    invalid.kind.credentials = {
        "kubeconfig": {"kubeconfig": cluster.kubeconfig.replace("cluster-token", "stale-token")}
    }
    with pytest.raises(InfrastructureError, match=r"Unauthorized \(block 'prod'\)"):
        invalid.execute()

    monkeypatch.setattr(api, "PATIENCE_SECONDS", 0.3)
    cluster.is_away = True
    with pytest.raises(InfrastructureError, match="does not answer") as caught:
        Attempt(cluster, WAITS).execute()
    assert caught.value.cause is Cause.LOST


def test_without_a_kubeconfig_outside_a_cluster_it_says_what_to_do(cluster: FakeCluster) -> None:
    attempt = Attempt(cluster, WAITS, kubeconfig="")
    attempt.kind.credentials = {}
    with pytest.raises(InfrastructureError, match="runs in no cluster, and the block names no kubeconfig"):
        attempt.execute()


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("users", {"exec": {"command": "sh"}}),
        ("users", {"auth-provider": {"name": "gcp"}}),
        ("users", {"tokenFile": "/etc/shadow"}),
        ("users", {"client-key": "/root/.ssh/id"}),
        ("clusters", {"server": "https://x", "certificate-authority": "/etc/shadow"}),
    ],
)
def test_a_kubeconfig_may_not_reach_into_the_worker_s_machine(kind: str, values: dict[str, Any]) -> None:
    config = {"clusters": [{"name": "c", "cluster": {"server": "https://x"}}], "users": []}
    config[kind] = [{"name": "c", kind[:-1]: values}]
    with pytest.raises(ClusterProblem, match="refers to the machine where it is used"):
        read_kubeconfig(str(config))


def test_a_cluster_is_reached_by_its_own_certificates_and_no_key_is_left_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = tmp_path / "written"
    written.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(written))
    with fake_cluster(Certificates(tmp_path)) as cluster:
        attempt = Attempt(cluster, "print('up')")
        assert attempt.execute().exit_code == 0
        assert attempt.lines == ["up"]
    assert list(written.iterdir()) == []
