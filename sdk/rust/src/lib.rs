//! Guest SDK for Wasmill transforms in Rust, without dependencies, for the target
//! `wasm32-unknown-unknown`.
//!
//! ```ignore
//! struct NotEmpty;
//!
//! impl wasmill::Transform for NotEmpty {
//!     const FIELDS: u32 = wasmill::VALUE;
//!
//!     fn new(_config: &str) -> Result<Self, String> {
//!         Ok(NotEmpty)
//!     }
//!
//!     fn record(&mut self, r: &wasmill::Record, out: &mut wasmill::Output) {
//!         if r.value().map_or(false, |v| !v.is_empty()) {
//!             out.keep();
//!         }
//!     }
//! }
//!
//! wasmill::transform!(NotEmpty);
//! ```
//!
//! A record about which a transform says nothing is dropped. Link with
//! `-zstack-size=65536`: Rust's default stack of 1 MiB is cleared for every instance.

#![cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]

/// The parts of a record that a transform can ask for.
pub const KEY: u32 = 1;
pub const VALUE: u32 = 2;
pub const HEADERS: u32 = 4;
pub const TIMESTAMP: u32 = 8;
pub const ALL: u32 = 15;

const NULL: u32 = 0xFFFF_FFFF;
const ACTION_SIZE: usize = 64;
const OUTPUT_HEADER: usize = 16;

/// What a module does. `transform!` makes a type that implements it the module.
pub trait Transform: Sized {
    /// The parts of a record that are read; the broker copies no others into the module.
    const FIELDS: u32 = ALL;

    /// Called once, with the stage's configuration as the text of a JSON object. An error
    /// refuses it, and with it the pipeline.
    fn new(config: &str) -> Result<Self, String>;

    /// Called for every record, in order. A panic fails the call; expected bad data is
    /// rejected, which is far cheaper.
    fn record(&mut self, r: &Record, out: &mut Output);
}

/// Where in the broker a batch is being transformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Write,
    View,
    Derivation,
}

/// One batch, as the broker wrote it.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    input: &'a [u8],
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

fn i64_at(b: &[u8], at: usize) -> i64 {
    let mut v = [0; 8];
    v.copy_from_slice(&b[at..at + 8]);
    i64::from_le_bytes(v)
}

fn part(b: &[u8], off: u32, len: u32) -> Option<&[u8]> {
    if len == NULL {
        None
    } else {
        Some(&b[off as usize..off as usize + len as usize])
    }
}

impl<'a> Batch<'a> {
    /// The topic being processed.
    pub fn topic(&self) -> &'a [u8] {
        part(self.input, u32_at(self.input, 32), u32_at(self.input, 36)).unwrap_or(&[])
    }

    pub fn partition(&self) -> i32 {
        u32_at(self.input, 16) as i32
    }

    pub fn place(&self) -> Place {
        match u32_at(self.input, 20) {
            1 => Place::View,
            2 => Place::Derivation,
            _ => Place::Write,
        }
    }

    /// Milliseconds since 1970.
    pub fn base_timestamp(&self) -> i64 {
        i64_at(self.input, 24)
    }

    /// The parts of the records that were really copied in.
    pub fn fields(&self) -> u32 {
        u32_at(self.input, 12)
    }

    pub fn len(&self) -> usize {
        u32_at(self.input, 8) as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn record(&self, index: usize) -> Record<'a> {
        let at = u32_at(self.input, 0) as usize + index * u32_at(self.input, 4) as usize;
        Record { batch: *self, descriptor: &self.input[at..at + 48], index }
    }
}

/// One record of a batch.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    pub batch: Batch<'a>,
    descriptor: &'a [u8],
    index: usize,
}

impl<'a> Record<'a> {
    /// The place in the batch, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    fn part(&self, at: usize) -> Option<&'a [u8]> {
        part(self.batch.input, u32_at(self.descriptor, at), u32_at(self.descriptor, at + 4))
    }

    /// The key; `None` when it is null or not asked for.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.part(0)
    }

    /// The value; `None` when it is null or not asked for.
    pub fn value(&self) -> Option<&'a [u8]> {
        self.part(8)
    }

    /// Milliseconds since 1970; 0 when not asked for.
    pub fn timestamp(&self) -> i64 {
        i64_at(self.descriptor, 32)
    }

    /// The offset, where there is one yet: not on write.
    pub fn offset(&self) -> Option<i64> {
        Some(i64_at(self.descriptor, 40)).filter(|&o| o >= 0)
    }

    /// The headers in order, each with its value or `None` for null.
    pub fn headers(&self) -> Headers<'a> {
        Headers { rest: self.part(16).unwrap_or(&[]) }
    }

    /// The last header of that name: `None` when there is none, `Some(None)` when it is null.
    pub fn header(&self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        self.headers().filter(|(key, _)| *key == name).last().map(|(_, value)| value)
    }
}

/// Iterates over the headers of a record.
pub struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.len() < 8 {
            return None;
        }
        let (key_len, value_len) = (u32_at(self.rest, 0) as usize, u32_at(self.rest, 4));
        let (key, rest) = self.rest[8..].split_at(key_len);
        let (value, rest) = if value_len == NULL {
            (None, rest)
        } else {
            let (value, rest) = rest.split_at(value_len as usize);
            (Some(value), rest)
        };
        self.rest = rest;
        Some((key, value))
    }
}

/// A part of an emitted record.
#[derive(Clone, Copy)]
pub enum Part<'a> {
    /// That of the input record, also when it was not asked for.
    Inherit,
    Null,
    Bytes(&'a [u8]),
}

impl<'a> From<Option<&'a [u8]>> for Part<'a> {
    fn from(bytes: Option<&'a [u8]>) -> Self {
        bytes.map_or(Part::Null, Part::Bytes)
    }
}

/// A record to add. By default it is the input record.
#[derive(Clone, Copy)]
pub struct Emission<'a> {
    /// Empty: the topic being processed.
    pub topic: &'a str,
    /// `None`: the key decides.
    pub partition: Option<i32>,
    pub key: Part<'a>,
    pub value: Part<'a>,
    /// `None`: the headers of the input record.
    pub headers: Option<&'a [(&'a [u8], Option<&'a [u8]>)]>,
    /// `None`: the timestamp of the input record.
    pub timestamp: Option<i64>,
}

impl Default for Emission<'_> {
    fn default() -> Self {
        Emission { topic: "", partition: None, key: Part::Inherit, value: Part::Inherit, headers: None, timestamp: None }
    }
}

/// Takes the decisions about the record that is being processed.
pub struct Output {
    list: Vec<u8>,
    arena: Arena,
    record: u32,
}

impl Output {
    const fn new() -> Self {
        Output { list: Vec::new(), arena: Arena { chunks: Vec::new(), at: 0 }, record: 0 }
    }

    fn start(&mut self) {
        self.arena.reset();
        self.list.clear();
        self.list.resize(OUTPUT_HEADER, 0);
    }

    fn add(&mut self, kind: u8) -> Action<'_> {
        let start = self.list.len();
        self.list.resize(start + ACTION_SIZE, 0);
        let bytes = &mut self.list[start..];
        bytes[0] = kind;
        let mut action = Action { bytes };
        action.set(4, self.record);
        action
    }

    /// Passes the record on in its topic, unchanged. Say it at most once.
    pub fn keep(&mut self) {
        self.add(1);
    }

    /// Passes the record on with another value.
    pub fn keep_value(&mut self, value: &[u8]) {
        self.emit(&Emission { value: Part::Bytes(value), ..Default::default() });
    }

    /// Refuses the record with a code of the module's own and a message, which the producer
    /// is told. Say nothing else about the record.
    pub fn reject(&mut self, code: u16, message: &str) {
        let at = self.arena.copy(message.as_bytes());
        let mut action = self.add(4);
        action.bytes[2..4].copy_from_slice(&code.to_le_bytes());
        action.set(56, at);
        action.set(60, message.len() as u32);
    }

    /// Passes the record on, unchanged, to another topic, where its key decides the partition.
    pub fn route(&mut self, topic: &str) {
        let at = self.arena.copy(topic.as_bytes());
        let mut action = self.add(2);
        action.set(8, at);
        action.set(12, topic.len() as u32);
    }

    /// `route` to a given partition.
    pub fn route_to(&mut self, topic: &str, partition: i32) {
        let at = self.arena.copy(topic.as_bytes());
        let mut action = self.add(2);
        action.bytes[1] = 1;
        action.set(8, at);
        action.set(12, topic.len() as u32);
        action.set(16, partition as u32);
    }

    /// Adds a record. In the topic being processed, the first one stands in the place of the
    /// input record unless that is kept.
    pub fn emit(&mut self, e: &Emission) {
        let topic = self.arena.copy(e.topic.as_bytes());
        let key = self.place(e.key);
        let value = self.place(e.value);
        let headers = e.headers.map(|h| self.arena.headers(h));
        let mut flags = 0;
        let mut action = self.add(3);
        action.set(8, topic);
        action.set(12, e.topic.len() as u32);
        if let Some(partition) = e.partition {
            flags |= 1;
            action.set(16, partition as u32);
        }
        if let Some(timestamp) = e.timestamp {
            flags |= 2;
            action.bytes[48..56].copy_from_slice(&timestamp.to_le_bytes());
        }
        for (flag, at, placed) in [(4, 20, key), (8, 28, value)] {
            match placed {
                None => flags |= flag,
                Some((address, len)) => {
                    action.set(at, address);
                    action.set(at + 4, len);
                }
            }
        }
        match (headers, e.headers) {
            (Some((address, len)), Some(list)) => {
                action.set(36, address);
                action.set(40, len);
                action.set(44, list.len() as u32);
            }
            _ => flags |= 16,
        }
        action.bytes[1] = flags;
    }

    /// The address and length of a part, or `None` when it is inherited.
    fn place(&mut self, part: Part) -> Option<(u32, u32)> {
        match part {
            Part::Inherit => None,
            Part::Null => Some((0, NULL)),
            Part::Bytes(b) => Some((self.arena.copy(b), b.len() as u32)),
        }
    }

    fn finish(&mut self) -> u64 {
        let count = (self.list.len() - OUTPUT_HEADER) / ACTION_SIZE;
        let mut header = Action { bytes: &mut self.list[..OUTPUT_HEADER] };
        header.set(0, OUTPUT_HEADER as u32);
        header.set(4, ACTION_SIZE as u32);
        header.set(8, count as u32);
        (self.list.as_ptr() as usize as u64) << 32 | self.list.len() as u64
    }
}

struct Action<'a> {
    bytes: &'a mut [u8],
}

impl Action<'_> {
    fn set(&mut self, at: usize, v: u32) {
        self.bytes[at..at + 4].copy_from_slice(&v.to_le_bytes());
    }
}

/// Bytes that stay where they are until the next batch, in chunks that are reused.
struct Arena {
    chunks: Vec<Vec<u8>>,
    at: usize,
}

impl Arena {
    const CHUNK: usize = 64 << 10;
    const RETAINED: usize = 4 << 20;

    fn reset(&mut self) {
        let mut total = 0;
        self.chunks.retain(|c| {
            total += c.capacity();
            total <= Self::RETAINED
        });
        for c in &mut self.chunks {
            c.clear();
        }
        self.at = 0;
    }

    /// A chunk with room for n more bytes.
    fn room(&mut self, n: usize) -> &mut Vec<u8> {
        while self.at < self.chunks.len() {
            let c = &self.chunks[self.at];
            if c.capacity() - c.len() >= n {
                break;
            }
            self.at += 1;
        }
        if self.at == self.chunks.len() {
            self.chunks.push(Vec::with_capacity(n.max(Self::CHUNK)));
        }
        &mut self.chunks[self.at]
    }

    fn copy(&mut self, b: &[u8]) -> u32 {
        let chunk = self.room(b.len());
        let start = chunk.len();
        chunk.extend_from_slice(b);
        chunk[start..].as_ptr() as usize as u32
    }

    fn headers(&mut self, list: &[(&[u8], Option<&[u8]>)]) -> (u32, u32) {
        let size = list.iter().map(|(k, v)| 8 + k.len() + v.map_or(0, |v| v.len())).sum();
        let chunk = self.room(size);
        let start = chunk.len();
        for (key, value) in list {
            chunk.extend_from_slice(&(key.len() as u32).to_le_bytes());
            chunk.extend_from_slice(&value.map_or(NULL, |v| v.len() as u32).to_le_bytes());
            chunk.extend_from_slice(key);
            chunk.extend_from_slice(value.unwrap_or(&[]));
        }
        (chunk[start..].as_ptr() as usize as u32, size as u32)
    }
}

/// The severity of a log line.
#[derive(Clone, Copy)]
pub enum Level {
    Debug = 0,
    Info = 1,
    Warn = 2,
    Error = 3,
}

#[cfg(target_arch = "wasm32")]
mod host {
    #[link(wasm_import_module = "wasmill_v1")]
    extern "C" {
        pub fn log(level: i32, ptr: *const u8, len: u32);
        pub fn config_get(key: *const u8, key_len: u32, buf: *mut u8, cap: u32) -> i32;
        pub fn metric_add(name: *const u8, len: u32, delta: i64);
        pub fn now() -> i64;
        pub fn random(ptr: *mut u8, len: u32);
    }
}

/// Stand-ins for builds that are not guests: nothing is logged, nothing is configured.
#[cfg(not(target_arch = "wasm32"))]
mod host {
    pub unsafe fn log(_: i32, _: *const u8, _: u32) {}
    pub unsafe fn config_get(_: *const u8, _: u32, _: *mut u8, _: u32) -> i32 {
        -1
    }
    pub unsafe fn metric_add(_: *const u8, _: u32, _: i64) {}
    pub unsafe fn now() -> i64 {
        0
    }
    pub unsafe fn random(_: *mut u8, _: u32) {}
}

/// Writes a line to the broker's log.
pub fn log(level: Level, message: &str) {
    unsafe { host::log(level as i32, message.as_ptr(), message.len() as u32) }
}

/// A top-level key of the stage's configuration: a string as its bare text, anything else as
/// JSON text.
pub fn config(key: &str) -> Option<String> {
    let mut buf = vec![0u8; 256];
    loop {
        let n = unsafe { host::config_get(key.as_ptr(), key.len() as u32, buf.as_mut_ptr(), buf.len() as u32) };
        if n < 0 {
            return None;
        }
        if n as usize <= buf.len() {
            buf.truncate(n as usize);
            return String::from_utf8(buf).ok();
        }
        buf.resize(n as usize, 0);
    }
}

/// Adds to a counter of the module.
pub fn metric_add(name: &str, delta: i64) {
    unsafe { host::metric_add(name.as_ptr(), name.len() as u32, delta) }
}

/// The time of the batch in milliseconds since 1970, the same when a call is repeated.
pub fn now() -> i64 {
    unsafe { host::now() }
}

/// Bytes that are the same when a call is repeated. No good for secrets.
pub fn random(buf: &mut [u8]) {
    unsafe { host::random(buf.as_mut_ptr(), buf.len() as u32) }
}

/// The state of a module. Used by `transform!` alone.
#[doc(hidden)]
pub struct Module<T> {
    transform: Option<T>,
    input: Vec<u64>,
    output: Output,
    message: String,
}

impl<T: Transform> Module<T> {
    pub const fn new() -> Self {
        Module { transform: None, input: Vec::new(), output: Output::new(), message: String::new() }
    }

    pub fn alloc(&mut self, n: u32) -> *mut u8 {
        let words = (n as usize + 7) / 8;
        if self.input.len() < words || self.input.is_empty() {
            self.input = vec![0; (words + words / 4).max(1024)];
        }
        self.input.as_mut_ptr() as *mut u8
    }

    pub fn init(&mut self, config: &[u8]) -> u32 {
        match T::new(&String::from_utf8_lossy(config)) {
            Ok(t) => {
                self.transform = Some(t);
                0
            }
            Err(why) => {
                log(Level::Error, &why);
                1
            }
        }
    }

    pub fn process(&mut self, input: &[u8]) -> u64 {
        let transform = match &mut self.transform {
            Some(t) => t,
            None => {
                self.message = "the module was not initialised".to_string();
                return 1 << 63 | (self.message.as_ptr() as usize as u64) << 32 | self.message.len() as u64;
            }
        };
        let batch = Batch { input };
        self.output.start();
        for index in 0..batch.len() {
            self.output.record = index as u32;
            transform.record(&batch.record(index), &mut self.output);
        }
        self.output.finish()
    }
}

impl<T: Transform> Default for Module<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes a type that implements `Transform` the module: defines its exports.
#[macro_export]
macro_rules! transform {
    ($t:ty) => {
        // A guest has one thread and its calls do not overlap, so the module's state needs
        // no lock.
        static mut WASMILL_MODULE: $crate::Module<$t> = $crate::Module::new();

        fn wasmill_module() -> &'static mut $crate::Module<$t> {
            unsafe { &mut *::core::ptr::addr_of_mut!(WASMILL_MODULE) }
        }

        #[no_mangle]
        pub extern "C" fn wasmill_alloc(n: u32) -> *mut u8 {
            wasmill_module().alloc(n)
        }

        #[no_mangle]
        pub extern "C" fn wasmill_fields_v1() -> u32 {
            <$t as $crate::Transform>::FIELDS
        }

        /// # Safety
        /// The broker passes memory that it got from `wasmill_alloc`.
        #[no_mangle]
        pub unsafe extern "C" fn wasmill_init_v1(ptr: *const u8, len: u32) -> u32 {
            wasmill_module().init(::core::slice::from_raw_parts(ptr, len as usize))
        }

        /// # Safety
        /// The broker passes memory that it got from `wasmill_alloc`.
        #[no_mangle]
        pub unsafe extern "C" fn wasmill_process_v1(ptr: *const u8, len: u32) -> u64 {
            wasmill_module().process(::core::slice::from_raw_parts(ptr, len as usize))
        }
    };
}
