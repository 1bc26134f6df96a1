"""Addresses of the users that are there: site administrators wrote them, so they are known to be theirs."""

from django.db import migrations


def write_down(apps, schema_editor):
    User, EmailAddress = apps.get_model("teams", "User"), apps.get_model("account", "EmailAddress")
    seen = set(EmailAddress.objects.filter(verified=True).values_list("email", flat=True))
    for user in User.objects.exclude(email="").order_by("id").iterator():
        email = user.email.lower()
        if not EmailAddress.objects.filter(user=user).exists():
            EmailAddress.objects.create(user=user, email=email, verified=email not in seen, primary=True)
            seen.add(email)


class Migration(migrations.Migration):
    dependencies = [
        ("account", "0009_emailaddress_unique_primary_email"),
        ("teams", "0003_append_only_audit"),
    ]

    operations = [migrations.RunPython(write_down, migrations.RunPython.noop)]
