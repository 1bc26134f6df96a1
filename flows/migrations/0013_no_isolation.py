"""What counts is the infrastructure (0012). Apart from it, so that rows are changed in a transaction of their own."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("flows", "0012_blocks"),
    ]

    operations = [
        migrations.RemoveField(model_name="deployment", name="isolation"),
    ]
