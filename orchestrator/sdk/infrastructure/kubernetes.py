"""Kubernetes: each run as a Job of its own.

The run's process in the pod reads what to run from the API, and ships its facts there, by the run's own token, which
stands in a Secret that goes with the Job. Its supervisor, on the worker's machine, makes the Job, follows its pod, and
tells how it ended. The Job's name is made of run and attempt: whoever supervises the attempt next finds it, and a
second one cannot be made.
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import suppress
from typing import Any, Final

from orchestrator.sdk.causes import Cause
from orchestrator.sdk.home import ECHO_VARIABLE
from orchestrator.sdk.infrastructure import manifests, pods
from orchestrator.sdk.infrastructure.base import Ended, Infrastructure, InfrastructureError, Launch, Unreachable
from orchestrator.sdk.infrastructure.cluster import (
    Cluster,
    ClusterAway,
    ClusterProblem,
    next_pause,
    read_kubeconfig,
)
from orchestrator.sdk.infrastructure.container_engine import ATTEMPT_LABEL, RUN_LABEL, name_of
from orchestrator.sdk.infrastructure.kubernetes_settings import KubernetesSettings
from orchestrator.sdk.infrastructure.pod_beginning import PodBeginning
from orchestrator.sdk.infrastructure.pod_watch import PodWatch
from orchestrator.sdk.infrastructure.printed import MAX_LINE_BYTES, Printed

_CONFLICT: Final = 409
_NOT_FOUND: Final = 404
_LAST_LINES_SECONDS: Final = 5.0
_FIRST_PAUSE_SECONDS: Final = 0.2
_GONE_SECONDS: Final = 5.0  # for a node to end a pod, beyond its grace
_AWAY: Final = "The cluster cannot be asked: {}. The run goes on; it is asked again."


class Kubernetes(Infrastructure[KubernetesSettings]):
    """A Job for each attempt."""

    kind = "kubernetes"
    label = "Kubernetes Job"
    summary = "Each run as a Job of its own in a Kubernetes cluster."
    risk = "A manifest may have a pod do whatever the cluster lets the worker's account do."
    icon = "boxes"
    outlives_worker = "any"
    Settings = KubernetesSettings

    def __init__(self, settings: KubernetesSettings, block: str = "", credentials: Any = None) -> None:
        super().__init__(settings, block, credentials)
        self._lock = threading.Lock()  # held while the Job is made, so that a stop finds it
        self._name = ""
        self._is_stopped = False
        self._may_live = False  # its pod may be under way: that no cluster answers is not its end
        self._is_over = threading.Event()
        self._printed = Printed(print)

    @classmethod
    def check(cls, settings: KubernetesSettings) -> dict[str, str]:
        """Names of variables have to be ones, and a manifest with its patches has to make a Job."""
        errors = {}
        for name in settings.environment:
            if not name or "=" in name or name.startswith("ORCHESTRATOR_"):
                errors["environment"] = f"{name!r} cannot be set here: name a variable of your own code's."
        if wrong := manifests.wrong_base(settings.manifest):
            errors["manifest"] = wrong
        elif not settings.image and not settings.manifest:
            errors["image"] = "Name an image, or have the manifest name one."
        elif not errors:
            try:
                cls(settings).preview("run", "")
            except manifests.ManifestError as error:
                errors["patches"] = str(error)
        return errors

    def preview(self, run: str, api_url: str) -> dict[str, Any]:
        """Return the manifest of a run's Job, as it will be sent. Raises ManifestError: the block makes none."""
        environment = {"ORCHESTRATOR_API_URL": api_url, "ORCHESTRATOR_RUN_ID": run, "ORCHESTRATOR_ATTEMPT": "1"}
        return self._manifest(Launch(run=run, attempt=1, environment=environment))

    def run(self, launch: Launch) -> Ended:
        """Execute the attempt as its Job."""
        self._may_live, self._printed = launch.goes_on, Printed(launch.tell)
        try:
            cluster = self._cluster()
        except ClusterProblem as problem:
            raise self._unanswered(problem, launch) from None
        try:
            return self._run(cluster, launch)
        except ClusterProblem as problem:
            raise self._unanswered(problem, launch) from None
        except manifests.ManifestError as problem:
            raise InfrastructureError(self._said(problem)) from None
        finally:
            self._is_over.set()
            cluster.close()

    def _unanswered(self, problem: ClusterProblem, launch: Launch) -> Exception:
        """Return what to raise: of a pod that may be under way even a refusal says nothing."""
        is_away = isinstance(problem, ClusterAway)
        if launch.goes_on or (is_away and self._may_live):
            return Unreachable(self._said(problem))
        return InfrastructureError(self._said(problem), Cause.LOST if is_away else Cause.EXIT)

    def stop(self, grace_seconds: float) -> None:
        """Have the cluster end the pod: SIGTERM, SIGKILL after the grace; and delete the Job."""
        with self._lock:
            self._is_stopped = True
        if not self._name:
            return
        cluster = self._cluster()
        try:
            self._delete_pods(cluster, math.ceil(grace_seconds))
            with suppress(ClusterProblem):
                self._delete_job(cluster, self._name)
            if not self._is_over.wait(grace_seconds + _GONE_SECONDS):  # its node does not answer
                self._delete_pods(cluster, 0)
        finally:
            cluster.close()

    def _run(self, cluster: Cluster, launch: Launch) -> Ended:
        if launch.goes_on:
            self._name = name_of(launch.run, launch.attempt)
            self._find(cluster, launch)
        else:
            self._clear_away(cluster, launch)
            with self._lock:
                if self._is_stopped:
                    return Ended(message=launch.stop_reason())
                self._begin(cluster, launch)
        ended = self._follow(cluster, launch)
        if self.settings.keep_finished_seconds == 0:
            with suppress(ClusterProblem):
                self._delete_job(cluster, self._name)
        return ended

    def _cluster(self) -> Cluster:
        known = self.credentials.get("kubeconfig") or {}
        text = str(known.get("kubeconfig") or "")
        if self.settings.kubeconfig and not text:
            raise ClusterProblem(f"the block {self.settings.kubeconfig!r} holds no kubeconfig")
        return Cluster(text, str(known.get("context") or ""))

    # The Job

    def _manifest(self, launch: Launch) -> dict[str, Any]:
        settings = self.settings
        environment = {**settings.environment, ECHO_VARIABLE: "0", **launch.environment}
        if settings.api_url:
            environment["ORCHESTRATOR_API_URL"] = settings.api_url
        resources = {
            "requests": _given(cpu=settings.cpu_request, memory=settings.memory_request),
            "limits": _given(cpu=settings.cpu_limit, memory=settings.memory_limit),
        }
        return manifests.job(
            launch.run,
            launch.attempt,
            command=[settings.python, *launch.arguments],
            environment=environment,
            image=settings.image,
            base=settings.manifest,
            patches=settings.patches,
            job_fields={"ttlSecondsAfterFinished": settings.keep_finished_seconds or None},
            pod_fields={
                "serviceAccountName": settings.service_account,
                "automountServiceAccountToken": None if settings.service_account or settings.manifest else False,
                "imagePullSecrets": [{"name": name} for name in settings.image_pull_secrets],
                "nodeSelector": settings.node_selector,
                "tolerations": settings.tolerations,
            },
            container_fields={"resources": {name: values for name, values in resources.items() if values}},
        )

    @property
    def _jobs(self) -> str:
        return f"/apis/batch/v1/namespaces/{self.settings.namespace}/jobs"

    @property
    def _core(self) -> str:
        return f"/api/v1/namespaces/{self.settings.namespace}"

    def _begin(self, cluster: Cluster, launch: Launch) -> None:
        """Make the Job and its Secret, or take over those that are there."""
        manifest = self._manifest(launch)
        self._may_live, self._name = True, name_of(launch.run, launch.attempt)
        job = self._make(cluster, launch, manifest)
        token = launch.environment[manifests.TOKEN]
        try:
            cluster.call("POST", f"{self._core}/secrets", manifests.secret(launch.run, launch.attempt, token, job))
        except ClusterAway:  # it may be made
            raise
        except ClusterProblem as problem:
            if problem.status != _CONFLICT:
                with suppress(ClusterProblem):
                    self._delete_job(cluster, self._name)
                raise

    def _make(self, cluster: Cluster, launch: Launch, manifest: dict[str, Any]) -> dict[str, Any]:
        """Return the Job, made now or found."""
        try:
            return cluster.call("POST", self._jobs, manifest)
        except ClusterProblem as problem:
            if problem.status != _CONFLICT:
                raise
        return self._job(cluster, launch)

    def _find(self, cluster: Cluster, launch: Launch) -> None:
        """Make sure that the Job is there, however long the cluster is away: its pod may be under way."""
        is_told = False
        while True:
            try:
                self._job(cluster, launch)
            except ClusterAway as problem:
                if self._is_stopped:
                    raise
                if not is_told:
                    launch.tell(_AWAY.format(problem))
                is_told = True
            else:
                return

    def _job(self, cluster: Cluster, launch: Launch) -> dict[str, Any]:
        try:
            job = cluster.call("GET", f"{self._jobs}/{self._name}")
        except ClusterProblem as problem:
            if problem.status == _NOT_FOUND:
                raise InfrastructureError(self._said(ClusterProblem("its Job is gone")), Cause.LOST) from None
            raise
        if (job["metadata"].get("labels") or {}).get(RUN_LABEL) != launch.run:
            raise ClusterProblem(f"a Job {self._name} is there that is not this run's")
        return job

    def _clear_away(self, cluster: Cluster, launch: Launch) -> None:
        """Delete what earlier attempts left, and wait until their pods are gone: two are never under way at once."""
        found = cluster.call("GET", self._jobs, labelSelector=f"{RUN_LABEL}={launch.run}").get("items") or []
        earlier = [job["metadata"] for job in found if _attempt(job) < launch.attempt and not _has_ended(job)]
        for each in earlier:
            self._delete_job(cluster, each["name"])
        pause = _FIRST_PAUSE_SECONDS
        while earlier and not self._is_stopped:
            left = cluster.call("GET", f"{self._core}/pods", labelSelector=f"{RUN_LABEL}={launch.run}")["items"]
            if not any(_attempt(pod) < launch.attempt and pods.ended(pod) is None for pod in left):
                return
            time.sleep(pause)
            pause = next_pause(pause)

    def _delete_job(self, cluster: Cluster, name: str) -> None:
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        try:
            cluster.call("DELETE", f"{self._jobs}/{name}", options)
        except ClusterProblem as problem:
            if problem.status != _NOT_FOUND:
                raise

    def _delete_pods(self, cluster: Cluster, grace_seconds: int) -> None:
        selector = f"job-name={self._name}"
        with suppress(ClusterProblem):
            for pod in cluster.call("GET", f"{self._core}/pods", labelSelector=selector).get("items") or []:
                options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": grace_seconds}
                with suppress(ClusterProblem):
                    cluster.call("DELETE", f"{self._core}/pods/{pod['metadata']['name']}", options)

    # Its pod

    def _follow(self, cluster: Cluster, launch: Launch) -> Ended:
        """Follow the pod to its end, and pass on what it prints."""
        begins = PodBeginning(launch, self.settings.start_timeout_seconds, lambda: self._why_no_pod(cluster))
        reader: threading.Thread | None = None
        trouble = ""
        for seen in PodWatch(cluster, self.settings.namespace, f"job-name={self._name}", begins.patience).looks():
            if seen.trouble and not trouble:
                launch.tell(_AWAY.format(seen.trouble))
            trouble = seen.trouble
            pod = seen.pod
            if pod is not None and reader is None and pods.begun(pod):
                reader = threading.Thread(target=self._read, args=(cluster, pod["metadata"]["name"]), daemon=True)
                reader.start()
            ended = pods.ended(pod, self.settings.memory_limit) if pod is not None else None
            if ended is not None and pod is not None and pods.lingers(pod):
                with suppress(ClusterProblem):  # it has ended, which is what counts
                    self._delete_job(cluster, self._name)
            if ended is None and pod is not None and seen.is_deleted:
                ended = pods.gone(pod)
            if ended is None and not trouble and (ended := begins.judge(pod)) is not None:
                try:
                    self._delete_job(cluster, self._name)  # it must not begin after all
                except ClusterAway:
                    ended = None
            if ended is not None:
                self._is_over.set()
                if reader is not None:
                    reader.join(_LAST_LINES_SECONDS)
                return self._with_last_line(ended)
        raise AssertionError("a watch never ends")

    def _read(self, cluster: Cluster, pod: str) -> None:
        """Tell each line once, past connections that break: each has its time, to the nanosecond."""
        seen, pause = "", _FIRST_PAUSE_SECONDS
        while True:
            query = {"follow": "true", "timestamps": "true", "container": pods.CONTAINER}
            if seen:
                query["sinceTime"] = seen
            was_over = self._is_over.is_set()
            try:
                for line in cluster.lines(f"{self._core}/pods/{pod}/log", None, MAX_LINE_BYTES, **query):
                    stamp, _, text = line.partition(" ")
                    if stamp > seen:
                        seen, pause = stamp, _FIRST_PAUSE_SECONDS
                        self._printed.add(text)
                if was_over or self._is_over.wait(pause):
                    return
            except ClusterProblem:
                if was_over or self._is_over.wait(pause):
                    return
            pause = next_pause(pause)

    def _with_last_line(self, ended: Ended) -> Ended:
        if self._is_stopped or not self._printed.last or ended.exit_code == 0:
            return ended
        message = f"{ended.message}; it last said: {self._printed.last[:300]}"
        return Ended(ended.exit_code, ended.signal, message, ended.cause)

    def _why_no_pod(self, cluster: Cluster) -> Ended | str:
        """Return why a Job has no pod: its end where it has ended or is gone, else the cluster's last word on it."""
        try:
            job = cluster.call("GET", f"{self._jobs}/{self._name}")
        except ClusterProblem as problem:
            if problem.status == _NOT_FOUND:
                return Ended(message="its Job was deleted", cause=Cause.LOST)
            return ""
        for condition in (job.get("status") or {}).get("conditions") or ():
            if condition.get("type") == "Failed" and condition.get("status") == "True":
                return Ended(message=f"{condition.get('reason')}: {condition.get('message')}", cause=Cause.EXIT)
        with suppress(ClusterProblem):
            selector = f"involvedObject.name={self._name}"
            events = cluster.call("GET", f"{self._core}/events", fieldSelector=selector).get("items") or []
            warnings = [str(event.get("message")) for event in events if event.get("type") == "Warning"]
            return warnings[-1] if warnings else ""
        return ""

    def _said(self, problem: Exception) -> str:
        return f"{problem} (block {self.block!r})" if self.block else str(problem)


def _attempt(found: Any) -> int:
    return int((found["metadata"].get("labels") or {}).get(ATTEMPT_LABEL) or 0)


def _has_ended(job: Any) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(each.get("type") in ("Complete", "Failed") and each.get("status") == "True" for each in conditions)


def _given(**values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def kubeconfig_problem(text: str) -> str:
    """Return what is wrong with a kubeconfig that is to be stored, as a sentence; empty where nothing is."""
    try:
        read_kubeconfig(text)
    except ClusterProblem as problem:
        said = str(problem)
        return said[0].upper() + said[1:] + ("" if said.endswith(".") else ".")
    return ""
