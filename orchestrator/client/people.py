"""People: teams, members, invitations, groups, users, service accounts, tokens, shares, the audit log."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from orchestrator.client.calling import Calling, Id, read
from orchestrator.client.people_results import (
    AuditEntry,
    CreatedUser,
    GroupMapping,
    Invitation,
    MadeInvitation,
    MadeToken,
    Member,
    ServiceAccount,
    Share,
    Team,
    Token,
    User,
)


class PeopleCalls(Calling):
    """What can be done with teams and people."""

    def list_teams(self, *, name: str = "") -> Iterator[Team]:
        """Yield your teams by name; for a site administrator all."""
        return self._each(Team, "teams/", name=name)

    def get_team(self, team: Id) -> Team:
        """Return a team by id."""
        return read(Team, self.calls.get(f"teams/{team}/"))

    def create_team(self, name: str) -> Team:
        """Make a team. It takes a site administrator."""
        return read(Team, self.calls.post("teams/", {"name": name}))

    def rename_team(self, team: Id, name: str) -> Team:
        """Call a team otherwise."""
        return read(Team, self.calls.patch(f"teams/{team}/", {"name": name}))

    def list_members(self, team: Id) -> Iterator[Member]:
        """Yield who is in a team, and in which role."""
        return self._each(Member, f"teams/{team}/members/")

    def add_member(self, team: Id, user: str, role: str) -> Member:
        """Make somebody a member; who is one gets this role."""
        return read(Member, self.calls.post(f"teams/{team}/members/", {"user": user, "role": role}))

    def set_role(self, team: Id, user_id: int, role: str) -> Member:
        """Give a member another role."""
        return read(Member, self.calls.patch(f"teams/{team}/members/{user_id}/", {"role": role}))

    def remove_member(self, team: Id, user_id: int) -> None:
        """Take somebody out of a team; they lose access at once."""
        self.calls.delete(f"teams/{team}/members/{user_id}/")

    def list_invitations(self, team: Id) -> Iterator[Invitation]:
        """Yield a team's open invitations."""
        return self._each(Invitation, f"teams/{team}/invitations/")

    def invite(self, team: Id, role: str = "viewer", email: str = "") -> MadeInvitation:
        """Make a link that lets one person join; it is in this answer alone."""
        return read(MadeInvitation, self.calls.post(f"teams/{team}/invitations/", {"role": role, "email": email}))

    def withdraw_invitation(self, team: Id, invitation: Id) -> None:
        """Make an invitation's link useless."""
        self.calls.delete(f"teams/{team}/invitations/{invitation}/")

    def list_groups(self, team: Id) -> Iterator[GroupMapping]:
        """Yield the groups of the single sign-on that have a role in a team."""
        return self._each(GroupMapping, f"teams/{team}/group-mappings/")

    def map_group(self, team: Id, group: str, role: str) -> GroupMapping:
        """Give a group's members a role, from their next sign-in on."""
        return read(GroupMapping, self.calls.post(f"teams/{team}/group-mappings/", {"group": group, "role": role}))

    def unmap_group(self, team: Id, mapping: Id) -> None:
        """Take a group's role away."""
        self.calls.delete(f"teams/{team}/group-mappings/{mapping}/")

    # Users and service accounts

    def list_users(self, *, username: str = "", team: str = "", is_active: bool | None = None) -> Iterator[User]:
        """Yield the people of your teams by name; for a site administrator all."""
        return self._each(User, "users/", username=username, team=team, is_active=is_active)

    def get_user(self, user_id: int) -> User:
        """Return a person by id."""
        return read(User, self.calls.get(f"users/{user_id}/"))

    def create_user(self, username: str, **fields: Any) -> CreatedUser:
        """Make a user: also `email`, `team`, `role`; without a `password`, a link signs them in once."""
        return read(CreatedUser, self.calls.post("users/", {"username": username, **fields}))

    def deactivate_user(self, user_id: int) -> User:
        """Keep somebody out: sessions and tokens stop at once."""
        return read(User, self.calls.post(f"users/{user_id}/deactivate/"))

    def reactivate_user(self, user_id: int) -> User:
        """Let somebody in again."""
        return read(User, self.calls.post(f"users/{user_id}/reactivate/"))

    def list_service_accounts(self, *, team: str = "") -> Iterator[ServiceAccount]:
        """Yield the service accounts of your teams."""
        return self._each(ServiceAccount, "service-accounts/", team=team)

    def get_service_account(self, account_id: int) -> ServiceAccount:
        """Return a service account by id."""
        return read(ServiceAccount, self.calls.get(f"service-accounts/{account_id}/"))

    def create_service_account(self, team: str, name: str, role: str = "operator") -> ServiceAccount:
        """Make an account for a machine, called name@team."""
        said = {"team": team, "name": name, "role": role}
        return read(ServiceAccount, self.calls.post("service-accounts/", said))

    def deactivate_service_account(self, account_id: int) -> ServiceAccount:
        """Stop its tokens at once."""
        return read(ServiceAccount, self.calls.post(f"service-accounts/{account_id}/deactivate/"))

    def reactivate_service_account(self, account_id: int) -> ServiceAccount:
        """Let its tokens work again."""
        return read(ServiceAccount, self.calls.post(f"service-accounts/{account_id}/reactivate/"))

    # Tokens

    def list_tokens(self, *, user: str = "", all: bool | None = None) -> Iterator[Token]:
        """Yield your API tokens, newest first; with `all`, every one that you may see."""
        return self._each(Token, "tokens/", user=user, all=all)

    def get_token(self, token: Id) -> Token:
        """Return a token by id, without its secret."""
        return read(Token, self.calls.get(f"tokens/{token}/"))

    def create_token(self, name: str, *, expires_in: int | None = None, **fields: Any) -> MadeToken:
        """Make an API token, which expires in so many seconds; its secret is in this answer alone."""
        return read(MadeToken, self.calls.post("tokens/", {"name": name, "expires_in": expires_in, **fields}))

    def revoke_token(self, token: Id) -> None:
        """Make a token good for nothing."""
        self.calls.delete(f"tokens/{token}/")

    # Shares and the audit log

    def list_shares(self, *, flow: str = "", deployment: str = "") -> Iterator[Share]:
        """Yield with whom a flow or deployment is shared; without one, what of other teams is shared with you."""
        return self._each(Share, "shares/", flow=flow, deployment=deployment)

    def share(self, *, level: str, **said: str) -> Share:
        """Share `flow` or `deployment` with `user` or `team`, at level `read`, `run` or `edit`."""
        return read(Share, self.calls.post("shares/", {"level": level, **said}))

    def take_back_share(self, share: str) -> None:
        """Let a share hold no longer."""
        self.calls.delete(f"shares/{share}/")

    def list_audit_entries(
        self, *, since: datetime | None = None, until: datetime | None = None, most: int | None = None, **filters: str
    ) -> Iterator[AuditEntry]:
        """Yield entries of the audit log, newest first: also by `user`, `verb`, `object`, `via`, `team`."""
        times = {"since": since and since.isoformat(), "until": until and until.isoformat()}
        return self._each(AuditEntry, "audit/", most, **times, **filters)
