"""Verbs on a person's own account: making one by invitation, name and e-mail address."""

from allauth.account.models import EmailAddress
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from teams import audit
from teams.models import User


def new_user(username: str, *, password: str, email: str = "") -> User:
    """Make a user who is in no team yet. That the address is theirs is not known.

    Raises:
        ValidationError: By `username` or `password`.
    """
    person = User(username=username, email=email.strip().lower())
    try:
        validate_password(password, person)
    except ValidationError as error:
        raise ValidationError({"password": error.messages}) from None
    person.set_password(password)
    person.full_clean(exclude=["password"])
    try:
        with transaction.atomic():
            person.save()
            keep_email(person, is_proven=False)
            audit.record(person, "user.create", person)
    except IntegrityError:  # another request was first
        raise ValidationError({"username": "A user with that username already exists."}) from None
    return person


def set_profile(person: User, *, first_name: str, last_name: str, email: str) -> User:
    """Change what a person is called and where mail reaches them; a new address is not known to be theirs.

    Raises:
        ValidationError: `email` (it is none, or somebody else's), `first_name` or `last_name`.
    """
    before = {name: getattr(person, name) for name in ("first_name", "last_name", "email")}
    person.first_name, person.last_name, person.email = first_name, last_name, email.strip().lower()
    try:
        person.clean_fields(exclude=["password", "username"])
        if person.email and User.objects.filter(email__iexact=person.email).exclude(pk=person.pk).exists():
            raise ValidationError({"email": "Somebody else has this address."})
    except ValidationError:
        person.__dict__.update(before)
        raise
    after = {name: getattr(person, name) for name in before}
    if changes := audit.differences(before, after):
        with transaction.atomic():
            person.save(update_fields=list(before))
            if before["email"].lower() != person.email:
                keep_email(person, is_proven=False)
            audit.record(person, "user.set_profile", person, changes)
    return person


def keep_email(person: User, is_proven: bool) -> None:
    """Write down the address of a user for sign-in, and whether it is known to be theirs: no second user's can be.

    Single sign-on opens an account by an address that is known to be its user's.
    """
    EmailAddress.objects.filter(user=person).delete()
    if person.email:
        email = person.email.lower()
        is_proven = is_proven and not EmailAddress.objects.filter(email=email, verified=True).exists()
        EmailAddress.objects.create(user=person, email=email, verified=is_proven, primary=True)
