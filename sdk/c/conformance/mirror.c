/* Mirror is the guest of the conformance test: it writes down everything that it was shown.
 * For every record it emits a copy made from its parts, then the record to partition 1 of
 * the topic "mirror" with every part inherited, and routes it to partition 2 of "copy".
 */
#include "../wasmill.h"

static void mirror(const wm_record *r, wm_out *out) {
    wm_emission copy = {.key = r->key, .value = r->value, .has_timestamp = true, .timestamp = r->timestamp};
    wm_bytes key, value;
    for (uint32_t at = 0; wm_next_header(r, &at, &key, &value);) wm_append_header(&copy, key, value);
    wm_emit(out, &copy);

    wm_emission whole = {.topic = wm_str("mirror"), .to_partition = true, .partition = 1,
                         .inherit_key = true, .inherit_value = true, .inherit_headers = true};
    wm_emit(out, &whole);
    wm_route_to(out, wm_str("copy"), 2);
}

WASMILL_FIELDS(WM_ALL)
WASMILL_TRANSFORM(mirror)
