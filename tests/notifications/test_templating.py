"""The texts that people write: what they see, and that no template does harm."""

import time
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from notifications import templating
from notifications.templating import MAX_OUTPUT, MAX_SOURCE, Named, TemplateError, check, render, sample_context


def refusal(source: str, context: dict[str, Any] | None = None) -> str:
    with pytest.raises(TemplateError) as refused:
        render(source, context or sample_context())
    return str(refused.value)


def rendered(source: str, **context: Any) -> str:
    return render(source, {**sample_context(), **context})


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("The {{ flow_run.name }} run of the {{ flow.name }} flow", "The fuzzy-leopard run of the new-thing flow"),
        ("{{ flow_run }} {{ flow }} {{ deployment }} {{ policy }} {{ team }}",
         "fuzzy-leopard new-thing nightly Failed to #alerts default"),
        ("{{ state }} {{ state.type }} {{ state.name }} {{ state.message }}",
         "failed FAILED Failed ValueError: no rows"),
        ("{{ state|upper }}{% if state == 'failed' %}!{% endif %}", "FAILED!"),
        ("{% for line in log_lines %}\n{{ loop.index }}. {{ line }}\n{% endfor %}",
         "1. 16:21:36 Loading 12 files\n2. 16:21:37 ERROR no rows in part 7\n"),
        ("{{ log_lines[-1] }}", "16:21:37 ERROR no rows in part 7"),
        ("{{ log_lines[-1:]|join('|') }}", "16:21:37 ERROR no rows in part 7"),
        ("{{ flow_run.tags }} {{ flow_run.tags|length }}", "prod 1"),
        ("{{ flow_run.attempt + 1 }} {{ 7 // 2 }} {{ 2 * 3 }} {{ 7 % 4 }} {{ -1 }}", "2 3 6 3 -1"),
        ("{{ event if flow_run.attempt == 1 else 'again' }}", "Failed"),
        ("{{ 'prod' in flow_run.tags }} {{ none }} {{ flow_run.attempt > 1 and true }}", "true  false"),
        ("{{ reason|truncate(6) }} {{ reason|replace('ValueError: ', '') }}", "Value… no rows"),
        ("{{ '' ~ flow_run.attempt ~ '/' ~ flow }} {{ 'a' + 'b' }}", "1/new-thing ab"),
        ("{{ '3.7'|float|round(1) }} {{ '12'|int + 1 }} {{ 'x'|int }} {{ 2.5|round }}", "3.7 13 0 2"),
        ("{{ flow_run.tags|tojson }} {{ flow_run.tags|first }} {{ []|last }}", '["prod"] prod '),
        ("{% raw %}{{ x }}{% endraw %}{# nothing #}", "{{ x }}"),
        ("{{ flow_run['name'] }}", "fuzzy-leopard"),
        ("{% for key in flow_run.parameters %}{{ key }}{% else %}none{% endfor %}", "none"),
        ("no names at all", "no names at all"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_template_sees_the_run_in_plain_values(source: str, text: str) -> None:
    check(source)
    assert rendered(source) == text


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("a\nb\n{{ flow_run.nmae }}", "line 3: there is no “flow_run.nmae”; did you mean “flow_run.name”?"),
        ("ok\n{{ flow.name }", "line 2: unexpected '}'"),
        ("{% set x = 1 %}", "line 1: “set” cannot be used here"),
        ("\n{{ nmae }}", "line 2: there is no “nmae”; did you mean “flow_run.name”?"),
        ("{{ flwo.name }}", "line 1: there is no “flwo”; did you mean “flow”?"),
        ("{{ parameters.day }}", "line 1: there is no “parameters”; did you mean “flow_run.parameters”?"),
        ("{{ reason|uper }}", "line 1: there is no filter “uper”; did you mean “upper”?"),
        ("{{ reason is definde }}", "line 1: there is no test “definde”; did you mean “defined”?"),
        ("{{ state['tpye'] }}", "line 1: there is no “state.tpye”; did you mean “state.type”?"),
        ("{% for x in log_lines %}{{ loop.idnex }}{% endfor %}",
         "line 1: there is no “loop.idnex”; did you mean “loop.index”?"),
        ("{% for x in log_lines %}{% endfor %}{{ x }}", "line 1: there is no “x”"),
        ("{% if reason %}", "line 1: unexpected end of template. expected 'elif' or 'else' or 'endif'."
         " The innermost block that needs to be closed is 'if'"),
        ("{% fro x in log_lines %}", "line 1: encountered unknown tag 'fro'"),
        ("\n\n{{ 1 / 0 }}", "line 3: a number is divided by zero"),
        ("\n{{ flow_run.tags[7] }}", "line 2: there is no “7” here"),
        ("{{ reason + 1 }}", "line 1: “+” takes numbers; texts are put together with “~”"),
        ("{% for c in reason %}{{ c }}{% endfor %}", "line 1: only a list can be gone through with “for”"),
        ("\0", "line 1: a character in it cannot be stored"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_with_its_line_and_what_was_meant(source: str, reason: str) -> None:
    assert refusal(source) == reason
    with pytest.raises(ValidationError) as refused:
        check(source)
    assert refused.value.message_dict == {"message": [reason]}


HOSTILE = [
    # attributes of objects
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ flow_run.__class__ }}",
    "{{ flow_run.name.__class__ }}",
    "{{ flow_run['__class__'] }}",
    "{{ flow_run['__cla' ~ 'ss__'] }}",
    "{{ (1).__class__ }}",
    "{{ [].append }}",
    "{{ flow_run.parts }}",
    "{{ flow_run.tags.append }}",
    "{{ log_lines.__init__.__globals__ }}",
    "{{ reason.format }}",
    "{{ '{0.__class__}'.format(reason) }}",
    "{{ reason|attr('__class__') }}",
    "{{ log_lines|map(attribute='__class__')|list }}",
    "{{ self }}",
    "{{ self.__init__.__globals__ }}",
    "{% for x in log_lines %}{{ loop.__class__ }}{% endfor %}",
    "{% for x in log_lines %}{{ loop['_iterator'] }}{% endfor %}",
    "{% for x in log_lines %}{{ loop.cycle('a') }}{% endfor %}",
    "{{ cycler }}{{ joiner }}{{ namespace }}{{ lipsum }}{{ dict }}",
    "{{ lipsum.__globals__.os }}",
    "{{ config }}{{ request }}{{ settings.SECRET_KEY }}",
    # what could reach other files, or keep something
    "{% include '/etc/passwd' %}",
    "{% import 'x' as x %}",
    "{% from 'x' import y %}",
    "{% extends 'x' %}",
    "{% block a %}{% endblock %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% call x() %}{% endcall %}",
    "{% filter upper %}a{% endfilter %}",
    "{% with x = 1 %}{{ x }}{% endwith %}",
    "{% set x %}a{% endset %}",
    "{% autoescape false %}{% endautoescape %}",
    "{{ flow_run.parameters.update({'a': 1}) }}",
    # bombs
    "{{ 'a' * 999999999 }}",
    "{{ [0] * 999999999 }}",
    "{{ 9 ** 999999999 }}",
    "{{ '%999999999d' % 3 }}",
    "{{ '%s' % reason }}",
    "{{ 'a'|center(999999999) }}",
    "{{ 'a'|indent(999999999) }}",
    "{{ 'a'|wordwrap(1) }}",
    "{{ range(999999999) }}",
    "{{ range(999999999)|list }}",
    "{% for x in range(999999999) %}{% endfor %}",
    "{{ reason|replace('', reason)|replace('', reason)|replace('', reason)|replace('', reason) }}",
    "{% for a in log_lines recursive %}{{ loop(log_lines) }}{% endfor %}",
    "{% for a in log_lines %}{% for b in log_lines %}{% for c in log_lines %}{% endfor %}{% endfor %}{% endfor %}",
    "{% for a in log_lines %}{% for b in log_lines %}" + "{{ a~b }}" * 900 + "{% endfor %}{% endfor %}",
    "{{ " + "9" * 9_000 + " }}",
    "{{ " + " * ".join(["99999999999999999999"] * 400) + " }}",
    "{{ 1e999 // 1e-999 }}",
    # depth
    "{{ " + "(" * 4_000 + "1" + ")" * 4_000 + " }}",
    "{{ " + "[" * 4_000 + "]" * 4_000 + " }}",
    "{{ " + "not " * 2_400 + "1 }}",
    "{{ " + "-" * 9_000 + "1 }}",
    "{{ flow_run.parameters" + ".a" * 4_900 + " }}",
    "{{ reason" + "|upper" * 1_600 + " }}",
    "{{ 1" + " + 1" * 2_400 + " }}",
    "{{ 1" + " if 1 else 1" * 800 + " }}",
    "{% if 1 %}" * 900,
    "{% if 1 %}" * 480 + "{% endif %}" * 480,
    "{" * 10_000,
    "{% " * 3_000,
    "{#" * 5_000,
    "{{ '" + "\\" * 9_000,
    "x" * (MAX_SOURCE + 1),
]  # fmt: skip


@pytest.mark.parametrize("source", HOSTILE, ids=lambda source: source[:40])
def test_a_hostile_template_is_refused_in_plain_words_and_quickly(source: str) -> None:
    began = time.perf_counter()
    reason = refusal(source)
    assert time.perf_counter() - began < 1.0
    assert reason.startswith("line ")
    assert len(reason) < 400
    for internal in ("object at", "Traceback", "<class", "jinja", "NoneType", "recursion depth"):
        assert internal not in reason


@pytest.mark.parametrize(
    "source",
    [
        "x" * MAX_SOURCE,
        "{{ reason }}" * 800,
        "{{ reason ~ reason ~ reason }}" * 300,
        "{{ reason" + " ~ reason" * 1_000 + " }}",
        "{% for a in flow_run.tags %}{% for b in flow_run.tags %}{{ a ~ b }}{% endfor %}{% endfor %}",
        "{{ log_lines|join(reason) }}",
        "{{ reason|replace('x', 'xxxxxxxxx') }}",
        "{{ flow_run.tags|tojson }}",
        "{{ flow_run.tags }}",
    ],
    ids=lambda source: source[:40],
)
def test_output_is_cut_however_much_there_is(source: str) -> None:
    reason = "x" * 10_000
    context = {**sample_context(), "reason": reason, "log_lines": [reason] * 1_000}
    context["flow_run"] = Named("run", tags=["y" * 1_000] * 1_000)
    began = time.perf_counter()
    text = render(source, context)
    assert time.perf_counter() - began < 1.0
    assert len(text) == MAX_OUTPUT
    assert text.endswith("…")


def test_the_dearest_template_that_is_taken_renders_quickly() -> None:
    """Loops of 50 within loops of 50, as much in them as is allowed, and no output that would end it early."""
    body = "{% if a|title == b %}x{% endif %}"
    source = "{% for a in log_lines %}{% for b in log_lines %}" + body + "{% endfor %}{% endfor %}"
    assert refusal(source + source) == "line 1: it does too much: use fewer loops, or shorter ones"
    began = time.perf_counter()
    assert rendered(source, log_lines=["z" * 10_000] * 5_000) == ""
    longest = "{{ reason" + "|title" * 30 + "|first|truncate(0, '') }}"
    assert rendered(longest * 40, reason="z" * 10_000) == ""
    assert time.perf_counter() - began < 2.0


@pytest.mark.parametrize(
    "value",
    [
        "{{ 7 * 7 }}",
        "{% for x in y %}",
        "{{ self.__init__ }}",
        "%s %(a)s {0.__class__}",
        "<script>alert(1)</script>",
        "<!channel> & *bold*",
    ],
)
def test_values_of_a_run_are_data_never_templates(value: str) -> None:
    context = {**sample_context(), "reason": value, "log_lines": [value]}
    context["flow_run"] = Named(value, name=value, parameters={"a": value, value: 1})
    source = "{{ flow_run }}|{{ reason }}|{{ log_lines|join }}|{{ flow_run.parameters.a }}|{{ reason ~ '' }}"
    assert render(source, context) == "|".join([value] * 5)


def test_a_parameter_that_a_run_does_not_have_is_said() -> None:
    """At saving any parameter is taken, since each run may have others."""
    check("{{ flow_run.parameters.day }}")
    context = {**sample_context(), "flow_run": Named("run", parameters={"month": 6})}
    assert refusal("\n{{ flow_run.parameters.day }}", context) == "line 2: there is no “day” here"
    assert render("{{ flow_run.parameters.day|default('?') }} {{ flow_run.parameters.month }}", context) == "? 6"
    assert render("{% if flow_run.parameters.day is defined %}a{% else %}b{% endif %}", context) == "b"


def test_parameters_called_like_methods_are_parameters() -> None:
    context = {**sample_context(), "flow_run": Named("run", parameters={"items": 3, "keys": [1, {"get": 2}]})}
    assert render("{{ flow_run.parameters.items }} {{ flow_run.parameters['keys'][1].get }}", context) == "3 2"
    assert refusal("{{ flow_run.parameters.values }}", context) == "line 1: there is no “values” here"


def test_every_name_that_is_offered_is_there() -> None:
    for name, parts in templating.NAMES.items():
        check(f"{{{{ {name} }}}}")
        for part in parts or ():
            check(f"{{{{ {name}.{part} }}}}")
            check(f"{{{{ {name}['{part}'] }}}}")


def test_what_no_database_takes_is_refused_where_it_stands() -> None:
    assert refusal("a\n\ud800") == "line 2: a character in it cannot be stored"
