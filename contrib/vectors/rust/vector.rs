// SPDX-License-Identifier: GPL-2.0-only
//! One vector, and the arithmetic that formulas and shortcuts share.
//!
//! Everything is an i128, which holds each product exactly; `wrap` keeps 64 bits.

use crate::json::Json;

pub const NSEC_PER_SEC: i128 = 1_000_000_000;

pub struct Vector<'a> {
    pub id: &'a str,
    pub method: &'a str,
    pub json: &'a Json,
    inputs: Vec<(&'a str, i128)>,
}

impl<'a> Vector<'a> {
    /// Read a vector, or say what is wrong with it.
    pub fn new(json: &'a Json) -> Result<Self, String> {
        let id = json.get("id").text();
        let mut inputs = Vec::new();
        for (name, value) in json.get("input").members() {
            let value = value.integer().ok_or_else(|| format!("{id}: input {name} is not an integer"))?;
            inputs.push((name.as_str(), value));
        }
        Ok(Vector { id, method: json.get("method").text(), json, inputs })
    }

    /// Return the input called `name`.
    pub fn get(&self, name: &str) -> i128 {
        match self.inputs.iter().find(|(n, _)| *n == name) {
            Some((_, value)) => *value,
            None => {
                eprintln!("check: vector {} has no input {name}", self.id);
                std::process::exit(2)
            }
        }
    }

    /// Return the input called `name` of the host `side`.
    pub fn of(&self, side: &str, name: &str) -> i128 {
        self.get(&format!("{side}{name}"))
    }

    /// Return the answer called `name`.
    pub fn answer(&self, name: &str) -> Option<i128> {
        self.json.get("answer").get(name).integer()
    }

    /// Return what the shortcut costs, in ticks and ns, by the file.
    pub fn error(&self, shortcut: &str) -> Option<(i128, i128)> {
        let expected = self.json.get("errors").get(shortcut);
        Some((expected.get("ticks").integer()?, expected.get("ns").integer()?))
    }
}

/// Return the low 64 bits.
pub fn wrap(value: i128) -> i128 {
    i128::from(value as u64)
}

/// Return the low 64 bits as two's complement.
pub fn signed(value: i128) -> i128 {
    i128::from(value as i64)
}

/// Return the low `bits`.
pub fn reduced(value: i128, bits: i128) -> i128 {
    value & ((1 << bits) - 1)
}

/// Return a / b rounded down; b is positive.
pub fn floor_div(a: i128, b: i128) -> i128 {
    a.div_euclid(b)
}

/// Return the ticks of a counter of `khz` in `ns`, rounded down.
pub fn ticks_at_khz(ns: i128, khz: i128) -> i128 {
    floor_div(ns * khz, 1_000_000)
}

/// Return the ticks of a counter of `hz` in `ns`, rounded down.
pub fn ticks_at_hz(ns: i128, hz: i128) -> i128 {
    floor_div(ns * hz, NSEC_PER_SEC)
}
