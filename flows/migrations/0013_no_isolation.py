"""What counts is the infrastructure (0012). Apart from it, since PostgreSQL alters no table whose rows just changed."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("flows", "0012_blocks"),
    ]

    operations = [
        migrations.RemoveField(model_name="deployment", name="isolation"),
    ]
