/*
 * Arguments from JavaScript and errors to it: what every function of addon.c has in common. The
 * readers check, and throw before they return false; the throwers return NULL.
 */
#ifndef WAYPOST_VALUES_H
#define WAYPOST_VALUES_H

#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A TypeError: the caller is wrong, not the system. */
napi_value throw_misuse(napi_env env, const char *message);

/*
 * An Error with `code` and `syscall`, as Node's own sockets throw them. `error` is a negative
 * errno.
 */
napi_value throw_errno(napi_env env, int error, const char *call);

/* Reads exactly `count` arguments. */
bool arguments(napi_env env, napi_callback_info info, napi_value *values, size_t count);

/* An integer from 0 to `most`. */
bool read_u32(napi_env env, napi_value value, uint32_t most, uint32_t *result);

/* A typed array of `type` with at least `least` elements. */
bool read_array(napi_env env, napi_value value, napi_typedarray_type type, size_t least,
                void **data, size_t *length);

napi_value return_number(napi_env env, uint32_t number);

#endif
