"""Which runs a policy watches: rules as values."""

import pytest

from notifications.matching import Rule, Subject, rule_of
from notifications.models import Policy

NIGHTLY = Subject(flow="new-thing", deployment="new-thing/nightly", tags=frozenset({"prod", "etl"}))
SUBFLOW = Subject(flow="new-thing", tags=frozenset({"prod"}), inherited_tags=frozenset({"prod"}), is_subflow=True)


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        (Rule(), True),
        (Rule(flows=("new-thing",)), True),
        (Rule(flows=("new-*",)), True),
        (Rule(flows=("thing",)), False),
        (Rule(flows=("NEW-thing",)), False),
        (Rule(deployments=("new-thing/nightly",)), True),
        (Rule(deployments=("*/nightly",)), True),
        (Rule(deployments=("new-thing/weekly",)), False),
        (Rule(flows=("other",), deployments=("*/nightly",)), True),  # they widen each other
        (Rule(flows=("new-thing",), deployments=("*/weekly",)), True),
        (Rule(tags=frozenset({"etl"})), True),
        (Rule(tags=frozenset({"etl", "nobody"})), True),
        (Rule(tags=frozenset({"nobody"})), False),
        (Rule(flows=("new-thing",), tags=frozenset({"nobody"})), False),  # tags narrow
    ],
)
def test_names_widen_and_tags_narrow(rule: Rule, matches: bool) -> None:
    assert rule.matches(NIGHTLY) is matches


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        (Rule(), False),  # its parent's story
        (Rule(flows=("*",)), False),
        (Rule(flows=("new-thing",)), True),
        (Rule(flows=("new-*",)), True),
        (Rule(tags=frozenset({"prod"})), False),  # the parent's tag
        (Rule(deployments=("*",)), False),
    ],
)
def test_a_subflow_run_is_watched_where_it_is_named(rule: Rule, matches: bool) -> None:
    assert rule.matches(SUBFLOW) is matches


def test_a_subflow_run_is_watched_by_a_tag_of_its_own() -> None:
    own = Subject(flow="x", tags=frozenset({"prod", "own"}), inherited_tags=frozenset({"prod"}), is_subflow=True)
    assert Rule(tags=frozenset({"own"})).matches(own)


def test_a_run_without_a_deployment_matches_no_pattern_of_deployments() -> None:
    assert not Rule(deployments=("*",)).matches(Subject(flow="new-thing"))


def test_a_policy_becomes_its_rule() -> None:
    policy = Policy(events=["FAILED"], flows=["new_thing"], deployments=["a/b"], tags=["prod"])
    rule = rule_of(policy)
    assert (rule.events, rule.deployments, rule.tags) == (frozenset({"FAILED"}), ("a/b",), frozenset({"prod"}))
    assert rule.matches(Subject(flow="new-thing", tags=frozenset({"prod"})))


def test_a_policy_that_holds_no_lists_is_refused() -> None:
    with pytest.raises(ValueError):
        rule_of(Policy(events="FAILED", flows=[], deployments=[], tags=[]))
