#include "event.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(const char **call, const char *name) {
  *call = name;
  return -errno;
}

int event_open(const char **call) {
  int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return fd < 0 ? fail(call, "eventfd") : fd;
}

/*
 * Signals must never end up in somebody's file or connection, nor wait. An event has an inode
 * without a type; of the other descriptors that have none (epoll, timers, ...) none takes writes.
 */
static int check(int fd, const char **call) {
  /* Not fstat, which would need glibc 2.33 where that is what the prebuild is linked with. */
  struct statx facts;
  if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &facts) != 0) return fail(call, "statx");
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return fail(call, "fcntl");
  *call = "eventfd";
  return (facts.stx_mode & S_IFMT) == 0 && (flags & O_NONBLOCK) != 0 ? 0 : -EINVAL;
}

int event_duplicate(int fd, const char **call) {
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) return fail(call, "fcntl");
  int error = check(copy, call);
  if (error == 0) return copy;
  close(copy);
  return error;
}

int event_signal(int fd) {
  for (;;) {
    if (eventfd_write(fd, 1) == 0) return 0;
    if (errno == EAGAIN) return 0; /* the counter is full: readable already */
    if (errno != EINTR) return -errno;
  }
}

int event_drain(int fd) {
  eventfd_t signals;
  for (;;) {
    if (eventfd_read(fd, &signals) == 0) return 1;
    if (errno == EAGAIN) return 0;
    if (errno != EINTR) return -errno;
  }
}
