/* wasmill.h: the guest SDK for transforms written in C, in one header.
 *
 * A transform is a function that is called for every record of a batch and says what
 * becomes of it; a record about which it says nothing is dropped:
 *
 *     #include "wasmill.h"
 *
 *     static void transform(const wm_record *r, wm_out *out) {
 *         if (r->value.len > 0) wm_keep(out);
 *     }
 *
 *     WASMILL_FIELDS(WM_VALUE)
 *     WASMILL_TRANSFORM(transform)
 *
 * Build it with clang and lld, without any library:
 *
 *     clang --target=wasm32-unknown-unknown -O2 -nostdlib -ffreestanding -mbulk-memory \
 *           -Wl,--no-entry -Wl,--strip-all -o transform.wasm transform.c
 *
 * Include the header in one source file of the module. Memory: everything a transform gets
 * from wm_alloc, and every byte it is shown, is good until the transform has seen the last
 * record of the batch; what WASMILL_INIT's function allocates is good for ever. Nothing is
 * freed by hand. A module runs one call at a time.
 */
#ifndef WASMILL_H
#define WASMILL_H

#ifndef __wasm32__
#error "wasmill.h is for guests: compile with --target=wasm32-unknown-unknown"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __wasm_simd128__
#include <wasm_simd128.h>
#endif

/* ---- What a transform sees ------------------------------------------------------------ */

/* Bytes in the module's memory. A null key, value or header value has ptr == NULL. */
typedef struct {
    const uint8_t *ptr;
    uint32_t len;
} wm_bytes;

/* The parts of a record that a transform can ask for with WASMILL_FIELDS. */
enum { WM_KEY = 1, WM_VALUE = 2, WM_HEADERS = 4, WM_TIMESTAMP = 8, WM_ALL = 15 };

/* Where in the broker a batch is being transformed. */
enum { WM_WRITE = 0, WM_VIEW = 1, WM_DERIVATION = 2 };

/* The levels of wm_log. */
enum { WM_DEBUG = 0, WM_INFO = 1, WM_WARN = 2, WM_ERROR = 3 };

typedef struct {
    wm_bytes topic;
    int32_t partition;
    uint32_t place;
    int64_t base_timestamp; /* ms since 1970 */
    uint32_t fields;        /* the parts that were really copied in */
    uint32_t record_count;
} wm_batch;

typedef struct {
    const wm_batch *batch;
    uint32_t index;
    wm_bytes key, value;
    wm_bytes headers; /* as in the ABI; read them with wm_next_header or wm_header */
    uint32_t headers_count;
    int64_t timestamp; /* ms since 1970; 0 when not asked for */
    int64_t offset;    /* -1 when not known, as on write */
} wm_record;

typedef struct wm_out wm_out;

/* A record that did not exist before, or the input record with some parts replaced. */
typedef struct {
    wm_bytes topic; /* empty: the topic being processed */
    bool to_partition;
    int32_t partition; /* with to_partition; otherwise the key decides */
    bool inherit_key, inherit_value, inherit_headers; /* take the input record's */
    wm_bytes key, value;
    wm_bytes headers; /* built with wm_append_header */
    uint32_t headers_count;
    bool has_timestamp;
    int64_t timestamp; /* with has_timestamp; otherwise the input record's */
} wm_emission;

/* ---- Imports -------------------------------------------------------------------------- */

#define WM_IMPORT(name) __attribute__((import_module("wasmill_v1"), import_name(name)))
#define WM_EXPORT(name) __attribute__((export_name(name), used))

WM_IMPORT("log") void wm_import_log(int32_t level, const void *ptr, uint32_t len);
WM_IMPORT("config_get")
int32_t wm_import_config_get(const void *key, uint32_t key_len, void *buf, uint32_t cap);
WM_IMPORT("metric_add") void wm_import_metric_add(const void *name, uint32_t len, int64_t delta);
WM_IMPORT("now") int64_t wm_import_now(void);
WM_IMPORT("random") void wm_import_random(void *ptr, uint32_t len);

/* ---- Bytes ---------------------------------------------------------------------------- */

static inline uint32_t wm_strlen(const char *s) {
    uint32_t n = 0;
    while (s[n] != 0) n++;
    return n;
}

/* wm_str views a C string, wm_slice a part of some bytes (which must have it). */
static inline wm_bytes wm_str(const char *s) {
    return (wm_bytes){(const uint8_t *)s, wm_strlen(s)};
}

static inline wm_bytes wm_slice(wm_bytes b, uint32_t from, uint32_t to) {
    return (wm_bytes){b.ptr + from, to - from};
}

static inline bool wm_is_null(wm_bytes b) { return b.ptr == NULL; }

static inline bool wm_equal(wm_bytes a, wm_bytes b) {
    if (a.len != b.len) return false;
    for (uint32_t i = 0; i < a.len; i++)
        if (a.ptr[i] != b.ptr[i]) return false;
    return true;
}

static inline bool wm_has_prefix(wm_bytes b, wm_bytes prefix) {
    return b.len >= prefix.len && wm_equal(wm_slice(b, 0, prefix.len), prefix);
}

/* wm_find returns where needle first occurs in b, or -1. With -msimd128 it looks at sixteen
 * places at a time: only where both the first and the last byte fit is the rest compared. */
static inline int64_t wm_find(wm_bytes b, wm_bytes needle) {
    if (needle.len == 0) return 0;
    if (needle.len > b.len) return -1;
    uint32_t i = 0, end = b.len - needle.len + 1; /* places where it may begin */
#ifdef __wasm_simd128__
    uint32_t far = needle.len - 1;
    v128_t first = wasm_i8x16_splat((int8_t)needle.ptr[0]), last = wasm_i8x16_splat((int8_t)needle.ptr[far]);
    for (; end - i >= 16; i += 16) {
        uint32_t hits = wasm_i8x16_bitmask(wasm_v128_and(
            wasm_i8x16_eq(wasm_v128_load(b.ptr + i), first), wasm_i8x16_eq(wasm_v128_load(b.ptr + i + far), last)));
        for (; hits != 0; hits &= hits - 1) {
            uint32_t at = i + (uint32_t)__builtin_ctz(hits);
            if (wm_equal(wm_slice(b, at, at + needle.len), needle)) return at;
        }
    }
#endif
    for (; i < end; i++)
        if (b.ptr[i] == needle.ptr[0] && wm_equal(wm_slice(b, i, i + needle.len), needle)) return i;
    return -1;
}

/* ---- Memory --------------------------------------------------------------------------- */

/* One region grows from the end of the module's data. What lies below wm_mark stays: the
 * configuration and what init made of it. The rest is given back when the next batch comes. */
extern uint8_t __heap_base;
static uint32_t wm_mark, wm_top;

/* wm_alloc returns n bytes, 8-aligned, of unspecified content. It traps when memory is at
 * its limit, which fails the call. */
static inline void *wm_alloc(uint32_t n) {
    if (wm_top == 0) wm_mark = wm_top = ((uint32_t)&__heap_base + 7) & ~7u;
    uint64_t end = ((uint64_t)wm_top + n + 7) & ~7ull;
    uint64_t have = (uint64_t)__builtin_wasm_memory_size(0) << 16;
    if (end > have) {
        uint32_t pages = (uint32_t)((end - have + 0xFFFF) >> 16);
        if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1) __builtin_trap();
    }
    void *p = (void *)(size_t)wm_top;
    wm_top = (uint32_t)end;
    return p;
}

/* ---- Reading -------------------------------------------------------------------------- */

#define WM_NULL_LEN 0xFFFFFFFFu

static inline uint32_t wm_load32(const uint8_t *p) {
    uint32_t v;
    __builtin_memcpy(&v, p, 4);
    return v;
}

/* wm_next_header reads the next header. at starts at 0; false when there is none left. */
static inline bool wm_next_header(const wm_record *r, uint32_t *at, wm_bytes *key, wm_bytes *value) {
    if (r->headers.len - *at < 8) return false;
    const uint8_t *p = r->headers.ptr + *at;
    uint32_t key_len = wm_load32(p), value_len = wm_load32(p + 4);
    bool null = value_len == WM_NULL_LEN;
    *key = (wm_bytes){p + 8, key_len};
    *value = null ? (wm_bytes){NULL, 0} : (wm_bytes){p + 8 + key_len, value_len};
    *at += 8 + key_len + (null ? 0 : value_len);
    return true;
}

/* wm_header finds the last header of that name; false when there is none. */
static inline bool wm_header(const wm_record *r, wm_bytes name, wm_bytes *value) {
    bool found = false;
    wm_bytes key, v;
    for (uint32_t at = 0; wm_next_header(r, &at, &key, &v);)
        if (wm_equal(key, name)) *value = v, found = true;
    return found;
}

/* wm_config returns a top-level key of the stage's configuration: a string as its bare text,
 * anything else as JSON text; ptr == NULL when there is no such key. Called from init, the
 * result stays. */
static inline wm_bytes wm_config(const char *key) {
    uint32_t n = wm_strlen(key);
    int32_t len = wm_import_config_get(key, n, NULL, 0);
    if (len < 0) return (wm_bytes){NULL, 0};
    uint8_t *buf = wm_alloc((uint32_t)len);
    wm_import_config_get(key, n, buf, (uint32_t)len);
    return (wm_bytes){buf, (uint32_t)len};
}

static inline void wm_log(int32_t level, wm_bytes message) {
    wm_import_log(level, message.ptr, message.len);
}
static inline void wm_metric_add(const char *name, int64_t delta) {
    wm_import_metric_add(name, wm_strlen(name), delta);
}
/* wm_now is the time of the batch, the same when a call is repeated. */
static inline int64_t wm_now(void) { return wm_import_now(); }
/* wm_random gives the same bytes when a call is repeated; no good for secrets. */
static inline void wm_random(void *buf, uint32_t len) { wm_import_random(buf, len); }

/* ---- Deciding ------------------------------------------------------------------------- */

typedef struct {
    uint8_t kind, flags;
    uint16_t code;
    uint32_t record, topic_ptr, topic_len;
    int32_t partition;
    uint32_t key_ptr, key_len, value_ptr, value_len, headers_ptr, headers_len, headers_count;
    int64_t timestamp;
    uint32_t message_ptr, message_len;
} wm_action;
_Static_assert(sizeof(wm_action) == 64, "an action has 64 bytes");

struct wm_out {
    const wm_record *record;
    wm_action *list; /* list[-1] ends in the 16 bytes of the output's header */
    uint32_t count, cap;
    const char *failed; /* set by wm_fail */
};

enum { WM_KIND_KEEP = 1, WM_KIND_ROUTE = 2, WM_KIND_EMIT = 3, WM_KIND_REJECT = 4 };

static inline wm_action *wm_add(wm_out *out, uint8_t kind) {
    if (out->count == out->cap) {
        wm_action *wider = (wm_action *)wm_alloc((2 * out->cap + 2) * sizeof(wm_action)) + 1;
        __builtin_memcpy(wider, out->list, out->count * sizeof(wm_action));
        out->list = wider;
        out->cap = 2 * out->cap + 1;
    }
    wm_action *a = &out->list[out->count++];
    *a = (wm_action){.kind = kind, .record = out->record->index};
    return a;
}

static inline uint32_t wm_address(const void *p) { return (uint32_t)(size_t)p; }
static inline uint32_t wm_length(wm_bytes b) { return wm_is_null(b) ? WM_NULL_LEN : b.len; }

/* wm_keep passes the record on in its topic, unchanged. Say it at most once. */
static inline void wm_keep(wm_out *out) { wm_add(out, WM_KIND_KEEP); }

/* wm_reject refuses the record with a code of the module's own and a message, which the
 * producer is told. Say nothing else about the record. */
static inline void wm_reject(wm_out *out, uint16_t code, wm_bytes message) {
    wm_action *a = wm_add(out, WM_KIND_REJECT);
    a->code = code;
    a->message_ptr = wm_address(message.ptr);
    a->message_len = message.len;
}

/* wm_route passes the record on, unchanged, to another topic, where its key decides the
 * partition. The bytes of the topic's name must stay until the end of the batch. */
static inline void wm_route(wm_out *out, wm_bytes topic) {
    wm_action *a = wm_add(out, WM_KIND_ROUTE);
    a->topic_ptr = wm_address(topic.ptr);
    a->topic_len = topic.len;
}

/* wm_route_to is wm_route to a given partition. */
static inline void wm_route_to(wm_out *out, wm_bytes topic, int32_t partition) {
    wm_route(out, topic);
    out->list[out->count - 1].flags = 1;
    out->list[out->count - 1].partition = partition;
}

/* wm_emit adds a record. In the topic being processed, the first one stands in the place of
 * the input record unless that is kept. What it points to must stay until the end of the
 * batch. */
static inline void wm_emit(wm_out *out, const wm_emission *e) {
    wm_action *a = wm_add(out, WM_KIND_EMIT);
    a->flags = (uint8_t)(e->to_partition | e->has_timestamp << 1 | e->inherit_key << 2 |
                         e->inherit_value << 3 | e->inherit_headers << 4);
    a->topic_ptr = wm_address(e->topic.ptr);
    a->topic_len = e->topic.len;
    a->partition = e->partition;
    a->key_ptr = wm_address(e->key.ptr);
    a->key_len = wm_length(e->key);
    a->value_ptr = wm_address(e->value.ptr);
    a->value_len = wm_length(e->value);
    a->headers_ptr = wm_address(e->headers.ptr);
    a->headers_len = e->headers.len;
    a->headers_count = e->headers_count;
    a->timestamp = e->timestamp;
}

/* wm_keep_value passes the record on with another value; key, headers and timestamp stay. */
static inline void wm_keep_value(wm_out *out, wm_bytes value) {
    wm_emission e = {.inherit_key = true, .inherit_headers = true, .value = value};
    wm_emit(out, &e);
}

/* wm_append_header adds a header to an emission. Start with a copy of the input record's
 * headers (e.headers = r->headers, e.headers_count = r->headers_count) to keep those. */
static inline void wm_append_header(wm_emission *e, wm_bytes key, wm_bytes value) {
    uint32_t value_len = wm_is_null(value) ? 0 : value.len;
    uint8_t *p = wm_alloc(e->headers.len + 8 + key.len + value_len);
    uint8_t *q = p + e->headers.len;
    uint32_t lengths[2] = {key.len, wm_length(value)};
    if (e->headers.len > 0) __builtin_memcpy(p, e->headers.ptr, e->headers.len);
    __builtin_memcpy(q, lengths, 8);
    __builtin_memcpy(q + 8, key.ptr, key.len);
    if (value_len > 0) __builtin_memcpy(q + 8 + key.len, value.ptr, value_len);
    e->headers = (wm_bytes){p, e->headers.len + 8 + key.len + value_len};
    e->headers_count++;
}

/* wm_fail fails the whole call with a message: for what must not happen. Expected bad data
 * is rejected, which is far cheaper. */
static inline void wm_fail(wm_out *out, const char *message) { out->failed = message; }

/* ---- The module's exports ------------------------------------------------------------- */

typedef struct {
    uint32_t header_size, descriptor_size, record_count, fields;
    int32_t partition;
    uint32_t place;
    int64_t base_timestamp;
    uint32_t topic_off, topic_len;
    int64_t reserved;
} wm_input;
_Static_assert(sizeof(wm_input) == 48, "the header of the input has 48 bytes");

typedef struct {
    uint32_t key_off, key_len, value_off, value_len, headers_off, headers_len, headers_count, flags;
    int64_t timestamp, offset;
} wm_descriptor;
_Static_assert(sizeof(wm_descriptor) == 48, "a descriptor has 48 bytes");

static inline wm_bytes wm_part(const uint8_t *in, uint32_t off, uint32_t len) {
    return len == WM_NULL_LEN ? (wm_bytes){NULL, 0} : (wm_bytes){in + off, len};
}

typedef void (*wm_transform)(const wm_record *, wm_out *);

static inline uint64_t wm_process(const uint8_t *in, wm_transform transform) {
    const wm_input *h = (const wm_input *)in;
    wm_batch batch = {wm_part(in, h->topic_off, h->topic_len), h->partition, h->place,
                      h->base_timestamp, h->fields, h->record_count};
    wm_action *slots = wm_alloc((h->record_count + 1) * sizeof(wm_action));
    wm_out out = {.list = slots + 1, .cap = h->record_count};
    wm_record r = {.batch = &batch};
    out.record = &r;
    const uint8_t *at = in + h->header_size;
    for (r.index = 0; r.index < h->record_count; r.index++, at += h->descriptor_size) {
        const wm_descriptor *d = (const wm_descriptor *)at;
        r.key = wm_part(in, d->key_off, d->key_len);
        r.value = wm_part(in, d->value_off, d->value_len);
        r.headers = wm_part(in, d->headers_off, d->headers_len);
        r.headers_count = d->headers_count;
        r.timestamp = d->timestamp;
        r.offset = d->offset;
        transform(&r, &out);
        if (out.failed)
            return 1ull << 63 | (uint64_t)wm_address(out.failed) << 32 | wm_strlen(out.failed);
    }
    uint32_t header[4] = {16, sizeof(wm_action), out.count, 0};
    uint8_t *start = (uint8_t *)out.list - sizeof header;
    __builtin_memcpy(start, header, sizeof header);
    return (uint64_t)wm_address(start) << 32 | (sizeof header + out.count * sizeof(wm_action));
}

/* WASMILL_TRANSFORM names the function that is called for every record. */
#define WASMILL_TRANSFORM(fn)                                                              \
    WM_EXPORT("wasmill_alloc") void *wm_export_alloc(uint32_t n) {                         \
        wm_top = wm_mark;                                                                  \
        return wm_alloc(n);                                                                \
    }                                                                                      \
    WM_EXPORT("wasmill_process_v1")                                                        \
    uint64_t wm_export_process(const uint8_t *in, uint32_t len) {                          \
        (void)len;                                                                         \
        return wm_process(in, fn);                                                         \
    }

/* WASMILL_FIELDS declares the parts of a record that the transform reads; without it, all. */
#define WASMILL_FIELDS(mask) \
    WM_EXPORT("wasmill_fields_v1") uint32_t wm_export_fields(void) { return (mask); }

/* WASMILL_INIT names a function, bool fn(wm_bytes config), that is called once with the
 * stage's configuration as JSON text and returns false to refuse it, having logged why. */
#define WASMILL_INIT(fn)                                                                   \
    WM_EXPORT("wasmill_init_v1") uint32_t wm_export_init(const uint8_t *ptr, uint32_t len) { \
        bool ok = fn((wm_bytes){ptr, len});                                                \
        wm_mark = wm_top;                                                                  \
        return ok ? 0 : 1;                                                                 \
    }

#endif
