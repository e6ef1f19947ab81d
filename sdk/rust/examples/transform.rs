//! Turns the ASCII letters of values to upper case and notes the length in a header.
//! Empty values are rejected.

use wasmill::{Emission, Output, Part, Record, Transform};

struct Upper;

impl Transform for Upper {
    const FIELDS: u32 = wasmill::VALUE | wasmill::HEADERS;

    fn new(_config: &str) -> Result<Self, String> {
        Ok(Upper)
    }

    fn record(&mut self, r: &Record, out: &mut Output) {
        let value = match r.value() {
            Some(v) if !v.is_empty() => v.to_ascii_uppercase(),
            _ => return out.reject(1, "the value is empty"),
        };
        let length = value.len().to_string();
        let mut headers: Vec<_> = r.headers().collect();
        headers.push((b"length", Some(length.as_bytes())));
        out.emit(&Emission { value: Part::Bytes(&value), headers: Some(&headers), ..Default::default() });
    }
}

wasmill::transform!(Upper);
