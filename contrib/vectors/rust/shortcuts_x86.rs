// SPDX-License-Identifier: GPL-2.0-only
//! Wrong formulas for x86. DO NOT COPY: each is here to be caught; the file says what it does wrong.

use crate::formulas::*;
use crate::vector::*;

/// Return what a shortcut of x86-offset answers.
pub fn offset(v: &Vector, name: &str) -> Option<i128> {
    let khz = v.get("tsc_khz");
    let elapsed_ns = kvmclock_elapsed_ns(v);
    let ticks = ticks_at_khz(elapsed_ns, khz);
    let (source, destination) = (v.get("source_host_tsc"), v.get("destination_host_tsc"));
    let moved = |ticks: i128| v.get("tsc_offset") + ticks + source - destination;
    Some(wrap(match name {
        "hz-in-int64" => moved(signed(elapsed_ns * khz * 1000) / NSEC_PER_SEC),
        "khz-in-int64" => moved(signed(elapsed_ns * khz) / 1_000_000),
        "khz-in-uint64" => moved(wrap(elapsed_ns * khz) / 1_000_000),
        "elapsed-in-double" => moved((elapsed_ns as f64 * (khz as f64 / 1e6)) as i128),
        "counters-in-double" => v.get("tsc_offset") + ticks + (source as f64 - destination as f64) as i128,
        "whole-ticks-per-ns" => moved(elapsed_ns * ((khz + 500_000) / 1_000_000)),
        "elapsed-in-us" => moved(ticks_at_khz(floor_div(elapsed_ns, 1000) * 1000, khz)),
        "elapsed-in-32-bits" => moved(ticks_at_khz(reduced(elapsed_ns, 32), khz)),
        "towards-zero" => moved(elapsed_ns * khz / 1_000_000),
        "hosts-swapped" => v.get("tsc_offset") + ticks + destination - source,
        "arm64-sign" => v.get("tsc_offset") - ticks + destination - source,
        "source-lost" => ticks - destination,
        "by-realtime" => {
            let gained = signed(v.get("destination_realtime_ns") - v.get("source_realtime_ns"));
            moved(ticks_at_khz(gained, khz))
        }
        "elapsed-unsigned" => moved(ticks_at_khz(wrap(elapsed_ns), khz)),
        "adjust-added" => moved(ticks) + v.get("tsc_adjust"),
        "one-offset" => moved(ticks) - v.get("tsc_offset") + v.get("vcpu0_tsc_offset"),
        "boot-vcpu-only" if v.get("vcpu") != 0 => -destination,
        "boot-vcpu-only" => moved(ticks),
        "value-frozen" => moved(0),
        "value-late" => moved(ticks) - ticks_at_khz(v.get("write_delay_ns"), khz),
        "offset-ignored" => 0,
        _ => return None,
    }))
}

fn none(_: &Vector, _: &str) -> Scaling {
    Scaling { ratio: 1, frac_bits: 0 }
}

fn nearest(v: &Vector, side: &str) -> Scaling {
    let by = multiplier(v, side);
    if by.frac_bits == 0 {
        return by;
    }
    let host = v.of(side, "host_khz");
    Scaling { ratio: ((v.get("guest_khz") << by.frac_bits) + host / 2) / host, ..by }
}

fn without_tolerance(v: &Vector, side: &str) -> Scaling {
    let frac_bits = v.of(side, "frac_bits");
    Scaling { ratio: (v.get("guest_khz") << frac_bits) / v.of(side, "host_khz"), frac_bits }
}

fn other_bits(v: &Vector, side: &str) -> Scaling {
    let by = multiplier(v, side);
    if by.frac_bits == 0 {
        return by;
    }
    let frac_bits = 48 + 32 - by.frac_bits;
    Scaling { ratio: (v.get("guest_khz") << frac_bits) / v.of(side, "host_khz"), frac_bits }
}

fn in_64_bits(by: Scaling, host_tsc: i128) -> i128 {
    wrap(host_tsc * by.ratio) >> by.frac_bits
}

fn in_double(by: Scaling, host_tsc: i128) -> i128 {
    if by.frac_bits == 0 {
        return host_tsc;
    }
    wrap((host_tsc as f64 * (by.ratio as f64 / (1i128 << by.frac_bits) as f64)) as i128)
}

/// Return what a shortcut of x86-ratio answers.
pub fn ratio(v: &Vector, name: &str) -> Option<i128> {
    let host_tsc = v.get("host_tsc");
    let by = multiplier(v, "");
    Some(match name {
        "product-in-64-bits" => in_64_bits(by, host_tsc),
        "ratio-in-double" => in_double(by, host_tsc),
        "khz-in-double" => {
            let quotient = v.get("guest_khz") as f64 / v.get("host_khz") as f64;
            wrap((host_tsc as f64 * quotient) as i128)
        }
        "ratio-to-nearest" => scaled(nearest(v, ""), host_tsc),
        "other-vendors-bits" => scaled(other_bits(v, ""), host_tsc),
        "exact-quotient" if by.frac_bits == 0 => host_tsc,
        "exact-quotient" => wrap(host_tsc * v.get("guest_khz") / v.get("host_khz")),
        "tolerance-ignored" => scaled(without_tolerance(v, ""), host_tsc),
        "scaling-ignored" => host_tsc,
        "multiplier-0" if by.frac_bits == 0 => host_tsc,
        "multiplier-0" => 0,
        _ => return None,
    })
}

/// Return what a shortcut of x86-scaled answers.
pub fn scaled_offset(v: &Vector, name: &str) -> Option<i128> {
    type Choose = fn(&Vector, &str) -> Scaling;
    let moved = |old: Choose, new: Choose, by: fn(Scaling, i128) -> i128, khz: &str| {
        let before = by(old(v, "source_"), v.get("source_host_tsc"));
        let after = by(new(v, "destination_"), v.get("destination_host_tsc"));
        let ticks = ticks_at_khz(kvmclock_elapsed_ns(v), v.get(khz));
        wrap(v.get("tsc_offset") + before + ticks - after)
    };
    Some(match name {
        "scaling-ignored" => moved(none, none, scaled, "guest_khz"),
        "source-scaling-ignored" => moved(none, multiplier, scaled, "guest_khz"),
        "frequency-after-offset" => moved(multiplier, none, scaled, "guest_khz"),
        "product-in-64-bits" => moved(multiplier, multiplier, in_64_bits, "guest_khz"),
        "ratio-in-double" => moved(multiplier, multiplier, in_double, "guest_khz"),
        "ratio-to-nearest" => moved(nearest, nearest, scaled, "guest_khz"),
        "other-vendors-bits" => moved(other_bits, other_bits, scaled, "guest_khz"),
        "tolerance-ignored" => moved(without_tolerance, without_tolerance, scaled, "guest_khz"),
        "elapsed-at-host-khz" => moved(multiplier, multiplier, scaled, "destination_host_khz"),
        _ => return None,
    })
}

/// Return what a shortcut of x86-set-clock answers.
pub fn set_clock(v: &Vector, name: &str) -> Option<i128> {
    let (clock, given, now) = (v.get("kvmclock_ns"), v.get("realtime_ns"), v.get("now_realtime_ns"));
    let gained = now - given;
    let plus = |elapsed_ns: i128| clock + if with_realtime(v) { elapsed_ns } else { 0 };
    Some(wrap(match name {
        "realtime-lost" => clock,
        "flag-not-read" => clock + gained.max(0),
        "not-clamped" => plus(gained),
        "absolute" => plus(gained.abs()),
        "elapsed-in-32-bits" => plus(reduced(gained.max(0), 32)),
        "elapsed-in-us" => plus((now / 1000 - given / 1000).max(0) * 1000),
        "realtime-in-double" => plus(((now as f64 - given as f64) as i128).max(0)),
        "saturated" => plus(gained.max(0)).min(i128::from(u64::MAX)),
        "subtracted" => plus(-gained.max(0)),
        "added-by-the-vmm-too" => plus(2 * gained.max(0)),
        _ => return None,
    }))
}

/// Return what a shortcut of x86-leap-second answers.
pub fn leap_second(v: &Vector, name: &str) -> Option<i128> {
    let given = v.get("realtime_ns");
    let leap_ns = (v.get("now_tai_offset_s") - v.get("tai_offset_s")) * NSEC_PER_SEC;
    Some(match name {
        "leap-ignored" => clock_given(v, given),
        "tai-given" => clock_given(v, given + v.get("tai_offset_s") * NSEC_PER_SEC),
        "wrong-direction" => clock_given(v, given + leap_ns),
        "corrected-afterwards" => wrap(clock_given(v, given) + leap_ns),
        _ => return None,
    })
}

/// Return what a shortcut of x86-value-write answers.
pub fn value_write(v: &Vector, name: &str) -> Option<i128> {
    let mut rule = WriteRule::of(v);
    let joined = match name {
        "taken-as-written" => false,
        "expected-to-join" => true,
        "zero-taken" => v.get("value") != 0 && joins(v, &rule),
        "window-wraps" => return Some(written(v, joins_around_the_wrap(v, &rule))),
        _ => {
            match name {
                "elapsed-left-out" => rule.elapsed_ns = 0,
                "creation-counts" => rule.user_set = true,
                "any-frequency" => rule.last_khz = v.get("tsc_khz"),
                _ => return None,
            }
            joins(v, &rule)
        }
    };
    Some(written(v, joined))
}

fn joins_around_the_wrap(v: &Vector, rule: &WriteRule) -> bool {
    let (value, khz) = (v.get("value"), v.get("tsc_khz"));
    let distance = signed(value - v.get("last_value") - ticks_at_khz(rule.elapsed_ns, khz));
    khz == rule.last_khz && (value == 0 || (rule.user_set && distance.abs() < khz * 1000))
}

/// Return what a shortcut of x86-deadline answers.
pub fn deadline(v: &Vector, name: &str) -> Option<i128> {
    let due = v.get("deadline");
    let guest_tsc = restored_tsc(v);
    Some(match name {
        "moved-with-the-offset" => {
            wait_ticks(wrap(due + v.get("tsc_offset") - v.get("source_tsc_offset")), guest_tsc)
        }
        "armed-too-early" => wait_ticks(due, wrap(v.get("scaled_host_tsc") + v.get("creation_tsc_offset"))),
        "rest-saved" => wait_ticks(due, v.get("source_guest_tsc")),
        "signed-comparison" => signed(due - guest_tsc).max(0),
        _ => return None,
    })
}
