/*
 * Wake-ups across threads: an eventfd that one thread watches (watch.h) and any thread signals.
 * Nothing here knows of JavaScript. Functions return 0 or a descriptor on success and a negative
 * errno on failure; `*call` then names the system call that failed.
 */
#ifndef WAYPOST_EVENT_H
#define WAYPOST_EVENT_H

int event_open(const char **call);

/* A duplicate of an event's descriptor; whichever is closed first, the other stays what it was. */
int event_duplicate(int fd, const char **call);

/* Makes the descriptor readable. Never waits. */
int event_signal(int fd);

/* Makes the descriptor unreadable. Returns 1 if it was readable, else 0. Never waits. */
int event_drain(int fd);

#endif
