from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('runs', '0013_attempt_source'),
    ]

    operations = [
        migrations.AddField(
            model_name='attempt',
            name='outlives_worker',
            field=models.CharField(blank=True, choices=[('host', 'Workers on its machine'), ('any', 'Any worker')], help_text='Who may take it over where its worker is gone and it goes on: nobody, workers on its machine, any.', max_length=8, null=True),
        ),
        migrations.AlterField(
            model_name='attempt',
            name='cause',
            field=models.CharField(blank=True, choices=[('signal', 'Killed by a signal'), ('out_of_memory', 'Out of memory'), ('exit', 'Its process ended'), ('lost', 'Lost worker or machine'), ('stopped', 'Its worker was stopped'), ('evicted', 'Evicted from its node'), ('unschedulable', 'No node had room for it'), ('image', 'Its image could not be had')], db_default='', default='', help_text='Why it crashed.', max_length=16),
        ),
        migrations.AddIndex(
            model_name='attempt',
            index=models.Index(condition=models.Q(('end_time__isnull', True), ('outlives_worker__isnull', False)), fields=['worker'], name='attempt_outlives'),
        ),
    ]
