/* Plays Envoy for usage.c: bodies come by stdin, what is left of them goes to stdout. Built
 * with sanitizers, so that a wrong access is a crash.
 *
 * A case: byte 1 if it is a stream, byte 1 if it is stripped, byte 1 if trailers end it,
 * and pieces: byte 1 for one more; byte 1 if it is the last; 4 bytes of a count of slices;
 * each slice 4 bytes of size and the bytes. The answer: 4 bytes of size and the body, and
 * the same of the usage object; size 0xFFFFFFFF for none. Numbers are little-endian. */
#define _GNU_SOURCE
#include <stdio.h>
#include "../native/usage.c"

static text *slices;
static size_t count;
static char *appended, *out, *noted;
static size_t appended_size, out_size, noted_size;
static uint8_t is_stream, is_stripped, has_trailers;
static bool buffered;

static void *grow(void *p, size_t n) {
  p = realloc(p, n ? n : 1);
  if (!p) abort();
  return p;
}
static bool take(void *p, size_t n) { return fread(p, 1, n, stdin) == n; }
static uint32_t number(void) {
  uint8_t b[4];
  if (!take(b, 4)) exit(2);
  return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}
static void give(const char *p, size_t n) {
  uint8_t b[4] = {n, n >> 8, n >> 16, n >> 24};
  fwrite(b, 1, 4, stdout);
  if (p) fwrite(p, 1, n, stdout);
}

bool envoy_dynamic_module_callback_http_get_header(void *e, int kind, text key, text *v, size_t i, size_t *n) {
  if (e != &count || kind != RESPONSE_HEADERS || i != 0 || n) abort();
  if (equal(key, WORD(":status"))) *v = WORD("200");
  else if (equal(key, WORD("content-type"))) *v = is_stream ? WORD("text/event-stream; charset=utf-8") : WORD("application/json");
  else return false;
  return true;
}
bool envoy_dynamic_module_callback_http_set_header(void *e, int kind, text key, text v) {
  if (e != &count || kind != RESPONSE_HEADERS || !equal(key, WORD("content-length")) || v.at) abort();
  return true;
}
bool envoy_dynamic_module_callback_http_get_metadata_bool(void *e, int from, text ns, text key, bool *v) {
  if (e != &count || from != DYNAMIC || !equal(ns, WORD("postern.request")) || !equal(key, WORD("strip"))) abort();
  *v = true;
  return is_stripped;
}
void envoy_dynamic_module_callback_http_set_dynamic_metadata_string(void *e, text ns, text key, text v) {
  if (e != &count || !equal(ns, WORD("postern.usage")) || !equal(key, WORD("raw"))) abort();
  noted = grow(noted, v.size);
  memcpy(noted, v.at, v.size);
  noted_size = v.size;
}
size_t envoy_dynamic_module_callback_http_get_body_chunks_size(void *e, int kind) {
  if (e != &count || kind != RECEIVED_RESPONSE) abort();
  return count;
}
bool envoy_dynamic_module_callback_http_get_body_chunks(void *e, int kind, text *to) {
  if (e != &count || kind != RECEIVED_RESPONSE || !count) abort();
  memcpy(to, slices, count * sizeof *to);
  return true;
}
bool envoy_dynamic_module_callback_http_append_body(void *e, int kind, text t) {
  if (e != &count || kind != (buffered ? BUFFERED_RESPONSE : RECEIVED_RESPONSE)) abort();
  appended = grow(appended, appended_size + t.size);
  memcpy(appended + appended_size, t.at, t.size);
  appended_size += t.size;
  return true;
}
static size_t drained;
bool envoy_dynamic_module_callback_http_drain_body(void *e, int kind, size_t n) {
  if (e != &count || kind != RECEIVED_RESPONSE) abort();
  drained += n;
  return true;
}

static size_t out_room;
static void put(const char *p, size_t n) {
  if (out_size + n > out_room) out = grow(out, out_room = 2 * (out_size + n));
  if (n) memcpy(out + out_size, p, n);
  out_size += n;
}

/* leave adds to the output what is left of a piece: its slices without what was drained,
 * and what was appended. */
static void leave(void) {
  size_t whole = 0;
  for (size_t i = 0; i < count; i++) whole += slices[i].size;
  if (drained != 0 && drained != whole) abort();
  for (size_t i = 0; i < count; i++) {
    if (!drained) put(slices[i].at, slices[i].size);
    free((char *)slices[i].at);
  }
  put(appended, appended_size);
  appended_size = drained = count = 0;
}

int main(void) {
  const void *config = envoy_dynamic_module_on_http_filter_config_new(NULL, WORD(""), WORD(""));
  while (take(&is_stream, 1)) {
    if (!take(&is_stripped, 1) || !take(&has_trailers, 1)) exit(2);
    const void *f = envoy_dynamic_module_on_http_filter_new(config, &count);
    envoy_dynamic_module_on_http_filter_response_headers(&count, f, false);
    out_size = 0, noted_size = UINT32_MAX, buffered = false;
    for (uint8_t more, end; take(&more, 1) && more;) {
      if (!take(&end, 1)) exit(2);
      count = number();
      slices = grow(slices, count * sizeof *slices);
      for (size_t i = 0; i < count; i++) {
        size_t n = number();
        char *p = grow(NULL, n);
        if (n && !take(p, n)) exit(2);
        slices[i] = (text){p, n};
      }
      envoy_dynamic_module_on_http_filter_response_body(&count, f, end);
      if (((answer *)f)->room > ENDS) abort();
      leave();
    }
    buffered = true;
    if (has_trailers) envoy_dynamic_module_on_http_filter_response_trailers(&count, f);
    leave();
    envoy_dynamic_module_on_http_filter_destroy(f);
    give(out, out_size);
    give(noted_size == UINT32_MAX ? NULL : noted, noted_size);
    fflush(stdout);
  }
  envoy_dynamic_module_on_http_filter_config_destroy(config);
  free(slices), free(appended), free(out), free(noted);
  return 0;
}
