/* Transform masks card numbers: in every run of 12 to 19 digits of a value all but the last
 * four become stars, and a header "masked" counts the runs. Digits in groups that single
 * spaces or dashes separate are one run. Empty values are rejected.
 *
 * Configuration: none.
 */
#include "../../wasmill.h"

enum { CODE_EMPTY = 1, SHORTEST = 12, LONGEST = 19 };

static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }
static bool is_separator(uint8_t c) { return c == ' ' || c == '-'; }

/* run finds the end of the run of digits that starts at from, and how many there are. */
static uint32_t run(wm_bytes v, uint32_t from, uint32_t *digits) {
    uint32_t end = from;
    *digits = 0;
    for (uint32_t i = from; i < v.len; i++) {
        if (is_digit(v.ptr[i])) {
            (*digits)++;
            end = i + 1;
        } else if (!is_separator(v.ptr[i]) || end != i) {
            break;
        }
    }
    return end;
}

/* mask stars out all but the last four digits of copy[from:to]. */
static void mask(uint8_t *copy, uint32_t from, uint32_t digits) {
    for (uint32_t i = from; digits > 4; i++)
        if (is_digit(copy[i])) copy[i] = '*', digits--;
}

static void transform(const wm_record *r, wm_out *out) {
    if (r->value.len == 0) {
        wm_reject(out, CODE_EMPTY, wm_str("the value is empty"));
        return;
    }
    uint8_t *copy = NULL, masked = 0;
    for (uint32_t i = 0; i < r->value.len;) {
        if (!is_digit(r->value.ptr[i])) {
            i++;
            continue;
        }
        uint32_t digits, end = run(r->value, i, &digits);
        if (digits >= SHORTEST && digits <= LONGEST) {
            if (copy == NULL) {
                copy = wm_alloc(r->value.len);
                __builtin_memcpy(copy, r->value.ptr, r->value.len);
            }
            mask(copy, i, digits);
            masked += masked < 9;
        }
        i = end;
    }
    if (copy == NULL) {
        wm_keep(out);
        return;
    }
    wm_emission e = {.inherit_key = true, .value = {copy, r->value.len},
                     .headers = r->headers, .headers_count = r->headers_count};
    uint8_t *count = wm_alloc(1);
    *count = '0' + masked;
    wm_append_header(&e, wm_str("masked"), (wm_bytes){count, 1});
    wm_emit(out, &e);
}

WASMILL_FIELDS(WM_VALUE | WM_HEADERS)
WASMILL_TRANSFORM(transform)
