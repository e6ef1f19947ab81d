//! The guest of the conformance test: it writes down everything that it was shown.

use wasmill::{Emission, Output, Record, Transform};

struct Mirror;

impl Transform for Mirror {
    fn new(_config: &str) -> Result<Self, String> {
        Ok(Mirror)
    }

    fn record(&mut self, r: &Record, out: &mut Output) {
        let headers: Vec<_> = r.headers().collect();
        out.emit(&Emission {
            key: r.key().into(),
            value: r.value().into(),
            headers: Some(&headers),
            timestamp: Some(r.timestamp()),
            ..Default::default()
        });
        out.emit(&Emission { topic: "mirror", partition: Some(1), ..Default::default() });
        out.route_to("copy", 2);
    }
}

wasmill::transform!(Mirror);
