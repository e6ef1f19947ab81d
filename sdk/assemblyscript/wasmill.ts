// Guest SDK for Wasmill transforms in AssemblyScript, in one file:
//
//   import { register, Record, Output, VALUE } from "./wasmill";
//   export { wasmill_alloc, wasmill_fields_v1, wasmill_init_v1, wasmill_process_v1 } from "./wasmill";
//
//   register(VALUE, (r: Record, out: Output): void => {
//     if (r.value.length > 0) out.keep();
//   });
//
// Build it with
//
//   asc index.ts -O3 --runtime incremental --enable bulk-memory --exportStart _initialize \
//       --use abort=wasmill/abort -o transform.wasm
//
// (abort's path is that of this file without .ts, seen from where asc runs.) A record about
// which a transform says nothing is dropped. Records and bytes are views of the batch: they
// are valid until the handler returns, and the same objects serve every record.

/** The parts of a record that a transform can ask for. */
export const KEY: u32 = 1;
export const VALUE: u32 = 2;
export const HEADERS: u32 = 4;
export const TIMESTAMP: u32 = 8;
export const ALL: u32 = 15;

/** Where in the broker a batch is being transformed. */
export const PLACE_WRITE: u32 = 0;
export const PLACE_VIEW: u32 = 1;
export const PLACE_DERIVATION: u32 = 2;

/** The severities of log lines. */
export const DEBUG: i32 = 0;
export const INFO: i32 = 1;
export const WARN: i32 = 2;
export const ERROR: i32 = 3;

const NULL: u32 = 0xffffffff;
const ACTION_SIZE: usize = 64;
const OUTPUT_HEADER: usize = 16;

/** Bytes in memory. Null bytes have isNull set and length 0. */
export class Bytes {
  ptr: usize = 0;
  length: u32 = 0;
  isNull: bool = true;

  /** The UTF-8 bytes of a string. They are kept alive by this object. */
  static of(text: string): Bytes {
    const b = new Bytes();
    b.owner = String.UTF8.encode(text);
    b.set(changetype<usize>(b.owner), <u32>b.owner!.byteLength);
    return b;
  }

  /** The bytes of an array, which is kept alive by this object. */
  static from(array: Uint8Array): Bytes {
    const b = new Bytes();
    b.owner = array.buffer;
    b.set(array.dataStart, <u32>array.length);
    return b;
  }

  @inline set(ptr: usize, length: u32): void {
    this.isNull = length == NULL;
    this.ptr = ptr;
    this.length = this.isNull ? 0 : length;
  }

  @inline at(i: u32): u8 {
    return load<u8>(this.ptr + i);
  }

  equals(other: Bytes): bool {
    if (this.isNull != other.isNull || this.length != other.length) return false;
    return memory.compare(this.ptr, other.ptr, this.length) == 0;
  }

  startsWith(prefix: Bytes): bool {
    return this.length >= prefix.length && memory.compare(this.ptr, prefix.ptr, prefix.length) == 0;
  }

  /** The text, decoded from UTF-8; empty when null. */
  toString(): string {
    return String.UTF8.decodeUnsafe(this.ptr, this.length);
  }

  /** A copy that outlives the handler. */
  toArray(): Uint8Array {
    const copy = new Uint8Array(this.length);
    memory.copy(copy.dataStart, this.ptr, this.length);
    return copy;
  }

  private owner: ArrayBuffer | null = null;
}

/** One record of a batch. */
export class Record {
  index: u32 = 0;
  key: Bytes = new Bytes();
  value: Bytes = new Bytes();
  headerCount: u32 = 0;
  /** Milliseconds since 1970; 0 when not asked for. */
  timestamp: i64 = 0;
  /** -1 when there is none yet, as on write. */
  offset: i64 = 0;

  topic: Bytes = new Bytes();
  partition: i32 = 0;
  place: u32 = 0;

  private headers: Bytes = new Bytes();
  private headerKey: Bytes = new Bytes();
  private headerValue: Bytes = new Bytes();

  /** Calls back for every header in order. */
  eachHeader(visit: (key: Bytes, value: Bytes) => void): void {
    let at = this.headers.ptr;
    for (let i: u32 = 0; i < this.headerCount; i++) {
      at = this.readHeader(at);
      visit(this.headerKey, this.headerValue);
    }
  }

  /** The last header of that name, or null when there is none. */
  header(name: Bytes): Bytes | null {
    let at = this.headers.ptr;
    let found: Bytes | null = null;
    for (let i: u32 = 0; i < this.headerCount; i++) {
      at = this.readHeader(at);
      if (this.headerKey.equals(name)) {
        const value = new Bytes();
        value.set(this.headerValue.ptr, this.headerValue.isNull ? NULL : this.headerValue.length);
        found = value;
      }
    }
    return found;
  }

  /** The record's headers as the ABI has them, for Emission.headers. */
  rawHeaders(): Bytes {
    return this.headers;
  }

  private readHeader(at: usize): usize {
    const keyLength = load<u32>(at);
    const valueLength = load<u32>(at, 4);
    this.headerKey.set(at + 8, keyLength);
    this.headerValue.set(at + 8 + keyLength, valueLength);
    return at + 8 + keyLength + this.headerValue.length;
  }

  /** Used by the SDK alone. */
  point(input: usize, index: u32): void {
    const d = input + load<u32>(input) + <usize>index * load<u32>(input, 4);
    this.index = index;
    this.key.set(input + load<u32>(d), load<u32>(d, 4));
    this.value.set(input + load<u32>(d, 8), load<u32>(d, 12));
    this.headers.set(input + load<u32>(d, 16), load<u32>(d, 20));
    this.headerCount = this.headers.isNull ? 0 : load<u32>(d, 24);
    this.timestamp = load<i64>(d, 32);
    this.offset = load<i64>(d, 40);
  }

  /** Used by the SDK alone. */
  begin(input: usize): u32 {
    this.partition = load<i32>(input, 16);
    this.place = load<u32>(input, 20);
    this.topic.set(input + load<u32>(input, 32), load<u32>(input, 36));
    return load<u32>(input, 8);
  }
}

/** A record to add. What is not set is that of the input record. */
export class Emission {
  /** Empty: the topic being processed. */
  topic: string = "";
  /** -1: the key decides. */
  partition: i32 = -1;
  /** null: the input record's key; a Bytes that isNull makes it null. */
  key: Bytes | null = null;
  value: Bytes | null = null;
  private headerBlock: usize = 0;
  private headerBytes: u32 = 0;
  private headerCount: u32 = 0;
  private ownHeaders: bool = false;
  private ownTimestamp: bool = false;
  private timestamp: i64 = 0;

  /** Milliseconds since 1970. */
  setTimestamp(ms: i64): void {
    this.timestamp = ms;
    this.ownTimestamp = true;
  }

  /** Starts from no headers at all in place of the input record's. */
  clearHeaders(): void {
    this.ownHeaders = true;
    this.headerBytes = 0;
    this.headerCount = 0;
  }

  /** Starts from a copy of a record's headers, to which addHeader adds. */
  copyHeaders(r: Record): void {
    this.clearHeaders();
    const raw = r.rawHeaders();
    this.headerBlock = arenaCopy(raw.ptr, raw.length);
    this.headerBytes = raw.length;
    this.headerCount = r.headerCount;
  }

  addHeader(key: Bytes, value: Bytes): void {
    this.ownHeaders = true;
    const size = this.headerBytes + 8 + key.length + value.length;
    const block = arenaTake(size);
    memory.copy(block, this.headerBlock, this.headerBytes);
    const at = block + this.headerBytes;
    store<u32>(at, key.length);
    store<u32>(at, value.isNull ? NULL : value.length, 4);
    memory.copy(at + 8, key.ptr, key.length);
    memory.copy(at + 8 + key.length, value.ptr, value.length);
    this.headerBlock = block;
    this.headerBytes = size;
    this.headerCount++;
  }

  /** Used by the SDK alone: writes the action a. */
  write(a: usize): void {
    let flags: u8 = 0;
    if (this.topic.length > 0) storeText(a, 8, this.topic);
    if (this.partition >= 0) {
      flags |= 1;
      store<i32>(a, this.partition, 16);
    }
    if (this.ownTimestamp) {
      flags |= 2;
      store<i64>(a, this.timestamp, 48);
    }
    if (!storePart(a + 20, this.key)) flags |= 4;
    if (!storePart(a + 28, this.value)) flags |= 8;
    if (this.ownHeaders) {
      store<u32>(a, <u32>this.headerBlock, 36);
      store<u32>(a, this.headerBytes, 40);
      store<u32>(a, this.headerCount, 44);
    } else {
      flags |= 16;
    }
    store<u8>(a, flags, 1);
  }
}

/** Takes the decisions about the record that is being processed. */
export class Output {
  private list: usize = 0;
  private capacity: usize = 0;
  private used: usize = 0;
  private record: u32 = 0;

  /** Passes the record on in its topic, unchanged. Say it at most once. */
  keep(): void {
    this.add(1);
  }

  /** Passes the record on with another value; the rest stays. */
  keepValue(value: Bytes): void {
    const e = new Emission();
    e.value = value;
    this.emit(e);
  }

  /**
   * Refuses the record with a code of the module's own and a message, which the producer is
   * told. Say nothing else about the record.
   */
  reject(code: u16, message: string): void {
    const a = this.add(4);
    store<u16>(a, code, 2);
    storeText(a, 56, message);
  }

  /** Passes the record on, unchanged, to another topic, where its key decides the partition. */
  route(topic: string): void {
    storeText(this.add(2), 8, topic);
  }

  /** route to a given partition. */
  routeTo(topic: string, partition: i32): void {
    const a = this.add(2);
    store<u8>(a, 1, 1);
    storeText(a, 8, topic);
    store<i32>(a, partition, 16);
  }

  /**
   * Adds a record. In the topic being processed, the first one stands in the place of the
   * input record unless that is kept.
   */
  emit(e: Emission): void {
    e.write(this.add(3));
  }

  private add(kind: u8): usize {
    if (this.used + ACTION_SIZE > this.capacity) this.grow(this.used + ACTION_SIZE);
    const a = this.list + this.used;
    this.used += ACTION_SIZE;
    memory.fill(a, 0, ACTION_SIZE);
    store<u8>(a, kind);
    store<u32>(a, this.record, 4);
    return a;
  }

  private grow(need: usize): void {
    this.capacity = need * 2;
    this.list = this.list == 0 ? heap.alloc(this.capacity) : heap.realloc(this.list, this.capacity);
  }

  /** Used by the SDK alone. */
  start(records: u32): void {
    const need = OUTPUT_HEADER + <usize>records * ACTION_SIZE;
    if (this.capacity < need) this.grow(need);
    this.used = OUTPUT_HEADER;
  }

  /** Used by the SDK alone. */
  begin(record: u32): void {
    this.record = record;
  }

  /** Used by the SDK alone. */
  finish(): u64 {
    store<u32>(this.list, <u32>OUTPUT_HEADER);
    store<u32>(this.list, <u32>ACTION_SIZE, 4);
    store<u32>(this.list, <u32>((this.used - OUTPUT_HEADER) / ACTION_SIZE), 8);
    store<u32>(this.list, 0, 12);
    return ((<u64>this.list) << 32) | <u64>this.used;
  }
}

// ---- Memory that stays until the next batch: chunks that are reused -----------------------

const CHUNK: usize = 64 << 10;
const chunks: StaticArray<usize>[] = []; // [address, size, used]
let chunkAt: i32 = 0;

function arenaReset(): void {
  for (let i = 0; i < chunks.length; i++) chunks[i][2] = 0;
  while (chunks.length > 16) heap.free(chunks.pop()[0]);
  chunkAt = 0;
}

function arenaTake(n: usize): usize {
  for (; chunkAt < chunks.length; chunkAt++) {
    const c = chunks[chunkAt];
    if (c[1] - c[2] >= n) {
      const at = c[0] + c[2];
      c[2] += n;
      return at;
    }
  }
  const size = n > CHUNK ? n : CHUNK;
  const c = new StaticArray<usize>(3);
  c[0] = heap.alloc(size);
  c[1] = size;
  c[2] = n;
  chunks.push(c);
  return c[0];
}

function arenaCopy(ptr: usize, n: usize): usize {
  const at = arenaTake(n);
  memory.copy(at, ptr, n);
  return at;
}

/** Writes a part's address and length, or returns false when it is to be inherited. */
function storePart(at: usize, part: Bytes | null): bool {
  if (part === null) return false;
  if (part.isNull) {
    store<u32>(at, NULL, 4);
    return true;
  }
  store<u32>(at, <u32>arenaCopy(part.ptr, part.length));
  store<u32>(at, part.length, 4);
  return true;
}

function storeText(action: usize, field: usize, text: string): void {
  const n = String.UTF8.byteLength(text);
  const at = arenaTake(n);
  String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, at);
  store<u32>(action + field, <u32>at);
  store<u32>(action + field, <u32>n, 4);
}

// ---- Imports --------------------------------------------------------------------------------

@external("wasmill_v1", "log")
declare function importLog(level: i32, ptr: usize, len: u32): void;
@external("wasmill_v1", "config_get")
declare function importConfigGet(key: usize, keyLen: u32, buf: usize, cap: u32): i32;
@external("wasmill_v1", "metric_add")
declare function importMetricAdd(name: usize, len: u32, delta: i64): void;
@external("wasmill_v1", "now")
declare function importNow(): i64;
@external("wasmill_v1", "random")
declare function importRandom(ptr: usize, len: u32): void;

/** Writes a line to the broker's log. */
export function log(level: i32, message: string): void {
  const text = Bytes.of(message);
  importLog(level, text.ptr, text.length);
}

/** A top-level key of the stage's configuration: a string as its text, anything else as JSON. */
export function config(key: string): string | null {
  const name = Bytes.of(key);
  const n = importConfigGet(name.ptr, name.length, 0, 0);
  if (n < 0) return null;
  const buf = new ArrayBuffer(n);
  importConfigGet(name.ptr, name.length, changetype<usize>(buf), n);
  return String.UTF8.decode(buf);
}

/** Adds to a counter of the module. */
export function metricAdd(name: string, delta: i64): void {
  const text = Bytes.of(name);
  importMetricAdd(text.ptr, text.length, delta);
}

/** The time of the batch in milliseconds since 1970, the same when a call is repeated. */
export function now(): i64 {
  return importNow();
}

/** Bytes that are the same when a call is repeated. No good for secrets. */
export function random(buf: Uint8Array): void {
  importRandom(buf.dataStart, buf.length);
}

/** What the compiler calls when the program fails: the reason goes to the log. */
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  log(ERROR, (message ? message : "aborted") + " at " + (file ? file : "?") + ":" + line.toString());
  unreachable();
}

// ---- The module -----------------------------------------------------------------------------

let fields: u32 = ALL;
let handler: ((r: Record, out: Output) => void) | null = null;
let initialiser: ((config: string) => string | null) | null = null;
const record = new Record();
const output = new Output();
let incoming: usize = 0;
let incomingSize: usize = 0;

/**
 * Makes a function the module's transform, and declares the parts of a record that it reads.
 * init, when given, is called once with the configuration as JSON text and returns null to
 * accept it, or why not.
 */
export function register(
  mask: u32,
  transform: (r: Record, out: Output) => void,
  init: ((config: string) => string | null) | null = null,
): void {
  fields = mask;
  handler = transform;
  initialiser = init;
}

export function wasmill_alloc(n: u32): usize {
  // heap.alloc gives addresses that are multiples of 16.
  const size = max<usize>(n, 8);
  if (size > incomingSize) {
    if (incoming != 0) heap.free(incoming);
    incomingSize = size + size / 4;
    incoming = heap.alloc(incomingSize);
  }
  return incoming;
}

export function wasmill_fields_v1(): u32 {
  return fields;
}

export function wasmill_init_v1(ptr: usize, len: u32): u32 {
  if (handler === null) {
    log(ERROR, "the module registers no transform");
    return 1;
  }
  const init = initialiser;
  if (init === null) return 0;
  const why = init(String.UTF8.decodeUnsafe(ptr, len));
  if (why === null) return 0;
  log(ERROR, why);
  return 1;
}

export function wasmill_process_v1(ptr: usize, len: u32): u64 {
  arenaReset();
  const n = record.begin(ptr);
  output.start(n);
  const transform = handler!;
  for (let i: u32 = 0; i < n; i++) {
    record.point(ptr, i);
    output.begin(i);
    transform(record, output);
  }
  return output.finish();
}
