"""The database itself refuses to change or delete what was written down in the audit log."""

from django.db import migrations

_REFUSED = "the audit log is append-only"
_SQLITE = [
    f"""CREATE TRIGGER audit_no_{verb} BEFORE {verb} ON teams_auditentry
    BEGIN SELECT RAISE(ABORT, '{_REFUSED}'); END"""
    for verb in ("update", "delete")
]
_POSTGRESQL = [
    f"""CREATE FUNCTION refuse_audit_change() RETURNS trigger AS
    $$ BEGIN RAISE EXCEPTION '{_REFUSED}'; END $$ LANGUAGE plpgsql""",
    """CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON teams_auditentry
    FOR EACH ROW EXECUTE FUNCTION refuse_audit_change()""",
]


def refuse_changes(apps, schema_editor):
    for statement in _SQLITE if schema_editor.connection.vendor == "sqlite" else _POSTGRESQL:
        schema_editor.execute(statement)


def allow_changes(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        statements = ["DROP TRIGGER audit_no_update", "DROP TRIGGER audit_no_delete"]
    else:
        statements = ["DROP TRIGGER audit_append_only ON teams_auditentry", "DROP FUNCTION refuse_audit_change()"]
    for statement in statements:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("teams", "0002_people_rights_audit")]
    operations = [migrations.RunPython(refuse_changes, allow_changes)]
