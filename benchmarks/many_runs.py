"""Rows by the hundred thousand, written by PostgreSQL itself: runs over 90 days, deliveries, the audit log.

How many runs each deployment has stands in the table `plan`, which `benchmarks.many_teams` makes.
"""

from typing import Any, Final

DAYS: Final = 90
TAGS: Final = ("nightly", "hourly", "finance", "sales", "ml", "critical")

#: A UUIDv7 of a time and the next number of a row; a time's milliseconds, then what no two rows share.
_ID: Final = """
(lpad(to_hex((extract(epoch FROM {time}) * 1000)::bigint), 12, '0')
 || '7' || substr(md5(({number})::text), 1, 3) || '8' || substr(md5(({number})::text), 4, 15))::uuid
"""

_RUNS: Final = f"""
INSERT INTO runs_flowrun (
  id, team_id, flow_id, deployment_id, queue_id, name, version, entrypoint, parameters, tags, trigger, priority,
  state_type, state_name, state_message, state_time, error, attempt, ended_by, created_at, expected_start, start_time,
  end_time, crashes, revision)
SELECT {_ID.format(time="t", number="number")}, team_id, flow_id, deployment_id, queue_id,
  (%(adjectives)s::text[])[1 + floor(c * %(adjective_count)s)] || '-' ||
  (%(animals)s::text[])[1 + floor(d * %(animal_count)s)],
  '1.4.2', 'pipelines/daily.py:main',
  jsonb_build_object('date', t::date, 'region', 'eu-' || (number %% 7), 'limit', 1000), tags,
  CASE WHEN b < 0.8 THEN 'schedule' ELSE 'api' END, 0, state, initcap(state),
  CASE state WHEN 'FAILED' THEN 'ValueError: row ' || number || ' has no customer' ELSE '' END, t + took,
  CASE state WHEN 'FAILED' THEN jsonb_build_object('type', 'ValueError', 'message', 'row ' || number,
    'traceback', repeat('  File "pipelines/daily.py", line 80, in main' || chr(10), 12)) END,
  1, CASE WHEN state IN ('RUNNING', 'PENDING') THEN '' ELSE 'run' END, t, t,
  CASE WHEN state != 'PENDING' THEN t + interval '1 second' END,
  CASE WHEN state NOT IN ('RUNNING', 'PENDING') THEN t + took END, 0, 4
FROM (
  SELECT *, row_number() OVER (ORDER BY t) AS number, interval '2 seconds' + b * b * interval '20 minutes' AS took,
    CASE WHEN t > now() - interval '1 hour' AND a < 0.3 THEN CASE WHEN a < 0.25 THEN 'RUNNING' ELSE 'PENDING' END
      WHEN a < 0.90 THEN 'COMPLETED' WHEN a < 0.96 THEN 'FAILED' WHEN a < 0.97 THEN 'CRASHED'
      WHEN a < 0.99 THEN 'CANCELLED' ELSE 'COMPLETED' END AS state
  FROM (SELECT plan.*, now() - interval '30 seconds' - random() * interval '{DAYS} days' AS t, random() AS a,
          random() AS b, random() AS c, random() AS d FROM plan, generate_series(1, runs)) AS drawn
) AS run ORDER BY t
"""

_UPCOMING: Final = f"""
INSERT INTO runs_flowrun (
  id, team_id, flow_id, deployment_id, schedule_id, queue_id, name, version, entrypoint, parameters, tags, trigger,
  priority, state_type, state_name, state_message, state_time, attempt, ended_by, created_at, scheduled_for,
  expected_start, crashes, revision)
SELECT {_ID.format(time="now()", number="1000000000 + row_number() OVER ()")}, team_id, flow_id, deployment_id,
  schedule_id, queue_id, 'upcoming-' || n, '1.4.2', 'pipelines/daily.py:main', '{{}}', tags, 'schedule',
  0, 'SCHEDULED', 'Scheduled',
  '', now(), 0, '', now(), due, due, 0, 0
FROM (SELECT plan.*, n, date_trunc('second', now()) + interval '2 hours' + n * interval '1 day'
        + (hashtext(deployment_id::text) %% 3600) * interval '1 second' AS due
      FROM plan, generate_series(1, 5) AS n WHERE schedule_id IS NOT NULL) AS times
"""

_SUBFLOWS: Final = """
UPDATE runs_flowrun SET parent_id = (SELECT id FROM runs_flowrun WHERE attempt = 1 ORDER BY expected_start LIMIT 1)
WHERE id IN (SELECT id FROM runs_flowrun WHERE attempt = 1 ORDER BY expected_start OFFSET 1 LIMIT 100)
"""

_MESSAGES: Final = """
INSERT INTO notifications_message (
  id, team_id, policy_id, destination_id, kind, count, content, state, tries, answers, created_at, sent_at)
SELECT run.id, run.team_id, s.policy_id, s.destination_id, 'single', 1,
  '{"subject": "A run failed", "text": "A run failed", "url": "/"}', 'sent', 1, '[]', run.end_time, run.end_time
FROM runs_flowrun AS run
JOIN (SELECT DISTINCT ON (p.team_id) p.team_id, u.policy_id, u.destination_id FROM notifications_subscription AS u
      JOIN notifications_policy AS p ON p.id = u.policy_id) AS s USING (team_id)
WHERE run.state_type = 'FAILED'
"""

_DELIVERIES: Final = """
INSERT INTO notifications_delivery (
  id, team_id, policy_id, destination_id, flow_run_id, attempt, event, occurred_at, state_name, reason, subject,
  repeats, muted, held_for, message_id, created_at)
SELECT m.id, m.team_id, m.policy_id, m.destination_id, run.id, 1, 'FAILED', run.end_time, 'Failed', run.state_message,
  run.deployment_id, false, hashtext(run.id::text) %% 100 = 0, '', m.id, run.end_time
FROM notifications_message AS m JOIN runs_flowrun AS run ON run.id = m.id
"""

_AUDIT: Final = f"""
INSERT INTO teams_auditentry (
  id, at, team_id, actor_id, actor_name, token, via, address, verb, subject_type, subject_id, subject_name, changes)
SELECT {_ID.format(time="t", number="n")}, t, team_id, (%(users)s::int[])[1 + n %% %(user_count)s], 'somebody', '',
  'page', '127.0.0.1',
  (ARRAY['flow_run.create', 'flow_run.cancel', 'deployment.pause', 'deployment.update'])[1 + n %% 4],
  CASE WHEN n %% 4 < 2 THEN 'flowrun' ELSE 'deployment' END, deployment_id::text, 'daily/' || n,
  '{{"paused": [false, true]}}'
FROM (SELECT row_number() OVER (ORDER BY t) AS n, * FROM (
        SELECT plan.*, now() - random() * interval '{DAYS} days' AS t
        FROM plan, generate_series(1, 1 + runs / 5)) AS drawn) AS entry ORDER BY t
"""


def write(cursor: Any, names: tuple[tuple[str, ...], tuple[str, ...]], users: list[int]) -> None:
    """Write the rows of a `plan`, and let the planner know of them. Foreign keys are not checked one by one.

    Args:
        cursor: Of a connection whose role may put triggers aside, as that of the database's owner in tests.
        names: Adjectives and animals of which the names of runs are made.
        users: Ids of those who did what the audit log says.
    """
    adjectives, animals = map(list, names)
    words = {"adjectives": adjectives, "animals": animals, "adjective_count": len(adjectives)}
    people = {"users": users, "user_count": len(users)}
    cursor.execute("SET session_replication_role = replica")
    cursor.execute(_RUNS, words | {"animal_count": len(animals)})
    for statement in (_UPCOMING, _SUBFLOWS, _MESSAGES, _DELIVERIES):
        cursor.execute(statement, {})
    cursor.execute(_AUDIT, people)
    cursor.execute("SET session_replication_role = origin")
