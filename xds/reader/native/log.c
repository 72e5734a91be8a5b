/*
 * Writes Envoy's access log to Postern: a small record of what Postern reads, for each
 * request and each attempt that failed. Envoy's own log to a service copies some forty
 * fields and all metadata of a request, each in an object of its own, and costs five
 * times as much.
 *
 * A worker puts its record into a box, which is bounded; when it is full, records are
 * dropped and counted. A thread of this module, which is no worker, sends what lies in
 * the box through a Unix socket, ten times a second, and keeps it until it is told that
 * it came: what a reader that died had not taken is sent again to the next one.
 *
 * The one lock is held for as long as it takes to copy a record or to turn a pointer.
 *
 * On the wire, numbers little-endian. From here, at the begin: "PLG1", 16 bytes that name
 * this process. Then frames: 4 bytes of size, 4 of the number of records, 8 of the
 * frame's number, which grows by one; each record has its size (a varint) before it and
 * is fields as in protobuf's wire format, without nesting (usage/record.go has the same
 * numbers). From there: 8 bytes, the number of a frame that came with all before it.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "envoy.h"

enum {
  CLIP = 512,        /* of a text that is longer so much is told; the reader keeps less */
  RAW = 2048,        /* of a usage object, which is never longer (usage.c) */
  RECORD = 16384,    /* all fields at their longest, and room */
  FRAME = 65536 - 64,
  FRAMES = 256,      /* 16 MiB: some 50,000 records */
  SPARE = 8,         /* empty frames that are kept */
  TICK = 100,        /* ms from a record to its sending, at most */
};

/* ---- Envoy's side ---- */

typedef struct {
  int64_t begun, whole, first_sent, last_sent, first_got, last_got, first_answered, last_answered;
} timing; /* the first by the wall clock, the others from there, in ns; -1 is none */

typedef struct {
  uint64_t received, sent, wire_received, wire_sent;
} bytes;

int envoy_dynamic_module_callback_access_logger_config_define_counter(void *, text, size_t *);
int envoy_dynamic_module_callback_access_logger_increment_counter(void *, size_t, uint64_t);
void envoy_dynamic_module_callback_access_logger_get_timing_info(void *, timing *);
void envoy_dynamic_module_callback_access_logger_get_bytes_info(void *, bytes *);
uint64_t envoy_dynamic_module_callback_access_logger_get_response_flags(void *);
uint32_t envoy_dynamic_module_callback_access_logger_get_response_code(void *);
uint32_t envoy_dynamic_module_callback_access_logger_get_attempt_count(void *);
bool envoy_dynamic_module_callback_access_logger_get_response_code_details(void *, text *);
bool envoy_dynamic_module_callback_access_logger_get_route_name(void *, text *);
bool envoy_dynamic_module_callback_access_logger_get_request_id(void *, text *);
bool envoy_dynamic_module_callback_access_logger_get_upstream_cluster(void *, text *);
bool envoy_dynamic_module_callback_access_logger_get_upstream_transport_failure_reason(void *, text *);
bool envoy_dynamic_module_callback_access_logger_get_upstream_remote_address(void *, text *, uint32_t *);
bool envoy_dynamic_module_callback_access_logger_get_downstream_direct_remote_address(void *, text *, uint32_t *);
bool envoy_dynamic_module_callback_access_logger_get_header_value(void *, int, text, text *, size_t, size_t *);
bool envoy_dynamic_module_callback_access_logger_get_dynamic_metadata(void *, text, text, text *);
bool envoy_dynamic_module_callback_access_logger_get_dynamic_metadata_number(void *, text, text, double *);

/* ---- A record ---- */

/* The fields; usage/record.go reads them. */
enum {
  KIND = 1, BEGUN, WHOLE, FIRST_SENT, FIRST_GOT, LAST_GOT, FIRST_ANSWERED, LAST_ANSWERED,
  STATUS, FLAGS, ATTEMPTS, BYTES_IN, BYTES_OUT, PORT, ADDRESS,
  ID, STREAM_ID, PATH, ORIGINAL_PATH, CLUSTER, ROUTE, FAILURE, DETAILS, CONFIG, MEDIA, RETRY,
  TENANT, KEY, USER, TIER, MODEL, LANE, FORM,
  SAID, INPUT, OUTPUT, TOTAL, CACHED, WRITTEN, REASONING, FAILED, PEER,
  REFUSED,
};

typedef struct {
  size_t size;
  char bytes[RECORD];
} record;

static void put_varint(record *r, uint64_t n) {
  for (; n >= 0x80; n >>= 7) r->bytes[r->size++] = (char)(n | 0x80);
  r->bytes[r->size++] = (char)n;
}

static void put_number(record *r, int field, uint64_t n) {
  put_varint(r, (uint64_t)field << 3);
  put_varint(r, n);
}

/* put_time writes a time, if there is one. */
static void put_time(record *r, int field, int64_t ns) {
  if (ns >= 0) put_number(r, field, (uint64_t)ns);
}

static void put_text(record *r, int field, text t, size_t most) {
  if (!t.at || t.size == 0) return;
  if (t.size > most) t.size = most;
  put_varint(r, (uint64_t)field << 3 | 2);
  put_varint(r, t.size);
  memcpy(r->bytes + r->size, t.at, t.size);
  r->size += t.size;
}

static void put_double(record *r, int field, double d) {
  put_varint(r, (uint64_t)field << 3 | 1);
  uint64_t bits;
  memcpy(&bits, &d, sizeof bits);
  for (int i = 0; i < 8; i++) r->bytes[r->size++] = (char)(bits >> 8 * i);
}

static void put_header(record *r, int field, void *envoy, int from, text name) {
  text value = {NULL, 0};
  if (envoy_dynamic_module_callback_access_logger_get_header_value(envoy, from, name, &value, 0, NULL))
    put_text(r, field, value, CLIP);
}

static bool put_metadata(record *r, int field, void *envoy, text name, text path, size_t most) {
  text value = {NULL, 0};
  if (!envoy_dynamic_module_callback_access_logger_get_dynamic_metadata(envoy, name, path, &value)) return false;
  put_text(r, field, value, most);
  return true;
}

static void put_metadata_number(record *r, int field, void *envoy, text path) {
  double value;
  if (envoy_dynamic_module_callback_access_logger_get_dynamic_metadata_number(envoy, WORD("postern.usage"), path, &value))
    put_double(r, field, value);
}

/* put_said writes what the provider said that it used: its own object, or the numbers
 * that were read of an answer in another form. */
static void put_said(record *r, void *envoy) {
  if (put_metadata(r, SAID, envoy, WORD("postern.usage"), WORD("raw"), RAW)) return;
  put_metadata_number(r, INPUT, envoy, WORD("input"));
  put_metadata_number(r, OUTPUT, envoy, WORD("output"));
  put_metadata_number(r, TOTAL, envoy, WORD("total"));
  put_metadata_number(r, CACHED, envoy, WORD("cached"));
  put_metadata_number(r, WRITTEN, envoy, WORD("written"));
  put_metadata_number(r, REASONING, envoy, WORD("reasoning"));
  put_metadata(r, FAILED, envoy, WORD("postern.usage"), WORD("failed"), CLIP);
}

static void put_caller(record *r, void *envoy) {
  text keys = WORD("envoy.filters.http.jwt_authn");
  if (!put_metadata(r, KEY, envoy, keys, WORD("jwt.jti"), CLIP)) return; /* nobody known */
  put_metadata(r, TENANT, envoy, keys, WORD("jwt.tenant"), CLIP);
  put_metadata(r, USER, envoy, keys, WORD("jwt.sub"), CLIP);
  put_metadata(r, TIER, envoy, keys, WORD("jwt.tier"), CLIP);
}

/* put_peer writes the connection that the request came by. */
static void put_peer(record *r, void *envoy) {
  text address = {NULL, 0};
  uint32_t port = 0;
  char whole[64];
  if (!envoy_dynamic_module_callback_access_logger_get_downstream_direct_remote_address(envoy, &address, &port)) return;
  int n = snprintf(whole, sizeof whole, "%.*s:%u", (int)(address.size < 48 ? address.size : 48), address.at, port);
  put_text(r, PEER, (text){whole, (size_t)n}, sizeof whole - 1);
}

static void put_times(record *r, void *envoy) {
  timing t;
  envoy_dynamic_module_callback_access_logger_get_timing_info(envoy, &t);
  put_time(r, BEGUN, t.begun);
  put_time(r, WHOLE, t.whole);
  put_time(r, FIRST_SENT, t.first_sent);
  put_time(r, FIRST_GOT, t.first_got);
  put_time(r, LAST_GOT, t.last_got);
  put_time(r, FIRST_ANSWERED, t.first_answered);
  put_time(r, LAST_ANSWERED, t.last_answered);
}

/* put_upstream writes whom the last attempt went to. Where it failed its address says
 * whether it was the one that nobody has (xds: the sink). */
static void put_upstream(record *r, void *envoy, uint64_t flags) {
  text t = {NULL, 0};
  uint32_t port = 0;
  if (envoy_dynamic_module_callback_access_logger_get_upstream_cluster(envoy, &t)) put_text(r, CLUSTER, t, CLIP);
  if (flags == 0) return;
  if (envoy_dynamic_module_callback_access_logger_get_upstream_transport_failure_reason(envoy, &t))
    put_text(r, FAILURE, t, CLIP);
  if (envoy_dynamic_module_callback_access_logger_get_upstream_remote_address(envoy, &t, &port)) {
    put_number(r, PORT, port);
    put_text(r, ADDRESS, t, CLIP);
  }
}

enum { UPSTREAM_END = 9 }; /* envoy.data.accesslog.v3.AccessLogType */

static void fill(record *r, void *envoy, int kind) {
  r->size = 0;
  text t = {NULL, 0};
  bytes b;
  uint64_t flags = envoy_dynamic_module_callback_access_logger_get_response_flags(envoy);
  envoy_dynamic_module_callback_access_logger_get_bytes_info(envoy, &b);
  put_number(r, KIND, (uint64_t)kind);
  put_times(r, envoy);
  put_number(r, STATUS, envoy_dynamic_module_callback_access_logger_get_response_code(envoy));
  if (flags) put_number(r, FLAGS, flags);
  put_number(r, ATTEMPTS, envoy_dynamic_module_callback_access_logger_get_attempt_count(envoy));
  put_number(r, BYTES_IN, b.received);
  put_number(r, BYTES_OUT, b.sent);
  put_upstream(r, envoy, flags);
  put_peer(r, envoy);
  put_header(r, ID, envoy, REQUEST_HEADERS, WORD("x-request-id"));
  put_header(r, PATH, envoy, REQUEST_HEADERS, WORD(":path"));
  if (envoy_dynamic_module_callback_access_logger_get_route_name(envoy, &t)) put_text(r, ROUTE, t, CLIP);
  if (envoy_dynamic_module_callback_access_logger_get_response_code_details(envoy, &t)) put_text(r, DETAILS, t, CLIP);
  if (kind == UPSTREAM_END) {
    put_header(r, RETRY, envoy, RESPONSE_HEADERS, WORD("retry-after"));
    put_header(r, REFUSED, envoy, RESPONSE_HEADERS, WORD("x-amzn-errortype"));
    return;
  }
  put_header(r, ORIGINAL_PATH, envoy, REQUEST_HEADERS, WORD("x-envoy-original-path"));
  if (envoy_dynamic_module_callback_access_logger_get_request_id(envoy, &t)) put_text(r, STREAM_ID, t, CLIP);
  put_header(r, CONFIG, envoy, RESPONSE_HEADERS, WORD("x-postern-config"));
  put_header(r, MEDIA, envoy, RESPONSE_HEADERS, WORD("content-type"));
  put_caller(r, envoy);
  put_metadata(r, MODEL, envoy, WORD("postern.request"), WORD("model"), CLIP);
  put_metadata(r, LANE, envoy, WORD("postern.request"), WORD("lane"), CLIP);
  put_metadata(r, FORM, envoy, WORD("postern.form"), WORD("path"), CLIP);
  put_said(r, envoy);
}

/* ---- The box ---- */

typedef struct frame {
  struct frame *next;
  uint64_t number;
  uint32_t size, count;
  char bytes[FRAME];
} frame;

static struct {
  pthread_mutex_t lock;
  struct sockaddr_un place; /* of the reader */
  bool begun;               /* the sender runs */
  frame *first, *last;      /* in order; first is the oldest that nobody said came */
  frame *unsent;            /* of them, the first that this connection has not had */
  bool open;                /* records may be added to last */
  frame *spare;
  size_t frames, spares;
  uint64_t numbers;
} box = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void lock(void) { pthread_mutex_lock(&box.lock); }
static void unlock(void) { pthread_mutex_unlock(&box.lock); }

/* another gives an empty frame at the end, if the box is not full. */
static frame *another(void) {
  if (box.frames >= FRAMES) return NULL;
  frame *f = box.spare;
  if (f) {
    box.spare = f->next;
    box.spares--;
  } else if (!(f = malloc(sizeof *f))) {
    return NULL;
  }
  f->next = NULL;
  f->number = ++box.numbers;
  f->size = f->count = 0;
  if (box.last) box.last->next = f;
  if (!box.first) box.first = f;
  if (!box.unsent) box.unsent = f;
  box.last = f;
  box.open = true;
  box.frames++;
  return f;
}

static void *deliver(void *unused);

/* begin starts the sender, with the first record: who only checks a configuration has
 * none. */
static void begin(void) {
  box.begun = true;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are Envoy's business */
  pthread_t sender;
  if (pthread_create(&sender, NULL, deliver, NULL) == 0) pthread_detach(sender);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* store puts a record, its size before it, into the box; false if that is full. */
static bool store(const record *r) {
  record size;
  size.size = 0;
  put_varint(&size, r->size);
  lock();
  if (!box.begun) begin();
  frame *f = box.last;
  if (!box.open || f->size + size.size + r->size > FRAME) f = another();
  if (f) {
    memcpy(f->bytes + f->size, size.bytes, size.size);
    memcpy(f->bytes + f->size + size.size, r->bytes, r->size);
    f->size += (uint32_t)(size.size + r->size);
    f->count++;
  }
  unlock();
  return f != NULL;
}

/* ---- The sender ---- */

/* next gives what is to be sent, and closes it. */
static frame *next(void) {
  lock();
  frame *f = box.unsent;
  if (f && f == box.last) box.open = false;
  unlock();
  return f;
}

static void sent(const frame *f) {
  lock();
  box.unsent = f->next;
  unlock();
}

/* again has everything sent that nobody said came. */
static void again(void) {
  lock();
  box.unsent = box.first;
  unlock();
}

/* came lets go of a frame and all before it. Only what was sent can have come. */
static void came(uint64_t number) {
  frame *gone = NULL;
  lock();
  while (box.first && box.first != box.unsent && box.first->number <= number) {
    frame *f = box.first;
    box.first = f->next;
    if (!box.first) {
      box.last = NULL;
      box.open = false;
    }
    box.frames--;
    if (box.spares < SPARE) {
      f->next = box.spare;
      box.spare = f;
      box.spares++;
    } else {
      f->next = gone;
      gone = f;
    }
  }
  unlock();
  while (gone) {
    frame *f = gone;
    gone = f->next;
    free(f);
  }
}

static void put_le(unsigned char *at, uint64_t n, int bytes) {
  for (int i = 0; i < bytes; i++) at[i] = (unsigned char)(n >> 8 * i);
}

static bool send_all(int fd, const void *data, size_t size) {
  for (const char *at = data; size > 0;) {
    ssize_t n = send(fd, at, size, MSG_NOSIGNAL);
    if (n <= 0) return false;
    at += n;
    size -= (size_t)n;
  }
  return true;
}

/* dial connects and says who this is; -1 if nobody is there. */
static int dial(const unsigned char name[16]) {
  lock();
  struct sockaddr_un place = box.place;
  unlock();
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  if (connect(fd, (struct sockaddr *)&place, sizeof place) == 0 && send_all(fd, "PLG1", 4) && send_all(fd, name, 16)) {
    again();
    return fd;
  }
  close(fd);
  return -1;
}

static bool send_frame(int fd, const frame *f) {
  unsigned char head[16];
  put_le(head, f->size, 4);
  put_le(head + 4, f->count, 4);
  put_le(head + 8, f->number, 8);
  return send_all(fd, head, sizeof head) && send_all(fd, f->bytes, f->size);
}

typedef struct {
  unsigned char bytes[8];
  size_t size;
} half; /* of a number that comes */

/* hear reads what the reader says, as much as there is; false if it is gone. */
static bool hear(int fd, half *h) {
  unsigned char in[512];
  ssize_t n;
  while ((n = recv(fd, in, sizeof in, MSG_DONTWAIT)) > 0) {
    uint64_t number = 0;
    for (ssize_t i = 0; i < n; i++) {
      h->bytes[h->size++] = in[i];
      if (h->size < sizeof h->bytes) continue;
      number = 0;
      for (int b = 7; b >= 0; b--) number = number << 8 | h->bytes[b];
      h->size = 0;
    }
    if (number) came(number);
  }
  return n < 0; /* 0 is the end; what else may be wrong shows when it is written to */
}

static void *deliver(void *unused) {
  (void)unused;
  unsigned char name[16] = {0};
  if (getrandom(name, sizeof name, 0) != sizeof name) put_le(name, (uint64_t)getpid(), 8);
  int fd = -1;
  half heard = {.size = 0};
  for (;;) {
    struct pollfd at = {.fd = fd, .events = 0};
    poll(&at, 1, TICK);
    if (fd < 0) {
      fd = dial(name);
      heard.size = 0;
    }
    bool well = fd >= 0;
    for (frame *f; well && (f = next());) {
      if (!(well = send_frame(fd, f))) break;
      sent(f);
      well = hear(fd, &heard);
    }
    if (well && hear(fd, &heard)) continue;
    if (fd >= 0) close(fd);
    fd = -1;
  }
  return NULL;
}

/* ---- What Envoy calls ---- */

typedef struct {
  void *envoy;
  size_t written, dropped; /* counters */
} config;

HOOK const void *envoy_dynamic_module_on_access_logger_config_new(void *envoy, text name, text place) {
  (void)name;
  if (place.size >= sizeof box.place.sun_path) return NULL; /* Envoy refuses the configuration */
  config *c = calloc(1, sizeof *c);
  if (!c) return NULL;
  c->envoy = envoy;
  envoy_dynamic_module_callback_access_logger_config_define_counter(envoy, WORD("log_written"), &c->written);
  envoy_dynamic_module_callback_access_logger_config_define_counter(envoy, WORD("log_dropped"), &c->dropped);
  lock();
  box.place = (struct sockaddr_un){.sun_family = AF_UNIX};
  memcpy(box.place.sun_path, place.at, place.size);
  unlock();
  return c;
}

HOOK void envoy_dynamic_module_on_access_logger_config_destroy(const void *c) { free((void *)c); }

HOOK const void *envoy_dynamic_module_on_access_logger_new(const void *c, void *envoy) {
  (void)envoy;
  return c;
}

HOOK void envoy_dynamic_module_on_access_logger_destroy(const void *logger) { (void)logger; }

HOOK void envoy_dynamic_module_on_access_logger_log(void *envoy, const void *logger, int kind) {
  const config *c = logger;
  record r;
  fill(&r, envoy, kind);
  size_t counter = store(&r) ? c->written : c->dropped;
  envoy_dynamic_module_callback_access_logger_increment_counter(c->envoy, counter, 1);
}
