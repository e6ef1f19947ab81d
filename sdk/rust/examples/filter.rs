//! Keeps the records whose key starts with a prefix. Configuration: {"prefix": "eu-"}

use wasmill::{Output, Record, Transform};

struct Filter {
    prefix: Vec<u8>,
}

impl Transform for Filter {
    const FIELDS: u32 = wasmill::KEY;

    fn new(_config: &str) -> Result<Self, String> {
        match wasmill::config("prefix") {
            Some(prefix) => Ok(Filter { prefix: prefix.into_bytes() }),
            None => Err("the configuration needs a \"prefix\"".to_string()),
        }
    }

    fn record(&mut self, r: &Record, out: &mut Output) {
        if r.key().map_or(false, |k| k.starts_with(&self.prefix)) {
            out.keep();
        }
    }
}

wasmill::transform!(Filter);
