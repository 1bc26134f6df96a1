from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("runs", "0015_worker_calls_key"),
    ]

    operations = [
        migrations.AddField(
            model_name="attempt",
            name="infrastructure",
            field=models.JSONField(
                blank=True,
                help_text="The block by which it executes: its name, type, version, and values used.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="flowrun",
            name="infrastructure_overrides",
            field=models.JSONField(
                blank=True,
                help_text="Values for this run instead of its block's, of fields that the block opens.",
                null=True,
            ),
        ),
    ]
