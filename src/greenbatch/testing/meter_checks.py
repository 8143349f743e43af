"""What every meter must do; a check's docstring is the reason it is there."""

import math
import statistics
from collections.abc import Callable
from itertools import pairwise
from typing import TypeAlias

from greenbatch.errors import MeterUnavailable
from greenbatch.records import EnergySource
from greenbatch.runners.metering import Domain, Reading
from greenbatch.testing.meter_observation import Observation

Check: TypeAlias = Callable[[Observation], None]

_SOURCES = (EnergySource.COUNTER, EnergySource.INTEGRATED, EnergySource.ESTIMATED)
_LATE = 3  # a tick may be seen so many times later than stated
_APART = 3  # of two ways to the same power
_FEW_W = 1.0


def it_is_called_as_it_is_opened(seen: Observation) -> None:
    """The journal names the meter of each figure, and ``--meter`` takes that name."""
    assert seen.meter.name == seen.name


def its_domains_are_sound(seen: Observation) -> None:
    """What a domain states decides how its readings become energy."""
    assert seen.domains, "it has no domain"
    names = [domain.name for domain in seen.domains]
    assert len(set(names)) == len(names), f"two domains have one name: {names}"
    for domain in seen.domains:
        assert domain.name.strip() == domain.name != "", f"{domain.name!r} is no name"
        assert domain.source in _SOURCES, f"{domain.name}: its source is {domain.source}"
        assert 0 < domain.tick_s < math.inf, f"{domain.name}: tick_s is {domain.tick_s}"
        for value in (domain.lag_s, domain.band_relative, domain.band_power_w):
            assert 0 <= value < math.inf, f"{domain.name}: a lag or a band is {value}"
        for most in (domain.range_j, domain.power_most_w):
            assert most is None or most > 0, f"{domain.name}: a range or a bound is {most}"


def its_intervals_are_sound(seen: Observation) -> None:
    """The recorder sleeps so long between two reads."""
    assert 0 < seen.meter.interval_s < math.inf
    focus_s = seen.meter.focus_interval_s
    assert focus_s is None or 0 < focus_s <= seen.meter.interval_s


def its_domains_stay(seen: Observation) -> None:
    """They are fixed for its life: figures, plots and the total are made by them."""
    assert tuple(seen.meter.domains) == seen.domains
    if "opening it again" not in seen.faults:
        assert list(seen.reopened) == [domain.name for domain in seen.domains]


def a_read_does_not_raise(seen: Observation) -> None:
    """What cannot be read is a reading with a reason: one domain must not take others away."""
    errors = [look.error for look in seen.looks if look.error]
    assert not errors, f"{len(errors)} of {len(seen.looks)} reads raised {errors[0]!r}"


def every_domain_is_read(seen: Observation) -> None:
    """A domain that is left out looks as one that was not read in time."""
    names = {domain.name for domain in seen.domains}
    for look in seen.looks:
        if look.error is None:
            assert set(look.readings) == names
            assert all(isinstance(reading, Reading) for reading in look.readings.values())


def a_reading_is_a_value_or_a_reason(seen: Observation) -> None:
    """Missing is missing with a reason: the figure, the total and the report show it."""
    for domain in seen.domains:
        for _, reading in seen.of(domain):
            has_value = reading.energy_j is not None or reading.power_w is not None
            assert has_value != (reading.reason is not None), f"{domain.name}: {reading}"
            if reading.reason is not None:
                assert reading.reason.strip(), f"{domain.name}: an empty reason"
                assert "\n" not in reading.reason, f"{domain.name}: {reading.reason!r}"


def values_are_numbers(seen: Observation) -> None:
    """NaN and infinity spread to every mean; a negative power is none."""
    for domain in seen.domains:
        for _, reading in seen.of(domain):
            for value in (reading.energy_j, reading.power_w):
                assert value is None or math.isfinite(value), f"{domain.name}: {reading}"
            assert reading.power_w is None or reading.power_w >= 0, f"{domain.name}: {reading}"


def what_counts_is_read_by_its_source(seen: Observation) -> None:
    """A counter gives energy, and a sensor gives power."""
    for domain in seen.counted:
        integrated = domain.source is EnergySource.INTEGRATED
        values = seen.powers_w(domain) if integrated else seen.counts_j(domain)
        what = "power_w" if integrated else "energy_j"
        reasons = {reading.reason for _, reading in seen.of(domain)} - {None}
        assert len(values) > len(seen.looks) / 2, (
            f"{domain.name} ({domain.source}) gave {what} in {len(values)} of {len(seen.looks)} "
            f"reads; {'; '.join(map(str, reasons)) or 'no reason'}"
        )


def nothing_that_counts_reads_0(seen: Observation) -> None:
    """Hardware that runs draws power: an absent sensor read as 0 would be a saving."""
    for domain in seen.counted:
        assert 0 not in seen.powers_w(domain), f"{domain.name} stated a power of 0 W"
        values = [value for _, value in seen.counts_j(domain)]
        assert not values or any(values), f"the counter of {domain.name} reads 0 J for ever"


def a_counter_never_runs_back(seen: Observation) -> None:
    """A fall is a wrap at ``range_j``, or energy is lost."""
    for domain in seen.domains:
        for (_, earlier_j), (_, later_j) in pairwise(seen.counts_j(domain)):
            wrapped = domain.range_j is not None and later_j + domain.range_j / 2 < earlier_j
            assert later_j >= earlier_j or wrapped, (
                f"the counter of {domain.name} fell from {earlier_j} J to {later_j} J, and its "
                f"range is {domain.range_j}"
            )


def a_counter_ticks_as_stated(seen: Observation) -> None:
    """A window is as long as many ticks, and its uncertainty that of two."""
    for domain in seen.counted:
        values = seen.counts_j(domain)
        if domain.source is not EnergySource.COUNTER or not values:
            continue
        changes_s = [b_s for (_, a), (b_s, b) in pairwise(values) if a != b]
        assert changes_s, f"the counter of {domain.name} stood still"
        if len(changes_s) > 1:
            period_s = statistics.median(b - a for a, b in pairwise(changes_s))
            limit_s = _LATE * max(domain.tick_s, seen.pause_s)
            assert period_s <= limit_s, (
                f"the counter of {domain.name} changed every {period_s:.3g} s, and its tick_s is "
                f"{domain.tick_s:.3g} s"
            )


def its_power_is_plausible(seen: Observation) -> None:
    """Milliwatts in the place of watts, or microjoules of joules, are found by nobody later."""
    for domain in seen.domains:
        counter_w, stated = _counter_w(seen, domain), seen.powers_w(domain)
        powers_w = {"counter": counter_w, "power": statistics.median(stated) if stated else None}
        for what, power_w in powers_w.items():
            assert power_w is None or power_w <= seen.most_w[domain.name], (
                f"{domain.name} draws {power_w:.4g} W by its {what}, and at most "
                f"{seen.most_w[domain.name]:g} W is plausible; are values in W and J? If the "
                "machine draws so much, state more by --most-watts"
            )
        by_counter, by_power = powers_w.values()
        if by_counter and by_power and max(by_counter, by_power) > _FEW_W:
            ratio = by_counter / by_power
            assert 1 / _APART <= ratio <= _APART, (
                f"{domain.name} draws {by_counter:.4g} W by its counter and {by_power:.4g} W by "
                "its power; are both in W and J?"
            )


def a_window_has_energy_and_adds_up(seen: Observation) -> None:
    """The energy of a window is that of its halves, within what they state."""
    assert "recording a window" not in seen.faults, seen.faults["recording a window"]
    for whole, first, second in zip(seen.whole, *seen.halves, strict=True):
        if whole.counts:
            assert whole.energy_j is not None, whole.reason
        if None in (whole.energy_j, first.energy_j, second.energy_j):
            continue
        apart_j = abs((whole.energy_j or 0) - (first.energy_j or 0) - (second.energy_j or 0))
        doubt_j = sum(figure.uncertainty_j or 0.0 for figure in (whole, first, second))
        assert apart_j <= doubt_j + 1e-6 * (whole.energy_j or 0.0), (
            f"{whole.domain}: {whole.energy_j} J, and {first.energy_j} J + {second.energy_j} J"
        )


def a_read_takes_less_than_the_interval(seen: Observation) -> None:
    """A slower read comes too late for the next one, and loads what it measures."""
    read_s = statistics.median(look.after_s - look.before_s for look in seen.looks)
    assert read_s < seen.meter.interval_s, (
        f"a read takes {read_s:.3g} s, and interval_s is {seen.meter.interval_s:.3g} s"
    )


def following_a_process_does_not_raise(seen: Observation) -> None:
    """A run follows each child process, whatever the meter."""
    assert not seen.faults.keys() & {"follow(pid)", "follow(None)"}, seen.faults


def closing_twice_does_nothing_more(seen: Observation) -> None:
    """A run that ends by an error closes what was closed."""
    for which in ("first", "second"):
        fault = seen.faults.get(f"the {which} close()")
        assert fault is None, f"the {which} close() raised {fault!r}"


def it_can_be_opened_again(seen: Observation) -> None:
    """``gb doctor`` opens every meter, and a run opens it after that."""
    fault = seen.faults.get("opening it again")
    assert fault is None, f"opening it again raised {fault!r}"


def closing_leaves_no_file_open(seen: Observation) -> None:
    """A long-lived process opens meters for each window."""
    assert seen.descriptors <= 0, f"{seen.descriptors} more files are open after a second time"


def elsewhere_it_is_unavailable_in_one_sentence(seen: Observation) -> None:
    """``auto`` opens every meter on every machine."""
    fault = seen.faults.get("opening it elsewhere")
    assert fault is None or isinstance(fault, MeterUnavailable), (
        f"where /sys is empty, open raised {fault!r} in the place of MeterUnavailable"
    )
    assert fault is None or (str(fault).strip() and "\n" not in str(fault)), repr(str(fault))


def _counter_w(seen: Observation, domain: Domain) -> float | None:
    values = seen.counts_j(domain)
    rises_j = [later - earlier for (_, earlier), (_, later) in pairwise(values) if later > earlier]
    passed_s = values[-1][0] - values[0][0] if values else 0.0
    return sum(rises_j) / passed_s if passed_s > 0 else None


CHECKS: tuple[Check, ...] = (
    it_is_called_as_it_is_opened,
    its_domains_are_sound,
    its_intervals_are_sound,
    its_domains_stay,
    a_read_does_not_raise,
    every_domain_is_read,
    a_reading_is_a_value_or_a_reason,
    values_are_numbers,
    what_counts_is_read_by_its_source,
    nothing_that_counts_reads_0,
    a_counter_never_runs_back,
    a_counter_ticks_as_stated,
    its_power_is_plausible,
    a_window_has_energy_and_adds_up,
    a_read_takes_less_than_the_interval,
    following_a_process_does_not_raise,
    closing_twice_does_nothing_more,
    it_can_be_opened_again,
    closing_leaves_no_file_open,
    elsewhere_it_is_unavailable_in_one_sentence,
)
