// SPDX-License-Identifier: GPL-2.0-only
//! Check a vectors file: compute every answer and every shortcut's error, and compare.
//!
//!     check vectors.json                             formulas.rs and the shortcuts' errors
//!     check vectors.json --wrong product-overflow    a wrong formula in place of the right one
//!     check vectors.json --answers mine.txt          lines "ID VALUE" of the judged answers of your own
//!
//! Exit status: 0 everything agrees, 1 something does not, 2 usage or no vectors file.

mod formulas;
mod json;
mod report;
mod shortcuts_arm64;
mod shortcuts_x86;
mod vector;

use json::Json;
use report::{judge, Method, SHOWN};
use std::collections::HashMap;
use vector::Vector;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let status = match arguments[..] {
        [path] => with_file(path, |methods, vectors| Ok(check_all(methods, vectors))),
        [path, "--wrong", class] => with_file(path, |m, vectors| check_wrong(m, vectors, class)),
        [path, "--answers", given] => with_file(path, |m, vectors| check_given(m, vectors, given)),
        _ => Err("usage: check VECTORS [--wrong CLASS | --answers FILE]".to_string()),
    };
    std::process::exit(match status {
        Ok(good) => i32::from(!good),
        Err(sentence) => {
            eprintln!("check: {sentence}");
            2
        }
    });
}

fn with_file(
    path: &str,
    check: impl Fn(&[Method], &[Vector]) -> Result<bool, String>,
) -> Result<bool, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let all = json::parse(&text).map_err(|error| format!("{path}, {error}"))?;
    if all.get("format").text() != "kvmtests-vectors" {
        return Err(format!("{path} is not a vectors file"));
    }
    let methods: Result<Vec<Method>, String> = all.get("methods").members().iter().map(Method::new).collect();
    let vectors: Result<Vec<Vector>, String> = all.get("vectors").elements().iter().map(Vector::new).collect();
    let (methods, vectors) = (methods?, vectors?);
    if vectors.is_empty() {
        return Err("the file has no vectors".to_string());
    }
    for v in &vectors {
        if formulas::answers(v).is_none() || !methods.iter().any(|method| method.name == v.method) {
            return Err(format!("{}: method {} is not known", v.id, v.method));
        }
    }
    check(&methods, &vectors)
}

/// Return what a shortcut answers in place of the judged answer; None if it is not known here.
fn wrong(v: &Vector, name: &str) -> Option<i128> {
    match v.method {
        "x86-offset" => shortcuts_x86::offset(v, name),
        "x86-ratio" => shortcuts_x86::ratio(v, name),
        "x86-scaled" => shortcuts_x86::scaled_offset(v, name),
        "x86-set-clock" => shortcuts_x86::set_clock(v, name),
        "x86-leap-second" => shortcuts_x86::leap_second(v, name),
        "x86-value-write" => shortcuts_x86::value_write(v, name),
        "x86-deadline" => shortcuts_x86::deadline(v, name),
        "arm64-offset" => shortcuts_arm64::offset(v, name),
        "arm64-kept-offset" => shortcuts_arm64::kept_offset(v, name),
        "arm64-value" => shortcuts_arm64::value(v, name),
        "arm64-elapsed" => shortcuts_arm64::elapsed(v, name),
        _ => None,
    }
}

fn check_all(methods: &[Method], vectors: &[Vector]) -> bool {
    let mut good = true;
    for method in methods {
        let own: Vec<&Vector> = vectors.iter().filter(|v| v.method == method.name).collect();
        let differing = differing(method, &own);
        let verdict = match (differing.is_empty(), own.is_empty()) {
            (false, _) => "NOT AS IN THE FILE",
            (true, false) => "all answers and all errors of shortcuts agree",
            (true, true) => "NOTHING TO CHECK",
        };
        for line in differing.iter().take(SHOWN) {
            println!("{line}");
        }
        println!("{}: {} vectors, {verdict}", method.name, own.len());
        good = good && differing.is_empty() && !own.is_empty();
    }
    good
}

/// Return a line for each answer and each error that is not the file's.
fn differing(method: &Method, own: &[&Vector]) -> Vec<String> {
    let mut lines = Vec::new();
    for v in own {
        for (name, got) in formulas::answers(v).unwrap_or_default() {
            let expected = v.answer(name);
            if expected != Some(got) {
                lines.push(format!("{}: {name}: expected {}, got {got}", v.id, expected.unwrap_or(-1)));
            }
        }
        for shortcut in &method.shortcuts {
            let error = wrong(v, shortcut.name).map(|got| method.error(v, got));
            if error.is_none() || error != v.error(shortcut.name) {
                let (ticks, ns) = error.unwrap_or((0, 0));
                let name = shortcut.name;
                lines.push(format!("{}: {name} costs {ticks} ticks or {ns} ns, not what the file says", v.id));
            }
        }
    }
    lines
}

/// Put each shortcut of `class`, or METHOD/SHORTCUT, in the right formula's place; good if unnoticed.
fn check_wrong(methods: &[Method], vectors: &[Vector], class: &str) -> Result<bool, String> {
    let (mut tried, mut unnoticed) = (0, 0);
    for method in methods {
        for shortcut in &method.shortcuts {
            if class == shortcut.class || class == format!("{}/{}", method.name, shortcut.name) {
                tried += 1;
                unnoticed += u32::from(judge(method, vectors, |v| wrong(v, shortcut.name)) == 0);
            }
        }
    }
    if tried == 0 {
        return Err(format!("{class} is neither a class nor METHOD/SHORTCUT of this file"));
    }
    Ok(unnoticed > 0)
}

fn check_given(methods: &[Method], vectors: &[Vector], path: &str) -> Result<bool, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let mut given: HashMap<&str, i128> = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let value = words.get(1).and_then(|word| word.parse::<i128>().ok());
        match (words.len(), value) {
            (2, Some(value)) => given.insert(words[0], value),
            _ => return Err(format!("{path}, line {}: not \"ID VALUE\"", number + 1)),
        };
    }
    let wrong: usize = methods.iter().map(|m| judge(m, vectors, |v| given.get(v.id).copied())).sum();
    Ok(wrong == 0)
}

/// What members of the file's objects look like: name and value.
pub type Member = (String, Json);
