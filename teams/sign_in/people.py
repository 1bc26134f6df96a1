"""Verbs on a person's own account: making one by invitation, name and e-mail address."""

from allauth.account.models import EmailAddress
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from teams import audit
from teams.models import ApiToken, SignInLink, User


def new_user(username: str, *, password: str, email: str = "") -> User:
    """Make a user who is in no team yet. That the address is theirs is not known.

    Raises:
        ValidationError: By `username` (also for one with an @) or `password`.
    """
    check_name(username)
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


def check_name(username: str) -> None:
    """Raise ValidationError (`username`) for a user name that could be taken for somebody's address."""
    if "@" in username:
        raise ValidationError({"username": "Leave @ out: a user name is no e-mail address."})


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


def prove_email(person: User) -> None:
    """Note that a person's address is theirs: they came by a link that was mailed to it.

    The first time, tokens and sign-in links end: who made the account may have been somebody else, who wrote down an
    address that was not theirs.
    """
    if EmailAddress.objects.filter(user=person, verified=True).exists():
        return
    with transaction.atomic():
        ended = ApiToken.objects.filter(user=person).delete()[0]
        SignInLink.objects.filter(user=person, used_at=None).delete()
        keep_email(person, is_proven=True)
        audit.record(person, "user.prove_email", person, {"email": (None, person.email), "tokens": (ended, 0)})
