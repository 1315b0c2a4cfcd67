// SPDX-License-Identifier: GPL-2.0-only
//! Wrong formulas for arm64. DO NOT COPY: each is here to be caught; the file says what it does wrong.

use crate::formulas::*;
use crate::vector::*;

/// Return what a shortcut of arm64-offset answers.
pub fn offset(v: &Vector, name: &str) -> Option<i128> {
    let (hz, bits) = (v.get("counter_hz"), v.get("counter_bits"));
    let elapsed_ns = bracket_elapsed_ns(v);
    let (guest, host) = (v.get("guest_count"), v.get("destination_host_count"));
    let after = |ticks: i128| host - reduced(guest + ticks, bits);
    Some(wrap(match name {
        "x86-sign" => -arm64_offset(v),
        "elapsed-subtracted" => after(-ticks_at_hz(elapsed_ns, hz)),
        "hz-in-int64" => after(signed(elapsed_ns * hz) / NSEC_PER_SEC),
        "seconds-in-double" => {
            let seconds = |side: &str| middle_ns(v, side) as f64 / 1e9;
            after(((seconds("destination_") - seconds("source_")) * hz as f64) as i128)
        }
        "whole-ns-per-tick" => after(floor_div(elapsed_ns, NSEC_PER_SEC / hz)),
        "elapsed-in-us" => after(ticks_at_hz(floor_div(elapsed_ns, 1000) * 1000, hz)),
        "elapsed-in-32-bits" => after(ticks_at_hz(reduced(elapsed_ns, 32), hz)),
        "towards-zero" => after(elapsed_ns * hz / NSEC_PER_SEC),
        "elapsed-unsigned" => after(ticks_at_hz(wrap(elapsed_ns), hz)),
        "bracket-start" => {
            after(ticks_at_hz(v.get("destination_before_ns") - v.get("source_before_ns"), hz))
        }
        "count-frozen" => after(0),
        "saturated" => host - (guest + ticks_at_hz(elapsed_ns, hz)).clamp(0, (1 << bits) - 1),
        "offset-ignored" => 0,
        _ => return None,
    }))
}

/// Return what a shortcut of arm64-kept-offset answers.
pub fn kept_offset(v: &Vector, name: &str) -> Option<i128> {
    let kept = v.get("counter_offset");
    let hosts = v.get("destination_host_count") - v.get("source_host_count");
    let ticks = bracket_ticks(v);
    let product = signed(bracket_elapsed_ns(v) * v.get("counter_hz"));
    Some(wrap(match name {
        "x86-sign" => kept + ticks - hosts,
        "counts-swapped" => kept - ticks - hosts,
        "elapsed-added" => kept + ticks + hosts,
        "hz-in-int64" => kept + hosts - product / NSEC_PER_SEC,
        "offset-lost" => hosts - ticks,
        "hosts-left-out" => kept - ticks,
        "offset-in-32-bits" => i128::from(kept as i32) + hosts - ticks,
        "count-frozen" => kept + hosts,
        "hosts-as-magnitude" => kept + signed(hosts).abs() - ticks,
        _ => return None,
    }))
}

/// Return what a shortcut of arm64-value answers.
pub fn value(v: &Vector, name: &str) -> Option<i128> {
    let (host, bits) = (v.get("destination_host_count"), v.get("counter_bits"));
    let count = v.get("guest_count") + bracket_ticks(v);
    let aged = ticks_at_hz(v.get("last_vcpu_age_ns"), v.get("counter_hz"));
    Some(wrap(match name {
        "value-late" => v.get("write_host_count") - reduced(count, bits),
        "value-frozen" => host - reduced(v.get("guest_count"), bits),
        "last-vcpu-wins" => host - reduced(count - aged, bits),
        "after-the-latch" => v.get("latched_offset"),
        "vcpu-created-later" => v.get("write_host_count"),
        "x86-sign" | "hz-in-int64" => return offset(v, name),
        _ => return None,
    }))
}

/// Return what a shortcut of arm64-elapsed answers.
pub fn elapsed(v: &Vector, name: &str) -> Option<i128> {
    let (before, after, hz) = (v.get("count_before"), v.get("count_after"), v.get("counter_hz"));
    let ticks = tick_difference(v);
    Some(match name {
        "64-bit-difference" => wrap(after - before) * NSEC_PER_SEC / hz,
        "wrap-is-nothing" => (after - before).max(0) * NSEC_PER_SEC / hz,
        "product-in-uint64" => wrap(ticks * NSEC_PER_SEC) / hz,
        "ticks-in-double" => (ticks as f64 * (1e9 / hz as f64)) as i128,
        "whole-ns-per-tick" => ticks * (NSEC_PER_SEC / hz),
        "ticks-in-32-bits" => reduced(ticks, 32) * NSEC_PER_SEC / hz,
        _ => return None,
    })
}
