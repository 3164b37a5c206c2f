/*
 * System calls that fail the way the kernel may, for the fuzz run: the addon is compiled with
 * -Drecvmmsg=shim_recvmmsg and so on, this file without.
 * Most calls pass through; WAYPOST_FAULTS=0 passes all.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

int shim_recvmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags,
                  struct timespec *timeout);
int shim_sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags);
int shim_eventfd(unsigned int count, int flags);
int shim_eventfd_read(int fd, eventfd_t *value);
int shim_eventfd_write(int fd, eventfd_t value);

static unsigned int next(void) {
  static __thread unsigned int state = 1;
  static int off = -1;
  if (off < 0) {
    const char *text = getenv("WAYPOST_FAULTS");
    off = text != NULL && text[0] == '0';
  }
  state = state * 1664525u + 1013904223u;
  return off ? 0 : (state >> 16) & 63;
}

static int fail(int error) {
  errno = error;
  return -1;
}

int shim_recvmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags,
                  struct timespec *timeout) {
  switch (next()) {
    case 1: return fail(EINTR);
    case 2: return fail(EAGAIN);
    case 3: return fail(ENOMEM);
    case 4: return fail(ENETDOWN);
    case 5: return fail(EBADF);
    case 6: count = count / 2; break;
    default: break;
  }
  return recvmmsg(fd, messages, count, flags, timeout);
}

int shim_sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags) {
  switch (next()) {
    case 1: return fail(EINTR);
    case 2: return fail(EAGAIN);
    case 3: return fail(ENOBUFS);
    case 4: return fail(EPERM);
    case 5: return fail(ENETUNREACH);
    case 6: return fail(EMSGSIZE);
    case 7: return 0;
    case 8:
    case 9:
    case 10: count = 1 + count / 3; break;
    default: break;
  }
  return sendmmsg(fd, messages, count, flags);
}

int shim_eventfd(unsigned int count, int flags) {
  switch (next()) {
    case 1: return fail(EMFILE);
    case 2: return fail(ENOMEM);
    default: return eventfd(count, flags);
  }
}

int shim_eventfd_read(int fd, eventfd_t *value) {
  switch (next()) {
    case 1: return fail(EINTR);
    case 2: return fail(EAGAIN);
    default: return eventfd_read(fd, value);
  }
}

int shim_eventfd_write(int fd, eventfd_t value) {
  switch (next()) {
    case 1: return fail(EINTR);
    default: return eventfd_write(fd, value);
  }
}
