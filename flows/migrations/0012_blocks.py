"""Blocks; what was a deployment's isolation becomes its infrastructure: a block of its team, or none."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import orchestrator.encryption
import orchestrator.sdk.ids

IN_WORKER = "in-worker"


def name_blocks(apps, schema_editor):
    """Give deployments with kept processes the block that stands for them, in what was declared too."""
    Deployment, Block = apps.get_model("flows", "Deployment"), apps.get_model("flows", "Block")
    for deployment in Deployment.objects.filter(isolation="worker").iterator():
        block, _ = Block.objects.get_or_create(
            team_id=deployment.team_id, slug=IN_WORKER, defaults={"name": IN_WORKER, "type": IN_WORKER}
        )
        Deployment.objects.filter(pk=deployment.pk).update(infrastructure=block)
    for deployment in Deployment.objects.only("pk", "declared").iterator():
        if "isolation" in deployment.declared:
            was = deployment.declared.pop("isolation")
            deployment.declared["infrastructure"] = IN_WORKER if was == "worker" else "process"
            Deployment.objects.filter(pk=deployment.pk).update(declared=deployment.declared)
    _settle(schema_editor)


def name_isolation(apps, schema_editor):
    """Say again what can be said so."""
    Deployment = apps.get_model("flows", "Deployment")
    Deployment.objects.filter(infrastructure__type=IN_WORKER).update(isolation="worker")
    for deployment in Deployment.objects.only("pk", "declared").iterator():
        if "infrastructure" in deployment.declared:
            was = deployment.declared.pop("infrastructure")
            deployment.declared["isolation"] = "worker" if was == IN_WORKER else "process"
            Deployment.objects.filter(pk=deployment.pk).update(declared=deployment.declared)
    _settle(schema_editor)


def _settle(schema_editor):
    """Have PostgreSQL check now which rows exist: it changes no table that has such checks to come."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        schema_editor.execute("SET CONSTRAINTS ALL DEFERRED")


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("flows", "0011_deployment_versions"),
    ]

    operations = [
        migrations.CreateModel(
            name="Block",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=orchestrator.sdk.ids.uuid7, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("type", models.CharField(max_length=50)),
                ("name", models.CharField(max_length=100)),
                ("slug", models.CharField(editable=False, max_length=100)),
                ("description", models.TextField(blank=True)),
                ("values", models.JSONField(blank=True, default=dict)),
                (
                    "secrets",
                    orchestrator.encryption.SecretField(
                        editable=False, help_text="The values of its secret fields, as a JSON object.", null=True
                    ),
                ),
                (
                    "opened",
                    models.JSONField(
                        blank=True, default=list, help_text="Fields that deployments and runs may override."
                    ),
                ),
                ("version", models.PositiveIntegerField(default=1, help_text="Raised by each change.")),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="blocks", to="teams.team"
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("team", "slug"), name="block_team_slug")],
            },
        ),
        migrations.AddField(
            model_name="deployment",
            name="infrastructure",
            field=models.ForeignKey(
                blank=True,
                help_text="Where its runs execute; empty: each in a process of its own.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="deployments",
                to="flows.block",
            ),
        ),
        migrations.AddField(
            model_name="deployment",
            name="infrastructure_overrides",
            field=models.JSONField(
                blank=True, default=dict, help_text="Values instead of the block's, of fields that the block opens."
            ),
        ),
        migrations.RunPython(name_blocks, name_isolation),
    ]
