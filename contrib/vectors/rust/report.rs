// SPDX-License-Identifier: GPL-2.0-only
//! Comparing with a vectors file, and naming what a wrong answer comes from.

use crate::formulas;
use crate::json::Json;
use crate::vector::{floor_div, reduced, Vector, NSEC_PER_SEC};
use crate::Member;

pub const SHOWN: usize = 3; // mismatches of a kind

pub struct Shortcut<'a> {
    pub name: &'a str,
    pub class: &'a str,
    pub sentence: &'a str,
}

pub struct Method<'a> {
    pub name: &'a str,
    pub shortcuts: Vec<Shortcut<'a>>,
    frequency: &'a str, // the input that converts between ticks and ns
    ticks_per_second_of_one: i128,
    in_ns: bool, // the judged answer
    guest_sign: i128,
    width: &'a str, // the input with the counter's bits; empty for 64
}

impl<'a> Method<'a> {
    /// Read a method of the file, or say what is wrong with it.
    pub fn new((name, json): &'a Member) -> Result<Self, String> {
        let lacking = || format!("a method that lacks something: {name}");
        let text = |one: &'a Json, member: &str| match one.get(member).text() {
            "" => Err(lacking()),
            text => Ok(text),
        };
        let mut shortcuts = Vec::new();
        for (name, one) in json.get("shortcuts").members() {
            let (class, sentence) = (text(one, "class")?, text(one, "sentence")?);
            shortcuts.push(Shortcut { name, class, sentence });
        }
        Ok(Method {
            name,
            shortcuts,
            frequency: text(json, "frequency")?,
            ticks_per_second_of_one: json.get("ticks_per_second_of_one").integer().ok_or_else(lacking)?,
            in_ns: text(json, "unit")? == "ns",
            guest_sign: json.get("guest_sign").integer().ok_or_else(lacking)?,
            width: json.get("width").text(),
        })
    }

    /// Return by how much `got` in place of the judged answer puts the guest ahead, in ticks and ns.
    pub fn error(&self, v: &Vector, got: i128) -> (i128, i128) {
        let bits = if self.width.is_empty() { 64 } else { v.get(self.width) };
        let hz = v.get(self.frequency) * self.ticks_per_second_of_one;
        let exact = judged(v).1;
        let mut amount = reduced(self.guest_sign * (got - exact), bits);
        if amount >> (bits - 1) != 0 {
            amount -= 1 << bits;
        }
        if self.in_ns {
            (floor_div(amount * hz, NSEC_PER_SEC), amount)
        } else {
            (amount, floor_div(amount * NSEC_PER_SEC, hz))
        }
    }
}

/// Return the judged answer of the file: its name and value.
fn judged(v: &Vector) -> (&'static str, i128) {
    let name = formulas::answers(v).map_or("", |all| all[0].0);
    (name, v.answer(name).unwrap_or(-1))
}

/// Compare `answer`, where it answers, with the judged answers of all vectors of `method`.
///
/// Print the first mismatches with the class that explains them all; return how many there are.
pub fn judge(method: &Method, vectors: &[Vector], answer: impl Fn(&Vector) -> Option<i128>) -> usize {
    let own = vectors.iter().filter(|v| v.method == method.name);
    let answered: Vec<(&Vector, i128)> = own.filter_map(|v| Some((v, answer(v)?))).collect();
    let errors: Vec<(i128, i128)> = answered.iter().map(|(v, got)| method.error(v, *got)).collect();
    let wrong = errors.iter().filter(|error| **error != (0, 0)).count();
    let explains = |shortcut: &&Shortcut| {
        answered.iter().zip(&errors).all(|((v, _), error)| v.error(shortcut.name) == Some(*error))
    };
    let explanation = method.shortcuts.iter().find(explains);
    let class = explanation.map_or("unknown", |shortcut| shortcut.class);
    let mismatches = answered.iter().zip(&errors).filter(|(_, error)| **error != (0, 0));
    for ((v, got), (ticks, ns)) in mismatches.take(SHOWN) {
        let (name, exact) = judged(v);
        println!(
            "[{class}] {}: {name}: expected {exact}, got {got}: guest ahead by {ticks} ticks ({ns} ns)",
            v.id
        );
    }
    conclude(method, answered.len(), wrong, explanation);
    wrong
}

fn conclude(method: &Method, judged: usize, wrong: usize, explanation: Option<&Shortcut>) {
    let name = method.name;
    match explanation {
        _ if judged == 0 => {}
        _ if wrong == 0 => println!("{name}: {judged} of {judged} right"),
        Some(Shortcut { name: shortcut, class, sentence }) => {
            println!("{name}: {wrong} of {judged} wrong, all as by {name}/{shortcut} [{class}]: {sentence}");
        }
        None => println!("{name}: {wrong} of {judged} wrong; no shortcut of the file explains them all"),
    }
}
