"""Saving and deleting through verbs, in the administration."""

from typing import Any

from django.contrib.admin.utils import unquote
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied, ValidationError
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse

from teams.admin.deeds import Deed
from teams.admin.rights import RightsAdmin
from teams.rights import Refused


class VerbAdmin(RightsAdmin):
    """Saves through verbs; what a verb refuses is said in the form, which keeps what was typed."""

    #: How one is deleted; also the list's action of that name.
    delete: Deed

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show the form, or what is wrong with it."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except ValidationError as error:  # nothing is kept: Django's view is a transaction
            request.refusal = error  # type: ignore[attr-defined]  read below, when the form is shown again
        except Refused as refused:
            request.refusal = ValidationError(str(refused))  # type: ignore[attr-defined]
        return super().changeform_view(request, object_id, form_url, extra_context)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> Any:
        """Return the form; with what a verb said of it just now, so that it is not valid."""
        form: type[ModelForm] = super().get_form(request, obj, change=change, **options)
        refusal = getattr(request, "refusal", None)
        return _refused(form, refusal) if refusal else form

    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm, change: bool) -> None:
        """Make the row, or change what was changed. The form has put what was typed into `obj`: it is read again."""
        typed = {name: value for name, value in form.cleaned_data.items() if not change or name in form.changed_data}
        if change:
            saved = self.change(self.rows_for(request.user).get(pk=obj.pk), typed, request.user)  # type: ignore[arg-type]
        else:
            saved = self.make(obj, typed, request.user)
        obj.__dict__.update(saved.__dict__)

    def make(self, row: Any, typed: dict[str, Any], user: Any) -> Any:
        """Make a row of what was typed, by a verb; it stands in `row` too. Returns what was made."""
        raise NotImplementedError

    def change(self, row: Any, typed: dict[str, Any], user: Any) -> Any:
        """Change a row by verbs to what was typed otherwise. Returns it as it is then."""
        raise NotImplementedError

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Ask, with what follows, and delete through the verb."""
        if not self.has_delete_permission(request):
            raise PermissionDenied
        answer: HttpResponse = self.delete(request, unquote(object_id))  # type: ignore[operator,arg-type]
        return answer


def _refused(form: type[ModelForm], refusal: ValidationError) -> type[ModelForm]:
    said = refusal.message_dict if hasattr(refusal, "error_dict") else {NON_FIELD_ERRORS: refusal.messages}

    class RefusedForm(form):  # type: ignore[valid-type,misc]
        def _post_clean(self) -> None:
            """Say each thing at its field (`parameters.day`: at parameters), else above the form."""
            super()._post_clean()
            for name, words in said.items():
                field = name.partition(".")[0]
                self.add_error(field if field in self.fields else None, words)

    return RefusedForm
