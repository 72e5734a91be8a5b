/* Plays Envoy for log.c: its only argument is the reader's socket. Each line of stdin,
 * "THREADS RECORDS", has so many threads log so many records each; the answer is a line
 * with the numbers of records that were written and dropped since the begin. A record's
 * id is THREAD.NUMBER.LINE. Built with sanitizers, so that a wrong access or a race is a
 * failure. */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdio.h>
#include "../native/log.c"

static atomic_ullong counters[2];
static const void *logger;
static int line, envoy;
static char much[8192];

typedef struct {
  int thread, count;
} job;

static _Thread_local int now, thread;
static _Thread_local char id[64];

int envoy_dynamic_module_callback_access_logger_config_define_counter(void *e, text name, size_t *at) {
  if (e != &envoy) abort();
  *at = name.size == sizeof "log_dropped" - 1 && memcmp(name.at, "log_dropped", name.size) == 0;
  return 0;
}
int envoy_dynamic_module_callback_access_logger_increment_counter(void *e, size_t at, uint64_t n) {
  if (e != &envoy || at > 1) abort();
  counters[at] += n;
  return 0;
}
void envoy_dynamic_module_callback_access_logger_get_timing_info(void *e, timing *t) {
  (void)e;
  *t = (timing){1000000007, now, -1, 0, INT64_MAX, now, 7, -1};
}
void envoy_dynamic_module_callback_access_logger_get_bytes_info(void *e, bytes *b) {
  (void)e;
  *b = (bytes){UINT64_MAX, (uint64_t)now, 0, 0};
}
uint64_t envoy_dynamic_module_callback_access_logger_get_response_flags(void *e) { (void)e; return now % 3 ? 0 : 1ull << 5; }
uint32_t envoy_dynamic_module_callback_access_logger_get_response_code(void *e) { (void)e; return 200; }
uint32_t envoy_dynamic_module_callback_access_logger_get_attempt_count(void *e) { (void)e; return 1; }

/* some gives a text of a length that changes with the record, and with the field. */
static bool some(text *t, size_t of) {
  *t = (text){much, (size_t)now * 7 % of};
  return now % 5 != 0;
}
bool envoy_dynamic_module_callback_access_logger_get_response_code_details(void *e, text *t) { (void)e; return some(t, 600); }
bool envoy_dynamic_module_callback_access_logger_get_route_name(void *e, text *t) { (void)e; return some(t, 30); }
bool envoy_dynamic_module_callback_access_logger_get_request_id(void *e, text *t) { (void)e; return some(t, 5000); }
bool envoy_dynamic_module_callback_access_logger_get_upstream_cluster(void *e, text *t) { (void)e; return some(t, 40); }
bool envoy_dynamic_module_callback_access_logger_get_upstream_transport_failure_reason(void *e, text *t) { (void)e; return some(t, 5000); }
bool envoy_dynamic_module_callback_access_logger_get_upstream_remote_address(void *e, text *t, uint32_t *port) {
  (void)e;
  *t = WORD("127.0.0.1");
  *port = 1;
  return true;
}
bool envoy_dynamic_module_callback_access_logger_get_downstream_direct_remote_address(void *e, text *t, uint32_t *port) {
  (void)e;
  *port = UINT32_MAX;
  return some(t, 200);
}
bool envoy_dynamic_module_callback_access_logger_get_header_value(void *e, int from, text name, text *t, size_t i, size_t *n) {
  (void)e;
  if (i != 0 || n || (from != REQUEST_HEADERS && from != RESPONSE_HEADERS)) abort();
  if (name.size == 12 && memcmp(name.at, "x-request-id", 12) == 0) {
    *t = (text){id, strlen(id)};
    return true;
  }
  return some(t, 8192);
}
bool envoy_dynamic_module_callback_access_logger_get_dynamic_metadata(void *e, text name, text path, text *t) {
  (void)e, (void)name, (void)path;
  return now % 2 ? some(t, 8192) : false;
}
bool envoy_dynamic_module_callback_access_logger_get_dynamic_metadata_number(void *e, text name, text path, double *d) {
  (void)e, (void)name, (void)path;
  *d = now;
  return now % 2 == 0;
}

static void *work(void *of) {
  job *j = of;
  thread = j->thread;
  for (now = 0; now < j->count; now++) {
    snprintf(id, sizeof id, "%d.%d.%d", thread, now, line);
    envoy_dynamic_module_on_access_logger_log(&envoy, logger, now % 4 ? 6 : UPSTREAM_END);
  }
  return NULL;
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  for (size_t i = 0; i < sizeof much; i++) much[i] = (char)('a' + i % 26);
  const void *c = envoy_dynamic_module_on_access_logger_config_new(&envoy, WORD("records"), (text){argv[1], strlen(argv[1])});
  if (!c) return 3;
  if (envoy_dynamic_module_on_access_logger_config_new(&envoy, WORD("long"), (text){much, 200})) return 4;
  logger = envoy_dynamic_module_on_access_logger_new(c, &envoy);
  for (int threads, each; scanf("%d %d", &threads, &each) == 2; line++) {
    pthread_t all[64];
    job jobs[64];
    for (int i = 0; i < threads; i++) {
      jobs[i] = (job){i, each};
      if (pthread_create(&all[i], NULL, work, &jobs[i])) abort();
    }
    for (int i = 0; i < threads; i++) pthread_join(all[i], NULL);
    printf("%llu %llu\n", (unsigned long long)counters[0], (unsigned long long)counters[1]);
    fflush(stdout);
  }
  envoy_dynamic_module_on_access_logger_destroy(logger);
  envoy_dynamic_module_on_access_logger_config_destroy(c);
  return 0;
}
