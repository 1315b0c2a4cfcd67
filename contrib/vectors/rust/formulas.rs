// SPDX-License-Identifier: GPL-2.0-only
//! The right formulas, one for each method of a vectors file.

use crate::vector::*;

const KVM_CLOCK_REALTIME: i128 = 1 << 2;
const TOLERANCE_PPM: i128 = 250;

/// Return the answers to a vector by name, the judged one first; None if the method is not known.
pub fn answers(v: &Vector) -> Option<Vec<(&'static str, i128)>> {
    Some(match v.method {
        "x86-offset" => vec![("tsc_offset", x86_offset(v))],
        "x86-ratio" => vec![
            ("scaled_tsc", scaled(multiplier(v, ""), v.get("host_tsc"))),
            ("ratio", kept_ratio(v, "")),
        ],
        "x86-scaled" => vec![
            ("tsc_offset", x86_scaled(v)),
            ("source_ratio", kept_ratio(v, "source_")),
            ("destination_ratio", kept_ratio(v, "destination_")),
        ],
        "x86-set-clock" => vec![("kvmclock_ns", x86_set_clock(v))],
        "x86-leap-second" => {
            let give_ns = realtime_to_give_ns(v);
            vec![("kvmclock_ns", clock_given(v, give_ns)), ("realtime_to_give_ns", give_ns)]
        }
        "x86-value-write" => {
            let joined = joins(v, &WriteRule::of(v));
            vec![("tsc_offset", written(v, joined)), ("matched", i128::from(joined))]
        }
        "x86-deadline" => {
            let ticks = wait_ticks(v.get("deadline"), restored_tsc(v));
            vec![("wait_ticks", ticks), ("wait_ns", -floor_div(-ticks * 1_000_000, v.get("tsc_khz")))]
        }
        "arm64-offset" => vec![("counter_offset", arm64_offset(v)), ("guest_count_now", count_now(v))],
        "arm64-kept-offset" => vec![("counter_offset", arm64_kept_offset(v))],
        "arm64-value" => vec![("counter_offset", arm64_offset(v)), ("count", count_now(v))],
        "arm64-elapsed" => vec![("elapsed_ns", tick_difference(v) * NSEC_PER_SEC / v.get("counter_hz"))],
        _ => return None,
    })
}

/// Return K_d - K_s, signed.
pub fn kvmclock_elapsed_ns(v: &Vector) -> i128 {
    signed(v.get("destination_kvmclock_ns") - v.get("source_kvmclock_ns"))
}

pub fn x86_offset(v: &Vector) -> i128 {
    let ticks = ticks_at_khz(kvmclock_elapsed_ns(v), v.get("tsc_khz"));
    wrap(v.get("tsc_offset") + ticks + v.get("source_host_tsc") - v.get("destination_host_tsc"))
}

/// A multiplier of TSC scaling; KVM does not multiply where `frac_bits` is 0.
#[derive(Clone, Copy)]
pub struct Scaling {
    pub ratio: i128,
    pub frac_bits: i128,
}

pub fn multiplier(v: &Vector, side: &str) -> Scaling {
    let (guest, host, frac_bits) = (v.get("guest_khz"), v.of(side, "host_khz"), v.of(side, "frac_bits"));
    let lowest = host * (1_000_000 - TOLERANCE_PPM) / 1_000_000;
    let highest = host * (1_000_000 + TOLERANCE_PPM) / 1_000_000;
    if (lowest..=highest).contains(&guest) {
        return Scaling { ratio: 1, frac_bits: 0 };
    }
    Scaling { ratio: (guest << frac_bits) / host, frac_bits }
}

pub fn scaled(by: Scaling, host_tsc: i128) -> i128 {
    wrap((host_tsc * by.ratio) >> by.frac_bits)
}

fn kept_ratio(v: &Vector, side: &str) -> i128 {
    let by = multiplier(v, side);
    if by.frac_bits == 0 { 1 << v.of(side, "frac_bits") } else { by.ratio }
}

fn x86_scaled(v: &Vector) -> i128 {
    let before = scaled(multiplier(v, "source_"), v.get("source_host_tsc"));
    let after = scaled(multiplier(v, "destination_"), v.get("destination_host_tsc"));
    wrap(v.get("tsc_offset") + before + ticks_at_khz(kvmclock_elapsed_ns(v), v.get("guest_khz")) - after)
}

/// Return whether realtime counts, by the flags.
pub fn with_realtime(v: &Vector) -> bool {
    v.get("flags") & KVM_CLOCK_REALTIME != 0
}

/// Return kvmclock after KVM_SET_CLOCK with this realtime.
pub fn clock_given(v: &Vector, realtime_ns: i128) -> i128 {
    wrap(v.get("kvmclock_ns") + (v.get("now_realtime_ns") - realtime_ns).max(0))
}

fn x86_set_clock(v: &Vector) -> i128 {
    if with_realtime(v) { clock_given(v, v.get("realtime_ns")) } else { v.get("kvmclock_ns") }
}

fn realtime_to_give_ns(v: &Vector) -> i128 {
    v.get("realtime_ns") + (v.get("tai_offset_s") - v.get("now_tai_offset_s")) * NSEC_PER_SEC
}

/// What decides whether a written value means "as the others".
pub struct WriteRule {
    pub elapsed_ns: i128,
    pub last_khz: i128,
    pub user_set: bool,
}

impl WriteRule {
    pub fn of(v: &Vector) -> Self {
        WriteRule {
            elapsed_ns: v.get("elapsed_ns"),
            last_khz: v.get("last_khz"),
            user_set: v.get("user_set") != 0,
        }
    }
}

pub fn joins(v: &Vector, rule: &WriteRule) -> bool {
    let (value, khz) = (v.get("value"), v.get("tsc_khz"));
    let second = khz * 1000;
    let expected = wrap(v.get("last_value") + ticks_at_khz(rule.elapsed_ns, khz));
    let near = value < wrap(expected + second) && wrap(value + second) > expected;
    khz != 0 && khz == rule.last_khz && (value == 0 || (rule.user_set && near))
}

pub fn written(v: &Vector, joined: bool) -> i128 {
    if joined { v.get("generation_offset") } else { wrap(v.get("value") - v.get("scaled_host_tsc")) }
}

pub fn restored_tsc(v: &Vector) -> i128 {
    wrap(v.get("scaled_host_tsc") + v.get("tsc_offset"))
}

pub fn wait_ticks(deadline: i128, guest_tsc: i128) -> i128 {
    (deadline - guest_tsc).max(0)
}

/// Return the middle of the bracket of the host `side`.
pub fn middle_ns(v: &Vector, side: &str) -> i128 {
    let before = v.of(side, "before_ns");
    before + (v.of(side, "after_ns") - before) / 2
}

pub fn bracket_elapsed_ns(v: &Vector) -> i128 {
    middle_ns(v, "destination_") - middle_ns(v, "source_")
}

/// Return the elapsed ticks of an arm64 counter.
pub fn bracket_ticks(v: &Vector) -> i128 {
    ticks_at_hz(bracket_elapsed_ns(v), v.get("counter_hz"))
}

fn count_now(v: &Vector) -> i128 {
    reduced(v.get("guest_count") + bracket_ticks(v), v.get("counter_bits"))
}

pub fn arm64_offset(v: &Vector) -> i128 {
    wrap(v.get("destination_host_count") - count_now(v))
}

pub fn arm64_kept_offset(v: &Vector) -> i128 {
    let hosts = v.get("destination_host_count") - v.get("source_host_count");
    wrap(v.get("counter_offset") + hosts - bracket_ticks(v))
}

pub fn tick_difference(v: &Vector) -> i128 {
    reduced(v.get("count_after") - v.get("count_before"), v.get("counter_bits"))
}
