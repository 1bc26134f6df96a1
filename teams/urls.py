"""Addresses of the pages of this app. The names with an underscore are those by which allauth asks for a page."""

from django.urls import URLPattern, path, re_path
from django.views.generic import TemplateView

from orchestrator.single_sign_on import PROVIDER_ID
from teams.pages import audit, shares, teams, tokens
from teams.sign_in import account, invitations, pages

_sign_in = pages.SignInPage.as_view()
_reset = pages.ResetPage.as_view()
_provider = {"provider_id": PROVIDER_ID}

urlpatterns: list[URLPattern] = [
    path("sign-in/", _sign_in, name="sign-in"),
    path("sign-in/", _sign_in, name="account_login"),
    path("sign-in/second-factor/", pages.SecondFactorPage.as_view(), name="mfa_authenticate"),
    path("sign-in/switched-off/", pages.switched_off, name="account_inactive"),
    path("sign-in/sso/", pages.sso, _provider, name="openid_connect_login"),
    path("sign-in/sso/callback/", pages.sso_callback, _provider, name="openid_connect_callback"),
    path("sign-in/new-password/", _reset, name="account_reset_password"),
    path(
        "sign-in/new-password/sent/",
        TemplateView.as_view(template_name="teams/password_reset_sent.html"),
        name="account_reset_password_done",
    ),
    path(
        "sign-in/new-password/done/",
        TemplateView.as_view(template_name="teams/password_reset_done.html"),
        name="account_reset_password_from_key_done",
    ),
    re_path(
        r"^sign-in/new-password/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>[^/]+)/$",
        pages.NewPasswordPage.as_view(),
        name="account_reset_password_from_key",
    ),
    path("sign-in/<str:code>/", pages.sign_in_link, name="sign-in-link"),
    path("sign-out/", pages.sign_out, name="sign-out"),
    path("invitations/<str:code>/", invitations.InvitationPage.as_view(), name="invitation"),
    path("account/", account.profile, name="account"),
    path("account/password/", account.PasswordPage.as_view(), name="account-password"),
    path("account/password/", account.PasswordPage.as_view(), name="account_change_password"),
    path("account/password/first/", account.FirstPasswordPage.as_view(), name="account_set_password"),
    path("account/again/", account.AskedAgainPage.as_view(), name="account_reauthenticate"),
    path("account/again/code/", account.CodeAskedAgainPage.as_view(), name="mfa_reauthenticate"),
    path("account/second-factor/", account.second_factor, name="mfa_index"),
    path("account/second-factor/set-up/", account.SetUpSecondFactorPage.as_view(), name="mfa_activate_totp"),
    path("account/second-factor/remove/", account.RemoveSecondFactorPage.as_view(), name="mfa_deactivate_totp"),
    path("account/second-factor/codes/", account.RecoveryCodesPage.as_view(), name="mfa_view_recovery_codes"),
    path("account/second-factor/codes/new/", account.RenewRecoveryCodes.as_view(), name="mfa_generate_recovery_codes"),
    path("account/sessions/", account.session_list, name="account-sessions"),
    path("account/sessions/<int:session_id>/end/", account.end_session, name="account-session-end"),
    path("account/sessions/end-others/", account.end_other_sessions, name="account-sessions-end-others"),
    path("preferences/", account.preferences, name="preferences"),
    path("teams/", teams.teams, name="teams"),
    path("teams/new/", teams.add, name="team-new"),
    path("teams/choose/", teams.choose, name="team-choose"),
    path("teams/<uuid:team_id>/", teams.team, name="team"),
    path("teams/<uuid:team_id>/rename/", teams.rename, name="team-rename"),
    path("teams/<uuid:team_id>/leave/", teams.leave, name="team-leave"),
    path("teams/<uuid:team_id>/invite/", teams.invite, name="team-invite"),
    path("teams/<uuid:team_id>/invitations/<uuid:invitation_id>/", teams.withdraw, name="team-invitation-withdraw"),
    path("teams/<uuid:team_id>/groups/", teams.map_group, name="team-group-map"),
    path("teams/<uuid:team_id>/groups/<uuid:mapping_id>/", teams.unmap_group, name="team-group-unmap"),
    path("teams/<uuid:team_id>/members/<int:member_id>/", teams.member, name="team-member"),
    path("teams/<uuid:team_id>/members/<int:member_id>/remove/", teams.remove, name="team-member-remove"),
    path("teams/<uuid:team_id>/accounts/new/", teams.add_account, name="team-account-new"),
    path("teams/<uuid:team_id>/accounts/<int:account_id>/", tokens.account, name="team-account"),
    path("teams/<uuid:team_id>/accounts/<int:account_id>/switch/", tokens.switch_account, name="team-account-switch"),
    path("teams/<uuid:team_id>/accounts/<int:account_id>/tokens/new/", tokens.add_of_account, name="team-token-new"),
    path("tokens/", tokens.tokens, name="tokens"),
    path("tokens/new/", tokens.add, name="token-new"),
    path("tokens/<uuid:token_id>/revoke/", tokens.revoke, name="token-revoke"),
    path("audit/", audit.audit, name="audit"),
    path("audit/export/", audit.export, name="audit-export"),
    path("shared/", shares.shared, name="shared"),
    path("flows/<uuid:flow_id>/shares/", shares.of_flow, name="flow-shares"),
    path("deployments/<uuid:deployment_id>/shares/", shares.of_deployment, name="deployment-shares"),
]
