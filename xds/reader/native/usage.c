/*
 * Reads the usage object of an answer, as text, into dynamic metadata, and takes the
 * chunk that holds it out of a stream whose client did not ask for it: the same as
 * usage.lua does, in Envoy's own process, for a tenth of the time. Nothing else of an
 * answer is changed or looked at.
 *
 * What comes in was written by somebody else. So: no recursion, no arithmetic on numbers
 * that were read, every length is checked before it is used, each byte is looked at a
 * few times at most, and an answer holds at most ENDS + LINE bytes of memory.
 *
 * One filter belongs to one request and is called by one thread. There is no state
 * besides it.
 */
#define _GNU_SOURCE /* memmem */
#include <stdlib.h>
#include <string.h>

#include "envoy.h"

enum {
  KEEP = 8192,      /* bytes of an answer's end that are looked at, at least */
  ENDS = 2 * KEEP,  /* and at most */
  LONGEST = 2048,   /* a usage object that is longer is none */
  LINE = 16384,     /* a line of a stream that is longer holds none */
  TRIED = 4,        /* so many of the last usage objects are looked at */
  FEW = 16,         /* slices of a body that need no memory of their own */
};

/* ---- Envoy's side ---- */

enum { RECEIVED_RESPONSE = 2, BUFFERED_RESPONSE = 3, DYNAMIC = 0, GO_ON = 0 };

bool envoy_dynamic_module_callback_http_get_header(void *, int, text, text *, size_t, size_t *);
bool envoy_dynamic_module_callback_http_set_header(void *, int, text, text);
bool envoy_dynamic_module_callback_http_get_metadata_bool(void *, int, text, text, bool *);
void envoy_dynamic_module_callback_http_set_dynamic_metadata_string(void *, text, text, text);
size_t envoy_dynamic_module_callback_http_get_body_chunks_size(void *, int);
bool envoy_dynamic_module_callback_http_get_body_chunks(void *, int, text *);
bool envoy_dynamic_module_callback_http_append_body(void *, int, text);
bool envoy_dynamic_module_callback_http_drain_body(void *, int, size_t);

/* ---- Texts ---- */

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static const char *find(text in, text what) {
  return in.size < what.size ? NULL : memmem(in.at, in.size, what.at, what.size);
}

static bool begins(text t, text with) { return t.size >= with.size && memcmp(t.at, with.at, with.size) == 0; }

static bool equal(text a, text b) { return a.size == b.size && memcmp(a.at, b.at, a.size) == 0; }

/* rest is what of a text begins at a place within it, or at its end. */
static text rest(text of, const char *at) { return (text){at, (size_t)(of.at + of.size - at)}; }

/* after passes over white space and then one character; NULL if another one stands there. */
static const char *after(text in, char c) {
  for (size_t i = 0; i < in.size; i++) {
    if (in.at[i] == c) return in.at + i + 1;
    if (!is_space(in.at[i])) return NULL;
  }
  return NULL;
}

/* object is where the object of a "usage" begins that stands right before; or NULL. */
static const char *object(text in) {
  const char *at = after(in, ':');
  if (at) at = after(rest(in, at), '{');
  return at ? at - 1 : NULL;
}

static const text USAGE = {"\"usage\"", 7};
static const text CHOICES = {"\"choices\"", 9};
static const text DATA = {"data:", 5};

/* next_usage is where the next usage object of a text begins, and leaves what follows its
 * name; or NULL. */
static const char *next_usage(text *in) {
  for (const char *at; (at = find(*in, USAGE)) != NULL;) {
    *in = rest(*in, at + USAGE.size);
    const char *begin = object(*in);
    if (begin) return begin;
  }
  return NULL;
}

/* closed is how long the object is that a text begins with; 0 if it is too long, does not
 * end, or holds what no usage object does. */
static size_t closed(text t) {
  if (t.size > LONGEST) t.size = LONGEST;
  size_t depth = 0;
  for (size_t i = 0; i < t.size; i++) {
    char c = t.at[i];
    if (!is_space(c) && (c < ' ' || c > '~')) return 0;
    if (c == '{') depth++;
    if (c == '}' && --depth == 0) return i + 1; /* the first is a '{' */
  }
  return 0;
}

/* level is in how many objects something stands that is followed by the rest of an answer,
 * or of a line; 0 if it stands in a list. What a client made up and a provider repeats (a
 * tool, a schema) stands deeper than what the provider says of the answer. */
static long level(text in, bool line) {
  long objects = 0, lists = 0;
  bool quoted = false;
  for (size_t i = 0; i < in.size && !(line && in.at[i] == '\n'); i++) {
    char c = in.at[i];
    if (quoted && c == '\\') i++;
    else if (c == '"') quoted = !quoted;
    else if (quoted) continue;
    else if (c == '{') objects--;
    else if (c == '}') objects++;
    else if (c == '[') lists--;
    else if (c == ']') lists++;
  }
  return quoted || lists != 0 ? 0 : objects;
}

/* note keeps the last usage object of a text that stands where a provider puts it. */
static void note(void *envoy, text in, bool stream) {
  const char *all[TRIED], *begin;
  size_t n = 0;
  for (text t = in; (begin = next_usage(&t)) != NULL; n++) all[n % TRIED] = begin;
  for (size_t i = 1; i <= n && i <= TRIED; i++) {
    text t = rest(in, all[(n - i) % TRIED]);
    t.size = closed(t);
    if (t.size == 0) continue;
    long open = level(rest(in, t.at + t.size), stream);
    if (open != 1 && !(stream && open == 2)) continue; /* of a stream, an event may hold the answer */
    envoy_dynamic_module_callback_http_set_dynamic_metadata_string(envoy, WORD("postern.usage"), WORD("raw"), t);
    return;
  }
}

/* ---- One answer ---- */

typedef struct {
  enum { PASS, TAIL, STRIP } way;
  char *kept;    /* TAIL: the end that went by; STRIP: a line that has not ended */
  size_t size;   /* of what is kept */
  size_t room;   /* at kept */
  bool stream;
  bool blank;    /* STRIP: the event's end goes with the line before */
  bool inside;   /* STRIP: the line's beginning went by */
} answer;

/* need makes room for so many bytes. An Envoy that gets no memory ends itself, and there
 * is no way to go on from here that changes no answer. */
static void need(answer *a, size_t size) {
  if (size <= a->room) return;
  size_t room = a->room ? a->room : 1024;
  while (room < size) room *= 2;
  char *kept = realloc(a->kept, room);
  if (!kept) abort();
  a->kept = kept;
  a->room = room;
}

static void keep(answer *a, text t) {
  need(a, a->size + t.size);
  memcpy(a->kept + a->size, t.at, t.size);
  a->size += t.size;
}

/* tail keeps the end of what goes by. */
static void tail(answer *a, text t) {
  if (t.size >= KEEP) {
    t = (text){t.at + t.size - KEEP, KEEP};
    a->size = 0;
  } else if (a->size + t.size > ENDS) {
    memmove(a->kept, a->kept + a->size - KEEP, KEEP);
    a->size = KEEP;
  }
  keep(a, t);
}

/* ---- A stream, line by line ---- */

/* pass is the rewriting of one piece of the body. As long as nothing is left out it is
 * only counted how much of the piece goes by; then what went by is written behind the
 * piece, and the piece itself is drained at the end. */
typedef struct {
  void *envoy;
  const text *slices;
  size_t count, passed;
  bool changed;
} pass;

static void append(pass *p, text t) {
  if (t.size) envoy_dynamic_module_callback_http_append_body(p->envoy, RECEIVED_RESPONSE, t);
}

/* change begins to write. */
static void change(pass *p) {
  if (p->changed) return;
  p->changed = true;
  size_t left = p->passed;
  for (size_t i = 0; i < p->count && left > 0; i++) {
    text t = p->slices[i];
    if (t.size > left) t.size = left;
    append(p, t);
    left -= t.size;
  }
}

static void emit(pass *p, text t) {
  if (p->changed)
    append(p, t);
  else
    p->passed += t.size;
}

/* flush lets go what was held. */
static void flush(answer *a, pass *p) {
  if (a->size == 0) return;
  change(p);
  append(p, (text){a->kept, a->size});
  a->size = 0;
}

/* is_object says that a line's data is no list, as far as it is known: [DONE] need not
 * wait for its end, it may be the last of all. */
static bool is_object(text line) { return begins(line, DATA) && !after(rest(line, line.at + DATA.size), '['); }

/* used says that a line tells the tokens. */
static bool used(text line) { return is_object(line) && next_usage(&line) != NULL; }

/* extra says that a line is the chunk that a stream has only because usage was asked: one
 * with no choices. */
static bool extra(text line) {
  for (const char *at; (at = find(line, CHOICES)) != NULL;) {
    line = rest(line, at + CHOICES.size);
    const char *list = after(line, ':');
    if (list) list = after(rest(line, list), '[');
    if (list && after(rest(line, list), ']')) return true;
  }
  return false;
}

/* open says that the beginning of a line may become one that is taken out. All others
 * need not wait for their end. */
static bool open(const answer *a, text line) {
  if (a->blank && equal(line, WORD("\r"))) return true;
  if (line.size < DATA.size) return begins(DATA, line);
  return line.size <= LINE && is_object(line);
}

/* stays judges a whole line. */
static bool stays(answer *a, void *envoy, text line) {
  bool blank = a->blank;
  a->blank = false;
  if (blank && (equal(line, WORD("\n")) || equal(line, WORD("\r\n")))) return false; /* the end of the event */
  if (line.size > LINE || !used(line)) return true;
  note(envoy, line, true);
  a->blank = extra(line);
  return !a->blank;
}

/* ended takes the end of a line, with its line break. */
static void ended(answer *a, pass *p, text t) {
  if (a->inside) {
    a->inside = a->blank = false;
    emit(p, t);
    return;
  }
  if (a->size > 0 && a->size + t.size <= LINE) {
    keep(a, t);
    if (stays(a, p->envoy, (text){a->kept, a->size}))
      flush(a, p);
    else
      a->size = 0;
    return;
  }
  if (a->size > 0) { /* too long */
    a->blank = false;
    flush(a, p);
    emit(p, t);
    return;
  }
  if (stays(a, p->envoy, t))
    emit(p, t);
  else
    change(p);
}

/* begun takes a part of a line that does not end here. */
static void begun(answer *a, pass *p, text t) {
  if (a->inside) {
    emit(p, t);
    return;
  }
  if (a->size + t.size <= LINE) {
    text line = t;
    if (a->size > 0) {
      keep(a, t);
      line = (text){a->kept, a->size};
    }
    if (open(a, line)) {
      if (line.at == t.at) keep(a, t);
      change(p);
      return;
    }
    if (line.at != t.at) t.size = 0; /* it is in what is held */
  }
  a->inside = true;
  flush(a, p);
  emit(p, t);
}

static void strip(answer *a, pass *p, text t) {
  while (t.size > 0) {
    const char *stop = memchr(t.at, '\n', t.size);
    if (!stop) {
      begun(a, p, t);
      return;
    }
    ended(a, p, (text){t.at, (size_t)(stop + 1 - t.at)});
    t = rest(t, stop + 1);
  }
}

/* ---- What Envoy calls ---- */

static const char unused;

HOOK const char *envoy_dynamic_module_on_program_init(void) { return ABI; }

HOOK const void *envoy_dynamic_module_on_http_filter_config_new(void *envoy, text name, text config) {
  (void)envoy, (void)name, (void)config;
  return &unused;
}
HOOK void envoy_dynamic_module_on_http_filter_config_destroy(const void *config) { (void)config; }

HOOK const void *envoy_dynamic_module_on_http_filter_new(const void *config, void *envoy) {
  (void)config, (void)envoy;
  answer *a = calloc(1, sizeof *a);
  if (!a) abort(); /* see need */
  return a;
}

HOOK void envoy_dynamic_module_on_http_filter_destroy(const void *filter) {
  answer *a = (answer *)filter;
  if (!a) return;
  free(a->kept);
  free(a);
}

static bool header(void *envoy, text name, text *value) {
  *value = (text){NULL, 0};
  return envoy_dynamic_module_callback_http_get_header(envoy, RESPONSE_HEADERS, name, value, 0, NULL) && value->at;
}

/* way says what is done with an answer. */
HOOK int envoy_dynamic_module_on_http_filter_response_headers(void *envoy, const void *filter, bool end) {
  answer *a = (answer *)filter;
  if (!a || end) return GO_ON;
  a->way = PASS;
  a->size = 0;
  text value;
  if (!header(envoy, WORD("content-type"), &value)) return GO_ON;
  bool stream = find(value, WORD("event-stream")) != NULL;
  if (!stream && !find(value, WORD("json"))) return GO_ON;
  if (!header(envoy, WORD(":status"), &value) || !equal(value, WORD("200"))) return GO_ON;
  if (header(envoy, WORD("content-encoding"), &value)) return GO_ON;
  bool taken = false;
  a->way = TAIL;
  a->stream = stream;
  if (stream && envoy_dynamic_module_callback_http_get_metadata_bool(envoy, DYNAMIC, WORD("postern.request"),
                                                                     WORD("strip"), &taken) && taken) {
    a->way = STRIP;
    /* It may become shorter. */
    envoy_dynamic_module_callback_http_set_header(envoy, RESPONSE_HEADERS, WORD("content-length"), (text){NULL, 0});
  }
  return GO_ON;
}

static void body(void *envoy, answer *a, const text *slices, size_t count, bool end) {
  if (a->way == TAIL) {
    for (size_t i = 0; i < count; i++)
      if (slices[i].size > 0) tail(a, slices[i]);
    return;
  }
  pass p = {.envoy = envoy, .slices = slices, .count = count};
  size_t whole = 0;
  if (a->size > 0) change(&p);
  for (size_t i = 0; i < count; i++) {
    whole += slices[i].size;
    if (slices[i].size > 0) strip(a, &p, slices[i]);
  }
  if (end) flush(a, &p); /* the last line has no end */
  if (p.changed && whole > 0) envoy_dynamic_module_callback_http_drain_body(envoy, RECEIVED_RESPONSE, whole);
}

HOOK int envoy_dynamic_module_on_http_filter_response_body(void *envoy, const void *filter, bool end) {
  answer *a = (answer *)filter;
  if (!a || a->way == PASS) return GO_ON;
  text few[FEW], *slices = few;
  size_t count = envoy_dynamic_module_callback_http_get_body_chunks_size(envoy, RECEIVED_RESPONSE);
  if (count > FEW) {
    slices = calloc(count, sizeof *slices);
    if (!slices) abort(); /* see need */
  }
  if (count > 0 && !envoy_dynamic_module_callback_http_get_body_chunks(envoy, RECEIVED_RESPONSE, slices)) count = 0;
  body(envoy, a, slices, count, end);
  if (slices != few) free(slices);
  if (end && a->way == TAIL) note(envoy, (text){a->kept, a->size}, a->stream);
  return GO_ON;
}

HOOK int envoy_dynamic_module_on_http_filter_response_trailers(void *envoy, const void *filter) {
  answer *a = (answer *)filter;
  if (!a || a->size == 0) return GO_ON;
  text t = {a->kept, a->size};
  if (a->way == TAIL) note(envoy, t, a->stream);
  if (a->way == STRIP) envoy_dynamic_module_callback_http_append_body(envoy, BUFFERED_RESPONSE, t);
  a->size = 0;
  return GO_ON;
}

/* Envoy asks for all of these, and calls none that nothing was begun for. */
HOOK void envoy_dynamic_module_on_http_filter_stream_complete(void *e, const void *f) { (void)e, (void)f; }
HOOK int envoy_dynamic_module_on_http_filter_request_headers(void *e, const void *f, bool end) {
  (void)e, (void)f, (void)end;
  return GO_ON;
}
HOOK int envoy_dynamic_module_on_http_filter_request_body(void *e, const void *f, bool end) {
  (void)e, (void)f, (void)end;
  return GO_ON;
}
HOOK int envoy_dynamic_module_on_http_filter_request_trailers(void *e, const void *f) {
  (void)e, (void)f;
  return GO_ON;
}
HOOK void envoy_dynamic_module_on_http_filter_scheduled(void *e, const void *f, uint64_t id) {
  (void)e, (void)f, (void)id;
}
HOOK void envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark(void *e, const void *f) {
  (void)e, (void)f;
}
HOOK void envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark(void *e, const void *f) {
  (void)e, (void)f;
}
HOOK void envoy_dynamic_module_on_http_filter_http_callout_done(void) {}
HOOK void envoy_dynamic_module_on_http_filter_http_stream_headers(void) {}
HOOK void envoy_dynamic_module_on_http_filter_http_stream_data(void) {}
HOOK void envoy_dynamic_module_on_http_filter_http_stream_trailers(void) {}
HOOK void envoy_dynamic_module_on_http_filter_http_stream_complete(void) {}
HOOK void envoy_dynamic_module_on_http_filter_http_stream_reset(void) {}
