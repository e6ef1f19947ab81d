/* Router sends a record to the topic that its key names: what stands before the first colon,
 * behind a prefix. Keys without a colon stay. It reads keys alone, so values are never
 * copied into it.
 *
 * Configuration: {"prefix": "by-kind-"}
 */
#include "../../wasmill.h"

static wm_bytes prefix;

static bool init(wm_bytes config) {
    (void)config;
    prefix = wm_config("prefix");
    return true;
}

static void route(const wm_record *r, wm_out *out) {
    int64_t colon = wm_find(r->key, wm_str(":"));
    if (colon <= 0) {
        wm_keep(out);
        return;
    }
    uint8_t *topic = wm_alloc(prefix.len + (uint32_t)colon);
    if (prefix.len > 0) __builtin_memcpy(topic, prefix.ptr, prefix.len);
    __builtin_memcpy(topic + prefix.len, r->key.ptr, (uint32_t)colon);
    wm_route(out, (wm_bytes){topic, prefix.len + (uint32_t)colon});
    wm_metric_add("routed", 1);
}

WASMILL_FIELDS(WM_KEY)
WASMILL_INIT(init)
WASMILL_TRANSFORM(route)
