//! Sends records to the topic that their header "topic" names, and keeps the rest.

use wasmill::{Output, Record, Transform};

struct Router;

impl Transform for Router {
    const FIELDS: u32 = wasmill::HEADERS;

    fn new(_config: &str) -> Result<Self, String> {
        Ok(Router)
    }

    fn record(&mut self, r: &Record, out: &mut Output) {
        match r.header(b"topic").flatten().map(std::str::from_utf8) {
            Some(Ok(topic)) => out.route(topic),
            Some(Err(_)) => out.reject(1, "the header \"topic\" is not UTF-8"),
            None => out.keep(),
        }
    }
}

wasmill::transform!(Router);
