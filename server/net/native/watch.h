/* Calls a JavaScript function whenever a descriptor is readable, on the environment's own loop. */
#ifndef WAYPOST_WATCH_H
#define WAYPOST_WATCH_H

#include <node_api.h>
#include <stdbool.h>

struct watch;

/*
 * Starts watching and stores the watch in `*owner`, which must outlive it and is NULL again once
 * the watch has stopped, be it by watch_stop or by the end of the environment. The watch of a
 * socket keeps the loop alive. That of an `event` (event.h) does not: whoever signals it is alive,
 * and a thread that waits for nothing else may end. An event is drained before each call. Returns 0
 * or a negative errno.
 */
int watch_start(napi_env env, int fd, bool event, napi_value callback, struct watch **owner);

/* Stops watching, after which the descriptor may be closed. */
void watch_stop(struct watch *watch);

#endif
