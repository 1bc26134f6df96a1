"""What can be done to rows in the administration: to those chosen in a list, and to one on its page.

    pause = Deed("Pause", actions.pause_deployment, "paused")
    delete = Deed("Delete", actions.delete_deployment, "deleted", needs="delete", follows="Upcoming runs go with it.")

A class names them in `actions` (its list), `actions_detail` (a row's page), or both. What `follows` is said before
anything is done, with a count; what is done from a row's page is asked for first, too, since its link is a GET.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final

from django.contrib import messages
from django.contrib.admin import helpers
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.enums import ActionVariant

from teams.rights import Refused

MOST: Final = 1_000  # rows at once; each is a transaction of its own
_SHOWN: Final = 20
_SAID: Final = 5


@dataclass(frozen=True)
class Deed:
    """A verb, as an action of a list and of a row's page.

    Attributes:
        label: What its button says: `Pause`.
        verb: Called with each row and `user`, and with what its form holds. What it returns is not looked at.
        done: What has been done to the rows: `paused`.
        needs: The right without which it is not offered: `change`, `delete`, `run`, `admin`.
        follows: What will happen, said before. Empty: it is done to a list's rows without asking.
        form: Makes the form that asks what else the verb takes, of the rows, the reader and what was typed.
        is_dangerous: Whether it cannot be undone: its button is red.
    """

    do_not_call_in_templates: ClassVar[bool] = True

    label: str
    verb: Callable[..., Any]
    done: str
    needs: str = "change"
    follows: str = ""
    form: Callable[[Sequence[Any], Any, Any], Form] | None = None
    is_dangerous: bool = False

    @property
    def short_description(self) -> str:
        """As Django's administration asks for it."""
        return self.label

    @property
    def allowed_permissions(self) -> tuple[str, ...]:
        """As Django's administration asks for it."""
        return (self.needs,)

    def __get__(self, instance: Any, owner: Any) -> Any:
        """Of a class: the action of its list. Of an instance: that of a row's page."""
        if instance is None:
            return self
        of_one: Any = partial(self._of_one, instance)
        of_one.short_description, of_one.allowed_permissions = self.label, self.allowed_permissions
        of_one.attrs = {}
        of_one.variant = ActionVariant.DANGER if self.is_dangerous else ActionVariant.DEFAULT
        return of_one

    def __call__(self, admin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Do it to the rows chosen in a list, or ask first."""
        rows = list(queryset[: MOST + 1])
        if len(rows) > MOST:
            admin.message_user(request, f"At most {MOST:,} can be chosen at once. Narrow the list.", messages.ERROR)
            return None
        form = self._form(request, rows)
        if (self.follows or form) and not self._is_confirmed(request, form):
            name = request.POST.get("action", "")
            return self._ask(admin, request, rows, form, name, reverse(_page(admin, "changelist")))
        self._do(admin, request, rows, form)
        return None

    def _of_one(self, admin: Any, request: HttpRequest, object_id: str, **_: Any) -> HttpResponse:
        row = admin.get_object(request, object_id)
        if row is None:
            return HttpResponseRedirect(reverse(_page(admin, "changelist")))
        if not getattr(admin, f"has_{self.needs}_permission")(request, row):
            raise PermissionDenied
        form = self._form(request, [row])
        page = reverse(_page(admin, "change"), args=[row.pk])
        if not self._is_confirmed(request, form):
            return self._ask(admin, request, [row], form, "", page)
        done = self._do(admin, request, [row], form)
        is_there = not done or admin.get_object(request, object_id) is not None
        return HttpResponseRedirect(page if is_there else reverse(_page(admin, "changelist")))

    def _form(self, request: HttpRequest, rows: Sequence[Any]) -> Form | None:
        typed = request.POST if "post" in request.POST else None
        return self.form(rows, request.user, typed) if self.form else None

    def _is_confirmed(self, request: HttpRequest, form: Form | None) -> bool:
        return request.method == "POST" and "post" in request.POST and (form is None or form.is_valid())

    def _do(self, admin: Any, request: HttpRequest, rows: Sequence[Any], form: Form | None) -> int:
        """Do it to each, and say to how many it was done and why not to the others."""
        given = form.cleaned_data if form else {}
        done, refusals = 0, []
        for row in rows:
            called = str(row)
            try:
                self.verb(row, user=request.user, **given)
                done += 1
            except (ValidationError, Refused) as error:
                said = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
                refusals.append(f"{called}: {said}" if len(rows) > 1 else said)
        if done:
            admin.message_user(request, f"{counted(admin, done)} {'is' if done == 1 else 'are'} {self.done}.")
        for refusal in refusals[:_SAID]:
            admin.message_user(request, refusal, messages.ERROR)
        if len(refusals) > _SAID:
            admin.message_user(request, f"… and {len(refusals) - _SAID:,} more are as they were.", messages.ERROR)
        return done

    def _ask(
        self, admin: Any, request: HttpRequest, rows: Sequence[Any], form: Form | None, name: str, back: str
    ) -> HttpResponse:
        context = {
            **admin.admin_site.each_context(request),
            "title": f"{self.label}: {counted(admin, len(rows))}",
            "opts": admin.opts,
            "deed": self,
            "shown": rows[:_SHOWN],
            "more": max(0, len(rows) - _SHOWN),
            "chosen": rows if name else [],
            "checkbox": helpers.ACTION_CHECKBOX_NAME,
            "action_name": name,
            "form": form,
            "back": back,
            "media": admin.media,
        }
        return TemplateResponse(request, "admin/deed.html", context)


def counted(admin: Any, count: int) -> str:
    """Return `1 deployment`, `3 deployments`."""
    name = admin.opts.verbose_name if count == 1 else admin.opts.verbose_name_plural
    return f"{count:,} {name}"


def _page(admin: Any, name: str) -> str:
    return f"admin:{admin.opts.app_label}_{admin.opts.model_name}_{name}"
