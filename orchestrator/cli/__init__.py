"""The `orchestrator` command. Each verb group is a module of its own, imported when it is called."""

import sys

import click

from orchestrator._version import __version__
from orchestrator.cli.groups import LazyGroup

COMMANDS = {
    "audit": ("orchestrator.cli.audit:audit", "The audit log: who did what to which object."),
    "block": ("orchestrator.cli.blocks:block", "Blocks: where runs execute, and with which credentials."),
    "calendar": ("orchestrator.cli.calendars:calendar", "Business calendars: weekends and holidays."),
    "concurrency-limit": (
        "orchestrator.cli.concurrency_limits:concurrency_limit",
        "Limit how many task runs with a tag run at once.",
    ),
    "deploy": ("orchestrator.cli.deploy:deploy", "Make a deployment of a flow, or update it."),
    "deployment": ("orchestrator.cli.deployments:deployment", "List, run, pause and schedule deployments."),
    "destination": ("orchestrator.cli.destinations:destination", "Where notifications go: make and test."),
    "drill": ("orchestrator.cli.drill:drill", "Kill every part at random, and look for what was lost."),
    "flow": ("orchestrator.cli.flows:flow", "List flows."),
    "flow-run": ("orchestrator.cli.flow_runs:flow_run", "List, watch, cancel and rerun flow runs."),
    "notification": ("orchestrator.cli.notifications:notification", "Be told of runs that fail, in Slack or by mail."),
    "server": ("orchestrator.cli.server:server", "Start and stop the server of this machine."),
    "service-account": ("orchestrator.cli.teams:service_account", "Accounts for machines, which have tokens alone."),
    "share": ("orchestrator.cli.shares:share", "Share single flows and deployments with people and other teams."),
    "team": ("orchestrator.cli.teams:team", "Make teams; see and invite their members."),
    "token": ("orchestrator.cli.tokens:token", "Make and revoke API tokens."),
    "user": ("orchestrator.cli.user:user", "Make users, give them roles, set passwords."),
    "worker": ("orchestrator.cli.workers:worker", "Start workers on this machine; see what runs where."),
    "work-queue": ("orchestrator.cli.work_queues:work_queue", "Work queues: limits, priorities, pauses."),
    "version": ("orchestrator.cli.version:version", "Print the version."),
}

HELP = """Run, schedule and watch flows.

A script with @flow needs nothing of this: run it, then look at it.

\b
  python script.py
  orchestrator flow-run ls
  orchestrator server start
  orchestrator deploy script.py:my_flow --name nightly --cron "0 7 * * *"

Commands go to ORCHESTRATOR_API_URL (with ORCHESTRATOR_API_TOKEN) where it is set, else to the server running on this
machine, else they answer from its database.
"""

cli = LazyGroup("orchestrator", commands_by_name=COMMANDS, help=HELP)
click.version_option(__version__, message="%(version)s")(cli)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and exit: 0 when it did what was asked, 1 when that failed, 2 for a wrong command line."""
    return cli.main(sys.argv[1:] if arguments is None else arguments, prog_name="orchestrator")
