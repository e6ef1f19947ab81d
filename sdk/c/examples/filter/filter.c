/* Filter keeps the records whose value contains a text.
 *
 * Configuration: {"contains": "\"level\":\"error\""}
 */
#include "../../wasmill.h"

static wm_bytes needle;

static bool init(wm_bytes config) {
    (void)config;
    needle = wm_config("contains");
    if (needle.len == 0) {
        wm_log(WM_ERROR, wm_str("the configuration needs a \"contains\" that is not empty"));
        return false;
    }
    return true;
}

static void filter(const wm_record *r, wm_out *out) {
    if (wm_find(r->value, needle) >= 0) wm_keep(out);
}

WASMILL_FIELDS(WM_VALUE)
WASMILL_INIT(init)
WASMILL_TRANSFORM(filter)
