// The guest of the conformance test: it writes down everything that it was shown.

import { ALL, Bytes, Emission, Output, Record, register } from "../wasmill";
export { wasmill_alloc, wasmill_fields_v1, wasmill_init_v1, wasmill_process_v1 } from "../wasmill";

let copy = new Emission();

register(ALL, (r: Record, out: Output): void => {
  copy = new Emission();
  copy.key = r.key;
  copy.value = r.value;
  copy.clearHeaders();
  r.eachHeader((key: Bytes, value: Bytes): void => copy.addHeader(key, value));
  copy.setTimestamp(r.timestamp);
  out.emit(copy);

  const whole = new Emission();
  whole.topic = "mirror";
  whole.partition = 1;
  out.emit(whole);

  out.routeTo("copy", 2);
});
