"""Pages offer what their reader may do: `{% may "edit" deployment %}<a …>Edit</a>{% endmay %}`.

What is left out would be refused all the same: by the door, and by the verb.
"""

from typing import Any

from django import template
from django.template.base import FilterExpression, NodeList, Parser, Token

from teams.rights import OF_ROLE, OF_SCOPE, Level

register = template.Library()


class MayNode(template.Node):
    """Shows its content to who may do so much with a row; without a row, in one of their teams at least."""

    def __init__(self, level: Level, row: FilterExpression | None, content: NodeList) -> None:
        """Keep what it takes, on what, and what is shown."""
        self.level, self.row, self.nodelist = level, row, content

    def render(self, context: template.Context) -> str:
        """Return the content, or nothing. No query but the one of the reader's roles (and shares), once a request."""
        user = context["reader"].user if "reader" in context else context["request"].user
        row = self.row.resolve(context) if self.row else None
        level = user.level_on(row) if row else _highest(user)
        return str(self.nodelist.render(context)) if level >= self.level else ""


@register.tag
def may(parser: Parser, token: Token) -> MayNode:
    """`{% may "run" run %}`, `{% may "edit" %}`: with a scope's word, and maybe a row."""
    words = token.split_contents()[1:]
    if len(words) not in {1, 2} or words[0].strip("\"'") not in OF_SCOPE:
        raise template.TemplateSyntaxError(f"may takes one of {', '.join(filter(None, OF_SCOPE))} and maybe a row.")
    content = parser.parse(("endmay",))
    parser.delete_first_token()
    row = parser.compile_filter(words[1]) if len(words) == 2 else None
    return MayNode(OF_SCOPE[words[0].strip("\"'")], row, content)


def _highest(user: Any) -> Level:
    """The highest level that somebody has in the team that they look at, or in any."""
    if user.is_superuser:
        return Level(user.level_in(None))
    roles = [role for team, role in user.roles.items() if user.chosen_team in (None, team)]
    return max((OF_ROLE.get(role, Level.NONE) for role in roles), default=Level.NONE)
