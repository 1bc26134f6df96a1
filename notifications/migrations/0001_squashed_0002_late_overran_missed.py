"""What the migrations that it replaces make, in one step: a new database is ready in a third of the time."""

import django.db.models.deletion
import orchestrator.encryption
import orchestrator.sdk.ids
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    replaces = [('notifications', '0001_initial'), ('notifications', '0002_late_overran_missed')]

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ('flows', '0014_deployment_project'),
        ('runs', '0017_attempt_executes'),
        ('teams', '0004_known_addresses'),
    ]

    operations = [
        migrations.CreateModel(
            name='Destination',
            fields=[
                ('id', models.UUIDField(default=orchestrator.sdk.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('team', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='destinations', to='teams.team')),
                ('name', models.CharField(max_length=100)),
                ('kind', models.CharField(help_text='The transport: slack, email, webhook or apprise.', max_length=16)),
                ('config', orchestrator.encryption.SecretField(editable=False, help_text='What its transport needs to send; never shown.')),
                ('summary', models.CharField(editable=False, help_text='Its address without secrets.', max_length=200)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('failures', models.PositiveIntegerField(default=0, editable=False, help_text='Tries that failed in a row.')),
                ('refusals', models.PositiveIntegerField(default=0, editable=False, help_text='Final answers in a row.')),
                ('failing_since', models.DateTimeField(editable=False, null=True)),
                ('retry_at', models.DateTimeField(editable=False, help_text='Nothing is sent there before.', null=True)),
                ('last_answer', models.CharField(blank=True, editable=False, max_length=500)),
                ('last_answer_at', models.DateTimeField(editable=False, null=True)),
                ('paused_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('gave_up', models.BooleanField(default=False, editable=False, help_text='Paused because it kept failing.')),
                ('tell_admins_at', models.DateTimeField(editable=False, help_text='When their mail is tried (next).', null=True)),
                ('admins_told_at', models.DateTimeField(editable=False, null=True)),
                ('notice_dismissed_at', models.DateTimeField(editable=False, null=True)),
                ('lease_holder', models.UUIDField(editable=False, help_text='The sending process.', null=True)),
                ('lease_expires_at', models.DateTimeField(editable=False, null=True)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('team', 'name'), name='destination_team_name')],
                'indexes': [],
            },
        ),
        migrations.CreateModel(
            name='Policy',
            fields=[
                ('id', models.UUIDField(default=orchestrator.sdk.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('team', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='notification_policies', to='teams.team')),
                ('name', models.CharField(max_length=100)),
                ('events', models.JSONField(default=list, help_text='Values of Event.')),
                ('flows', models.JSONField(blank=True, default=list, help_text='Slugs or patterns of flows; empty: all.')),
                ('deployments', models.JSONField(blank=True, default=list, help_text='flow-slug/deployment-slug, or patterns.')),
                ('tags', models.JSONField(blank=True, default=list, help_text='A run with one of these; empty: all.')),
                ('message', models.TextField(blank=True, help_text="The text's template; empty: the usual one.")),
                ('log_lines', models.PositiveSmallIntegerField(default=5, help_text='How many of the last log lines to add.')),
                ('timezone', models.CharField(blank=True, help_text="Times are told in it; empty: the server's.", max_length=64)),
                ('burst_limit', models.PositiveIntegerField(default=10, help_text='More messages in a minute than this become one.')),
                ('long_running_seconds', models.PositiveIntegerField(blank=True, help_text='Long-running from here on; empty: three times the usual.', null=True)),
                ('paused', models.BooleanField(default=False)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'notification policy',
                'verbose_name_plural': 'notification policies',
                'constraints': [models.UniqueConstraint(fields=('team', 'name'), name='policy_team_name')],
                'indexes': [],
            },
        ),
        migrations.CreateModel(
            name='Subscription',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('policy', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='subscriptions', to='notifications.policy')),
                ('destination', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='subscriptions', to='notifications.destination')),
                ('window_began_at', models.DateTimeField(editable=False, null=True)),
                ('window_messages', models.PositiveIntegerField(default=0, editable=False)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('policy', 'destination'), name='subscription_once')],
                'indexes': [],
            },
        ),
        migrations.AddField(
            model_name='policy',
            name='destinations',
            field=models.ManyToManyField(related_name='policies', through='notifications.Subscription', to='notifications.destination'),
        ),
        migrations.CreateModel(
            name='Message',
            fields=[
                ('id', models.UUIDField(default=orchestrator.sdk.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('team', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='teams.team')),
                ('policy', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='messages', to='notifications.policy')),
                ('destination', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='messages', to='notifications.destination')),
                ('kind', models.CharField(choices=[('single', 'One event'), ('burst', 'A burst'), ('repeat', 'Repeated failures')], default='single', max_length=8)),
                ('count', models.PositiveIntegerField(default=1, help_text='Deliveries in it.')),
                ('content', models.JSONField(help_text='notifications.content.Content, as it was written when it was gathered.')),
                ('state', models.CharField(choices=[('waiting', 'Waiting'), ('sent', 'Sent'), ('failed', 'Not delivered')], default='waiting', max_length=8)),
                ('tries', models.PositiveIntegerField(default=0)),
                ('answers', models.JSONField(default=list, help_text='What the service said: {at, ok, text, seconds}, oldest first.')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('sent_at', models.DateTimeField(null=True)),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('state', 'waiting')), fields=['destination', 'tries', 'id'], name='message_waiting'), models.Index(fields=['team', '-id'], name='message_team'), models.Index(fields=['policy', '-id'], name='message_policy'), models.Index(fields=['destination', '-id'], name='message_destination'), models.Index(condition=models.Q(('state', 'waiting'), ('state', 'failed'), _connector='OR'), fields=['state'], name='message_unsent')],
                'constraints': [],
            },
        ),
        migrations.CreateModel(
            name='Delivery',
            fields=[
                ('id', models.UUIDField(default=orchestrator.sdk.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('team', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='teams.team')),
                ('policy', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='deliveries', to='notifications.policy')),
                ('destination', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='deliveries', to='notifications.destination')),
                ('flow_run', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='runs.flowrun')),
                ('attempt', models.PositiveIntegerField()),
                ('event', models.CharField(choices=[('FAILED', 'Failed'), ('CRASHED', 'Crashed'), ('CANCELLED', 'Cancelled'), ('COMPLETED', 'Completed'), ('RECOVERED', 'Recovered'), ('LONG_RUNNING', 'Long-running'), ('LATE', 'Late'), ('OVERRAN', 'Overran'), ('MISSED_DEADLINE', 'Missed deadline')], max_length=16)),
                ('occurred_at', models.DateTimeField()),
                ('state_name', models.CharField(blank=True, max_length=32)),
                ('reason', models.TextField(blank=True, help_text="The state's message, at most 2,000 characters.")),
                ('subject', models.UUIDField(help_text="The run's deployment, else its flow: by which failures repeat.")),
                ('repeats', models.BooleanField(default=False, help_text="A scheduled run's failure, like the one before it.")),
                ('muted', models.BooleanField(default=False, help_text='Its deployment was muted: it is not told.')),
                ('due_at', models.DateTimeField(help_text='When a sender looks at it next; empty once that is settled.', null=True)),
                ('held_for', models.CharField(blank=True, choices=[('burst', 'More messages in this minute than its policy allows'), ('repeat', 'The runs of this schedule keep failing')], max_length=8)),
                ('message', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='deliveries', to='notifications.message')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'verbose_name_plural': 'deliveries',
                'indexes': [models.Index(condition=models.Q(('due_at__isnull', False)), fields=['destination', 'due_at'], name='delivery_due'), models.Index(condition=models.Q(('message__isnull', False)), fields=['message'], name='delivery_message'), models.Index(fields=['subject', 'policy', 'destination', '-id'], name='delivery_subject'), models.Index(fields=['team', '-id'], name='delivery_team'), models.Index(fields=['policy', '-id'], name='delivery_policy'), models.Index(fields=['destination', '-id'], name='delivery_destination'), models.Index(condition=models.Q(('due_at__isnull', False)), fields=['team', '-id'], name='delivery_due_team'), models.Index(condition=models.Q(('muted', True)), fields=['team', '-id'], name='delivery_muted')],
                'constraints': [models.UniqueConstraint(fields=('flow_run', 'attempt', 'event', 'policy', 'destination'), name='delivery_once')],
            },
        ),
        migrations.CreateModel(
            name='Mute',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('deployment', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='mute', to='flows.deployment')),
                ('until', models.DateTimeField()),
                ('reason', models.CharField(blank=True, max_length=200)),
                ('created_at', models.DateTimeField(auto_now=True)),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'indexes': [],
                'constraints': [],
            },
        ),
    ]
