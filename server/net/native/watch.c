#include "watch.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <uv.h>

#include "event.h"

/*
 * Lives until the loop has let go of the poll handle, also when the environment ends first: the
 * async cleanup hook keeps the environment's loop turning until then.
 */
struct watch {
  uv_poll_t poll;
  int fd;
  bool event;
  napi_env env;
  napi_ref callback;
  napi_async_cleanup_hook_handle hook;
  struct watch **owner;
};

static void on_closed(uv_handle_t *handle) {
  struct watch *watch = handle->data;
  if (watch->hook != NULL) (void)napi_remove_async_cleanup_hook(watch->hook);
  free(watch);
}

void watch_stop(struct watch *watch) {
  *watch->owner = NULL;
  if (watch->callback != NULL) (void)napi_delete_reference(watch->env, watch->callback);
  watch->callback = NULL;
  uv_poll_stop(&watch->poll);
  uv_close((uv_handle_t *)&watch->poll, on_closed);
}

static void on_environment_end(napi_async_cleanup_hook_handle hook, void *data) {
  struct watch *watch = data;
  (void)hook;
  if (!uv_is_closing((uv_handle_t *)&watch->poll)) watch_stop(watch);
}

/* An exception of the callback becomes the process's uncaughtException, as with any event. */
static void call(napi_env env, napi_ref callback) {
  napi_value function, receiver, error;
  if (napi_get_reference_value(env, callback, &function) != napi_ok || function == NULL) return;
  if (napi_get_global(env, &receiver) != napi_ok) return;
  if (napi_make_callback(env, NULL, receiver, function, 0, NULL, NULL) != napi_pending_exception)
    return;
  if (napi_get_and_clear_last_exception(env, &error) == napi_ok)
    (void)napi_fatal_exception(env, error);
}

static void on_readable(uv_poll_t *poll, int status, int events) {
  struct watch *watch = poll->data;
  (void)events;
  if (watch->event) {
    /* Drained before the call: a signal from here on, for what the call may miss, calls again. */
    if (event_drain(watch->fd) == 0) return;
  } else if (status != 0) {
    /* uv has stopped polling because of a pending socket error: take the error, and poll again. */
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(watch->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0)
      (void)uv_poll_start(poll, UV_READABLE, on_readable);
    return;
  }
  napi_handle_scope scope;
  napi_env env = watch->env;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  call(env, watch->callback); /* may stop and, later in the loop's turn, free the watch */
  (void)napi_close_handle_scope(env, scope);
}

int watch_start(napi_env env, int fd, bool event, napi_value callback, struct watch **owner) {
  uv_loop_t *loop = NULL;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) return UV_ENOTSUP;
  struct watch *watch = calloc(1, sizeof *watch);
  if (watch == NULL) return UV_ENOMEM;
  watch->fd = fd;
  watch->event = event;
  watch->env = env;
  watch->owner = owner;
  watch->poll.data = watch;
  int error = uv_poll_init(loop, &watch->poll, fd);
  if (error != 0) {
    free(watch);
    return error;
  }
  *owner = watch;
  if (napi_create_reference(env, callback, 1, &watch->callback) != napi_ok ||
      napi_add_async_cleanup_hook(env, on_environment_end, watch, &watch->hook) != napi_ok) {
    watch_stop(watch);
    return UV_ENOMEM;
  }
  error = uv_poll_start(&watch->poll, UV_READABLE, on_readable);
  if (error != 0)
    watch_stop(watch);
  else if (event)
    uv_unref((uv_handle_t *)&watch->poll);
  return error;
}
