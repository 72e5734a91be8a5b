/*
 * What the module's parts share of Envoy's interface for dynamic modules
 * (source/extensions/dynamic_modules/abi/abi.h of Envoy 1.40). Each part declares the
 * functions that it calls itself.
 */
#ifndef POSTERN_ENVOY_H
#define POSTERN_ENVOY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ABI "v0.2.0"

typedef struct {
  const char *at;
  size_t size;
} text;

enum { REQUEST_HEADERS = 0, RESPONSE_HEADERS = 2 };

/* Everything else stays hidden. */
#define HOOK __attribute__((visibility("default")))
#define WORD(s) ((text){(s), sizeof(s) - 1})

#endif
