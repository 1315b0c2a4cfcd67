// SPDX-License-Identifier: GPL-2.0-only
//! As much JSON as a vectors file needs: objects, arrays, strings without \u, integers, null.

pub enum Json {
    Null,
    Text(String), // of a string, or a number's digits
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Return the member called `name`, or Null.
    pub fn get(&self, name: &str) -> &Json {
        match self {
            Json::Object(members) => members.iter().find(|(n, _)| n == name).map_or(&Json::Null, |(_, v)| v),
            _ => &Json::Null,
        }
    }

    /// Return a string, or a number's digits; empty for anything else.
    pub fn text(&self) -> &str {
        match self {
            Json::Text(text) => text,
            _ => "",
        }
    }

    /// Return the integer that is written here as a number or as a string.
    pub fn integer(&self) -> Option<i128> {
        self.text().parse().ok()
    }

    pub fn elements(&self) -> &[Json] {
        match self {
            Json::Array(elements) => elements,
            _ => &[],
        }
    }

    pub fn members(&self) -> &[(String, Json)] {
        match self {
            Json::Object(members) => members,
            _ => &[],
        }
    }
}

const DEPTH: usize = 16; // a vectors file needs 5

pub struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

/// Parse `text`, or say what is wrong and at which byte.
pub fn parse(text: &str) -> Result<Json, String> {
    let mut reader = Reader { text: text.as_bytes(), at: 0 };
    let all = reader.value(0).and_then(|all| {
        reader.space();
        if reader.at == reader.text.len() { Ok(all) } else { Err("more follows the end") }
    });
    all.map_err(|what| format!("byte {}: {}", reader.at, what))
}

impl Reader<'_> {
    fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.peek() == byte;
        self.at += usize::from(found);
        found
    }

    fn string(&mut self) -> Result<String, &'static str> {
        if !self.take(b'"') {
            return Err("a string is missing");
        }
        let mut bytes = Vec::new();
        loop {
            match self.peek() {
                b'"' => break,
                0..=31 => return Err("a string does not end"),
                b'\\' => {
                    self.at += 1;
                    if !matches!(self.peek(), b'"' | b'\\' | b'/') {
                        return Err("this escape is not known here");
                    }
                }
                _ => {}
            }
            bytes.push(self.peek());
            self.at += 1;
        }
        self.at += 1;
        String::from_utf8(bytes).map_err(|_| "not UTF-8")
    }

    fn value(&mut self, depth: usize) -> Result<Json, &'static str> {
        if depth == DEPTH {
            return Err("nested too deeply");
        }
        self.space();
        match self.peek() {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string().map(Json::Text),
            b'n' if self.text[self.at..].starts_with(b"null") => {
                self.at += 4;
                Ok(Json::Null)
            }
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, &'static str> {
        let mut members = Vec::new();
        self.at += 1;
        if self.take(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            let name = self.string()?;
            if !self.take(b':') {
                return Err("a colon is missing");
            }
            members.push((name, self.value(depth + 1)?));
            if !self.take(b',') {
                break;
            }
        }
        if self.take(b'}') { Ok(Json::Object(members)) } else { Err("a comma or an end is missing") }
    }

    fn array(&mut self, depth: usize) -> Result<Json, &'static str> {
        let mut elements = Vec::new();
        self.at += 1;
        if self.take(b']') {
            return Ok(Json::Array(elements));
        }
        loop {
            elements.push(self.value(depth + 1)?);
            if !self.take(b',') {
                break;
            }
        }
        if self.take(b']') { Ok(Json::Array(elements)) } else { Err("a comma or an end is missing") }
    }

    fn number(&mut self) -> Result<Json, &'static str> {
        let start = self.at;
        self.at += usize::from(self.peek() == b'-');
        let digits = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        if self.at == digits {
            return Err("a value is missing");
        }
        Ok(Json::Text(String::from_utf8_lossy(&self.text[start..self.at]).into_owned()))
    }
}
