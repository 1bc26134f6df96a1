from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('runs', '0016_attempt_infrastructure'),
    ]

    operations = [
        migrations.AddField(
            model_name='attempt',
            name='begun_by',
            field=models.UUIDField(blank=True, help_text='The process away from its worker that began it.', null=True),
        ),
        migrations.AddField(
            model_name='attempt',
            name='executes',
            field=models.JSONField(blank=True, help_text='What it was claimed with: entrypoint, directory, source, task runner.', null=True),
        ),
    ]
