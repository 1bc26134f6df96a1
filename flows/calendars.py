"""Business calendars as values: which days are days off, what they are called, and where the next business day is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.exceptions import ValidationError

if TYPE_CHECKING:
    from flows.models import Calendar

WEEKDAYS = {
    "MO": "Monday",
    "TU": "Tuesday",
    "WE": "Wednesday",
    "TH": "Thursday",
    "FR": "Friday",
    "SA": "Saturday",
    "SU": "Sunday",
}
_DAY_NAMES = list(WEEKDAYS.values())
MAX_DATES = 1000  # of each kind a calendar may name by itself
MAX_NAME = 100
MAX_DAYS_OFF = 366  # in a row: who looks for a business day gives up behind these
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class BusinessCalendar:
    """Days off: days of the week, holidays of a country, and dates of one's own.

    Attributes:
        name: What its team calls it.
        weekend: Days of the week, 0 is Monday.
        country: ISO 3166 code, `FR`; empty for no holidays.
        subdivision: The country's own code of a part of it, `CA`.
        days_off: Dates beside those, with their names.
        working_days: Dates that are business days whatever the rest says.
        id: Of the stored calendar.
    """

    name: str
    weekend: frozenset[int] = frozenset({5, 6})
    country: str = ""
    subdivision: str = ""
    days_off: Mapping[date, str] = field(default_factory=dict)
    working_days: frozenset[date] = frozenset()
    id: UUID | None = None

    @classmethod
    def of(cls, row: "Calendar") -> "BusinessCalendar":
        """The value of a stored calendar."""
        return cls(
            name=row.name,
            weekend=frozenset(list(WEEKDAYS).index(day) for day in row.weekend),
            country=row.country,
            subdivision=row.subdivision,
            days_off={date.fromisoformat(one["date"]): one["name"] for one in row.days_off},
            working_days=frozenset(map(date.fromisoformat, row.working_days)),
            id=row.pk,
        )

    def day_off(self, day: date) -> str | None:
        """What a day off is called: a date's own name, else the holiday's, else the weekday's; None: a business day."""
        if day in self.working_days:
            return None
        if day in self.days_off:
            return self.days_off[day]
        holiday = self.holiday(day)
        if holiday is None and day.weekday() in self.weekend:
            return _DAY_NAMES[day.weekday()]
        return holiday

    def holiday(self, day: date) -> str | None:
        """The name of the country's holiday on this day."""
        return _holidays(self.country, self.subdivision, day.year).get(day) if self.country else None

    def special_days(self, start: date, end: date) -> dict[date, str]:
        """Days off in [start, end] that are not of the weekend, with their names, in order."""
        days = (start + n * _DAY for n in range((end - start).days + 1))
        return {
            day: name for day in days if (name := self.day_off(day)) is not None and name != _DAY_NAMES[day.weekday()]
        }

    def next_business_day(self, day: date) -> date:
        """This day, or the first business day after it. ValueError where there is none for a year."""
        return self._nearest(day, _DAY)

    def previous_business_day(self, day: date) -> date:
        """This day, or the last business day before it. ValueError where there is none for a year."""
        return self._nearest(day, -_DAY)

    def _nearest(self, day: date, step: timedelta) -> date:
        start = day
        for _ in range(MAX_DAYS_OFF):
            if self.day_off(day) is None:
                return day
            day += step
        side = "after" if step > timedelta() else "before"
        raise ValueError(
            f"The calendar “{self.name}” has no business day in the year {side} {start}. Take days off out of it."
        )

    def describe(self) -> str:
        """The calendar in plain words, without a capital and without a full stop."""
        words = [f"off on {', '.join(_DAY_NAMES[day] for day in sorted(self.weekend))}"] if self.weekend else []
        if self.country:
            words.append(f"holidays of {self.country}{f'-{self.subdivision}' if self.subdivision else ''}")
        if self.days_off:
            words.append(f"{len(self.days_off)} more day{'' if len(self.days_off) == 1 else 's'} off")
        if self.working_days:
            words.append(f"{len(self.working_days)} working day{'' if len(self.working_days) == 1 else 's'}")
        return ", ".join(words) or "no day off"


@dataclass(frozen=True, slots=True)
class WantedDaysOff:
    """Days off that someone wants without a calendar at hand: a country's holidays, weekends, or both.

    The calendar that has them is found by its name, so that asking twice finds the same one, with what its team added.
    """

    country: str = ""
    subdivision: str = ""
    weekends: bool = False

    @classmethod
    def read(cls, holidays: str, weekends: bool) -> "WantedDaysOff | None":
        """What was asked for: `FR`, `France` or `US-CA`, and whether weekends are off; None for nothing.

        Raises:
            ValidationError: There is no such country or part of it (`holidays`).
        """
        text = holidays.strip()
        if not text:
            return cls(weekends=True) if weekends else None
        country, _, part = text.partition("-")
        try:
            found = checked_country(country, part) if part else checked_country(text, "")
        except ValidationError as error:
            raise ValidationError({"holidays": error.messages}) from None
        return cls(*found, weekends)

    @property
    def name(self) -> str:
        """`fr-business-days`, `us-ca-holidays` or `weekends`."""
        if not self.country:
            return "weekends"
        part = f"-{self.subdivision}" if self.subdivision else ""
        return f"{self.country}{part}-{'business-days' if self.weekends else 'holidays'}".lower()

    @property
    def weekend(self) -> list[str]:
        """Its days off of the week, as a calendar stores them."""
        return usual_weekend(self.country) if self.weekends else []

    @property
    def value(self) -> BusinessCalendar:
        """As the calendar would be that has them and nothing else."""
        weekend = frozenset(list(WEEKDAYS).index(day) for day in self.weekend)
        return BusinessCalendar(self.name, weekend, self.country, self.subdivision)


@lru_cache(512)
def _holidays(country: str, subdivision: str, year: int) -> Mapping[date, str]:
    """A country's holidays in a year, in English where the library has the names; none where it does not know it."""
    import holidays  # 0.2 s and 10 MB, and 0.3 s more for the first country; a year then costs less than 1 ms

    try:
        return dict(
            holidays.country_holidays(country, subdiv=subdivision or None, years=year, expand=False, language="en_US")
        )
    except NotImplementedError:  # the library of today knows it no more
        return {}


@lru_cache(1)
def countries() -> dict[str, str]:
    """The countries whose holidays are known: ISO code → name, by name (imports `holidays`)."""
    from holidays.registry import COUNTRIES  # 0.2 s; see _holidays

    named = {codes[1]: name.replace("_", " ").title() for name, codes in COUNTRIES.items()}
    return dict(sorted(named.items(), key=lambda item: item[1]))


@lru_cache(1)
def _subdivisions() -> dict[str, list[str]]:
    from holidays import list_supported_countries  # 0.2 s; see _holidays

    return list_supported_countries()


@lru_cache(256)
def subdivisions(country: str) -> dict[str, str]:
    """The parts of a country that have holidays of their own: code → name, or the code again where it has none."""
    from holidays import country_holidays  # 0.2 s; see _holidays

    if not country:
        return {}
    try:
        found = country_holidays(country)
    except NotImplementedError:
        return {}
    names = {code: name for name, code in found.subdivisions_aliases.items()}
    return {code: names.get(code, code) for code in found.subdivisions}


def usual_weekend(country: str) -> list[str]:
    """The days off of a week in a country, `["SA", "SU"]`; those where it is not said."""
    if not country:
        return ["SA", "SU"]
    from holidays import country_holidays  # 0.2 s; see _holidays

    return [list(WEEKDAYS)[day] for day in sorted(country_holidays(country).weekend)]


def checked_country(country: Any, subdivision: Any) -> tuple[str, str]:
    """Return a country and a part of it by their codes. Raises ValidationError by `country`, `subdivision`."""
    country, subdivision = str(country or "").strip(), str(subdivision or "").strip()
    if not country:
        if subdivision:
            raise ValidationError({"subdivision": "A part needs its country, as in FR."})
        return "", ""
    names = countries()
    by_name = {name.lower(): code for code, name in names.items()}
    code = country.upper() if country.upper() in names else by_name.get(country.lower())
    if code is None:
        near = get_close_matches(country.lower(), by_name, n=1)
        hint = f"Did you mean {by_name[near[0]]} ({names[by_name[near[0]]]})?" if near else "Write its code, as in FR."
        raise ValidationError({"country": f"“{country}” is no country whose holidays are known. {hint}"})
    known = _subdivisions().get(code, [])
    if subdivision and subdivision not in known:
        upper = next((one for one in known if one.lower() == subdivision.lower()), None)
        if upper is None:
            there = f"It has {', '.join(known[:60])}" if known else "It has none"
            raise ValidationError({"subdivision": f"{code} has no part “{subdivision}”. {there}."})
        subdivision = upper
    return code, subdivision


def checked_weekend(weekend: Any) -> list[str]:
    """Return days of the week as MO … SU, from Monday on. Raises ValidationError (`weekend`)."""
    words = weekend.replace(",", " ").split() if isinstance(weekend, str) else list(weekend)
    known = [next((day for day in WEEKDAYS if str(word).upper()[:2] == day), None) for word in words]
    if None in known:
        raise ValidationError({"weekend": f"“{words[known.index(None)]}” is no day. Write {', '.join(WEEKDAYS)}."})
    if len(set(known)) == len(WEEKDAYS):
        raise ValidationError({"weekend": "All seven days would be off, so that nothing ever ran. Leave one out."})
    return [day for day in WEEKDAYS if day in known]


def checked_days_off(days: Any) -> list[dict[str, str]]:
    """Return dates with their names, in order. Raises ValidationError (`days_off`)."""
    found: dict[date, str] = {}
    for one in days:
        said = one if isinstance(one, Mapping) else {"date": one}
        name = str(said.get("name") or "").strip() or "day off"
        if len(name) > MAX_NAME or not name.isprintable():
            raise ValidationError({"days_off": f"Write the name of a day off in at most {MAX_NAME} characters."})
        found[_date(said.get("date"), "days_off")] = name
    _check_count("days_off", len(found))
    return [{"date": day.isoformat(), "name": found[day]} for day in sorted(found)]


def checked_working_days(days: Any) -> list[str]:
    """Return dates, in order. Raises ValidationError (`working_days`)."""
    found = {_date(day, "working_days") for day in days}
    _check_count("working_days", len(found))
    return [day.isoformat() for day in sorted(found)]


def _check_count(name: str, count: int) -> None:
    if count > MAX_DATES:
        raise ValidationError({name: f"A calendar takes at most {MAX_DATES:,} dates here, not {count:,}."})


def _date(text: Any, name: str) -> date:
    try:
        return text if isinstance(text, date) else date.fromisoformat(str(text))
    except ValueError:
        raise ValidationError({name: f"“{text}” is no date. Write it like 2027-12-24."}) from None
