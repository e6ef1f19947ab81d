// Turns the ASCII letters of values to upper case and notes the length in a header. Empty
// values are rejected.

import { Bytes, Emission, HEADERS, Output, Record, VALUE, register } from "../wasmill";
export { wasmill_alloc, wasmill_fields_v1, wasmill_init_v1, wasmill_process_v1 } from "../wasmill";

const length = Bytes.of("length");

register(VALUE | HEADERS, (r: Record, out: Output): void => {
  if (r.value.length == 0) {
    out.reject(1, "the value is empty");
    return;
  }
  const upper = r.value.toArray();
  for (let i = 0; i < upper.length; i++) {
    const c = upper[i];
    if (c >= 0x61 && c <= 0x7a) upper[i] = c - 0x20;
  }
  const e = new Emission();
  e.value = Bytes.from(upper);
  e.copyHeaders(r);
  e.addHeader(length, Bytes.of(upper.length.toString()));
  out.emit(e);
});
