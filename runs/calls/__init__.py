"""Calls: attempts of task runs that Celery's workers execute for flow runs (`orchestrator.sdk.runners.celery`).

The way of a call: the flow's process posts it (`runs.api.calls`) → it is signed (`signing`) and sent through Celery
(`sending`) → a worker claims it in the broker (`taking`) and has a process of its own execute it (`processes`) → what
that says goes into a stream of the broker (`way_back`) → the flow's process reads it (`stream`).

The broker is trusted with nothing: messages are signed by the server, entries of streams by the worker, and either is
checked before anything of it is unpickled. It keeps no state that could not be lost: the flow's process has every call
until it has ended, looks for those of which it hears nothing, and decides what becomes of them.
"""
