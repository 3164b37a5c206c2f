/* Arguments from JavaScript and errors to it: see values.h. */
#include "values.h"

#include <stdio.h>
#include <uv.h>

static const char *const WRONG_ARGUMENTS = "ERR_INVALID_ARG_VALUE";

napi_value throw_misuse(napi_env env, const char *message) {
  (void)napi_throw_type_error(env, WRONG_ARGUMENTS, message);
  return NULL;
}

napi_value throw_errno(napi_env env, int error, const char *call) {
  char name[32], text[96], message[192];
  uv_err_name_r(error, name, sizeof name);
  uv_strerror_r(error, text, sizeof text);
  (void)snprintf(message, sizeof message, "%s %s: %s", call, name, text);
  napi_value code, string, object, value;
  if (napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &code) == napi_ok &&
      napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &string) == napi_ok &&
      napi_create_error(env, code, string, &object) == napi_ok &&
      napi_create_string_utf8(env, call, NAPI_AUTO_LENGTH, &value) == napi_ok &&
      napi_set_named_property(env, object, "syscall", value) == napi_ok)
    (void)napi_throw(env, object);
  return NULL;
}

bool arguments(napi_env env, napi_callback_info info, napi_value *values, size_t count) {
  size_t given = count;
  if (napi_get_cb_info(env, info, &given, values, NULL, NULL) == napi_ok && given >= count)
    return true;
  throw_misuse(env, "too few arguments");
  return false;
}

bool read_u32(napi_env env, napi_value value, uint32_t most, uint32_t *result) {
  double number;
  if (napi_get_value_double(env, value, &number) == napi_ok && number >= 0 && number <= most) {
    *result = (uint32_t)number;
    if (*result == number) return true;
  }
  throw_misuse(env, "an integer is missing or out of range");
  return false;
}

bool read_array(napi_env env, napi_value value, napi_typedarray_type type, size_t least,
                void **data, size_t *length) {
  napi_typedarray_type actual;
  bool is_array = false;
  if (napi_is_typedarray(env, value, &is_array) == napi_ok && is_array &&
      napi_get_typedarray_info(env, value, &actual, length, data, NULL, NULL) == napi_ok &&
      actual == type && *length >= least && (*data != NULL || *length == 0))
    return true;
  throw_misuse(env, "a typed array is missing, too short or of the wrong type");
  return false;
}

napi_value return_number(napi_env env, uint32_t number) {
  napi_value result = NULL;
  (void)napi_create_uint32(env, number, &result);
  return result;
}
