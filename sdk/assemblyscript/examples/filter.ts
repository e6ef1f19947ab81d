// Keeps the records whose key starts with a prefix. Configuration: {"prefix": "eu-"}

import { Bytes, KEY, Output, Record, config, register } from "../wasmill";
export { wasmill_alloc, wasmill_fields_v1, wasmill_init_v1, wasmill_process_v1 } from "../wasmill";

let prefix = new Bytes();

register(
  KEY,
  (r: Record, out: Output): void => {
    if (r.key.startsWith(prefix)) out.keep();
  },
  (_: string): string | null => {
    const text = config("prefix");
    if (text === null) return 'the configuration needs a "prefix"';
    prefix = Bytes.of(text);
    return null;
  },
);
