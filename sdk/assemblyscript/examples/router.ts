// Sends records to the topic that their header "topic" names, and keeps the rest.

import { Bytes, HEADERS, Output, Record, register } from "../wasmill";
export { wasmill_alloc, wasmill_fields_v1, wasmill_init_v1, wasmill_process_v1 } from "../wasmill";

const topicHeader = Bytes.of("topic");

register(HEADERS, (r: Record, out: Output): void => {
  const topic = r.header(topicHeader);
  if (topic === null || topic.length == 0) {
    out.keep();
  } else {
    out.route(topic.toString());
  }
});
