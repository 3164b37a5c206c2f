/* Opening, adopting and describing UDP sockets: everything that happens once per socket. */
#include "socket.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <unistd.h>

static const uint8_t MAPPED[12] = {[10] = 0xff, [11] = 0xff};
static const uint8_t ZERO[16];

static int fail(const char **call, const char *name) {
  *call = name;
  return -errno;
}

static int enable(int fd, int level, int option) {
  int on = 1;
  return setsockopt(fd, level, option, &on, sizeof on);
}

/* Beyond net.core.[rw]mem_max when the process may, else as far as the system allows. */
static void size_buffer(int fd, int force, int option, uint32_t bytes) {
  if (bytes == 0) return;
  int value = bytes > INT32_MAX / 2 ? INT32_MAX / 2 : (int)bytes;
  if (setsockopt(fd, SOL_SOCKET, force, &value, sizeof value) == 0) return;
  (void)setsockopt(fd, SOL_SOCKET, option, &value, sizeof value);
}

/* Room for the names and controls is given back to the kernel's full use before each receive. */
static void prepare_batch(struct batch *batch) {
  for (uint32_t i = 0; i < BATCH; i++) {
    struct msghdr *message = &batch->messages[i].msg_hdr;
    message->msg_name = &batch->names[i];
    message->msg_namelen = sizeof batch->names[i];
    message->msg_iov = &batch->vectors[i];
    message->msg_iovlen = 1;
    message->msg_control = &batch->controls[i];
    message->msg_controllen = sizeof batch->controls[i];
  }
}

/* Reads back what the socket is bound to, and refuses what is not a bound UDP socket. */
static int describe(struct udp_socket *socket, const char **call) {
  int type = 0, protocol = 0;
  socklen_t size = sizeof type;
  if (getsockopt(socket->fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0)
    return fail(call, "getsockopt");
  size = sizeof protocol;
  if (getsockopt(socket->fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) != 0)
    return fail(call, "getsockopt");
  union name name;
  memset(&name, 0, sizeof name);
  size = sizeof name;
  if (getsockname(socket->fd, &name.any, &size) != 0) return fail(call, "getsockname");
  *call = "getsockname";
  if (type != SOCK_DGRAM || protocol != IPPROTO_UDP) return -EPROTOTYPE;

  if (name.any.sa_family == AF_INET) {
    socket->family = 4;
    socket->port = ntohs(name.v4.sin_port);
    socket->wildcard = name.v4.sin_addr.s_addr == htonl(INADDR_ANY);
    memcpy(socket->bound, MAPPED, sizeof MAPPED);
    memcpy(socket->bound + 12, &name.v4.sin_addr, 4);
  } else if (name.any.sa_family == AF_INET6) {
    socket->family = 6;
    socket->port = ntohs(name.v6.sin6_port);
    socket->wildcard = memcmp(&name.v6.sin6_addr, ZERO, 16) == 0;
    socket->scope = name.v6.sin6_scope_id;
    memcpy(socket->bound, &name.v6.sin6_addr, 16);
  } else {
    return -EAFNOSUPPORT;
  }
  if (socket->port == 0) return -EINVAL;
  if (socket->wildcard) memset(socket->bound, 0, sizeof socket->bound);

  int bytes = 0;
  size = sizeof bytes;
  if (getsockopt(socket->fd, SOL_SOCKET, SO_RCVBUF, &bytes, &size) != 0)
    return fail(call, "getsockopt");
  socket->receive_bytes = bytes > 0 ? (uint32_t)bytes / 2 : 0;
  prepare_batch(&socket->receive);
  prepare_batch(&socket->send);
  return 0;
}

/*
 * What receiving needs of a socket that is already bound. Packet info is asked for on a wildcard
 * bind only: elsewhere every datagram's local address is the bound one, and the control message
 * costs.
 */
static int prepare_receiver(struct udp_socket *socket, const char **call) {
  *call = "setsockopt";
  /*
   * Never fragment: a fragment can be forged, and answers are sized to fit (DNS flag day 2020). The
   * kernel then also saves the hashing for an IP id. Not vital, so not an error.
   */
  int probe = IP_PMTUDISC_PROBE;
  if (socket->family == 4)
    (void)setsockopt(socket->fd, IPPROTO_IP, IP_MTU_DISCOVER, &probe, sizeof probe);
  if (socket->wildcard) {
    int level = socket->family == 4 ? IPPROTO_IP : IPPROTO_IPV6;
    int option = socket->family == 4 ? IP_PKTINFO : IPV6_RECVPKTINFO;
    if (enable(socket->fd, level, option) != 0) return -errno;
  }
  /* A control message that is there only once the kernel has dropped something. */
  if (enable(socket->fd, SOL_SOCKET, SO_RXQ_OVFL) != 0) return -errno;
  return 0;
}

int udp_open(struct udp_socket *s, const struct udp_options *options, const char **call) {
  memset(s, 0, sizeof *s);
  bool v4 = options->family == 4;
  s->fd = socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_UDP);
  if (s->fd < 0) return fail(call, "socket");

  int error = 0;
  if (!v4 && enable(s->fd, IPPROTO_IPV6, IPV6_V6ONLY) != 0) error = fail(call, "setsockopt");
  if (error == 0 && options->reuse_port && enable(s->fd, SOL_SOCKET, SO_REUSEPORT) != 0)
    error = fail(call, "setsockopt");
  size_buffer(s->fd, SO_RCVBUFFORCE, SO_RCVBUF, options->receive_bytes);
  size_buffer(s->fd, SO_SNDBUFFORCE, SO_SNDBUF, options->send_bytes);

  union name name;
  memset(&name, 0, sizeof name);
  socklen_t size = v4 ? sizeof name.v4 : sizeof name.v6;
  if (v4) {
    name.v4.sin_family = AF_INET;
    name.v4.sin_port = htons(options->port);
    memcpy(&name.v4.sin_addr, options->address + 12, 4);
  } else {
    name.v6.sin6_family = AF_INET6;
    name.v6.sin6_port = htons(options->port);
    name.v6.sin6_scope_id = options->scope;
    memcpy(&name.v6.sin6_addr, options->address, 16);
  }
  if (error == 0 && bind(s->fd, &name.any, size) != 0) error = fail(call, "bind");
  if (error == 0) error = describe(s, call);
  if (error == 0) error = prepare_receiver(s, call);
  if (error != 0) udp_close(s);
  return error;
}

int udp_adopt(struct udp_socket *s, int fd, const char **call) {
  memset(s, 0, sizeof *s);
  s->fd = fd;
  int error = describe(s, call);
  if (error == 0) error = prepare_receiver(s, call);
  if (error == 0) {
    /* A queued error report would keep the descriptor readable for ever; nobody here reads them. */
    int off = 0;
    (void)setsockopt(fd, IPPROTO_IP, IP_RECVERR, &off, sizeof off);
    if (s->family == 6) (void)setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &off, sizeof off);
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
      error = fail(call, "fcntl");
  }
  if (error == 0)
    (void)udp_kernel_drops(s); /* what was dropped before us is not ours to report */
  else
    s->fd = -1;
  return error;
}

int udp_duplicate(struct udp_socket *s, int fd, const char **call) {
  memset(s, 0, sizeof *s);
  s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (s->fd < 0) return fail(call, "fcntl");
  int error = describe(s, call);
  if (error != 0) udp_close(s);
  return error;
}

void udp_close(struct udp_socket *s) {
  if (s->fd >= 0) close(s->fd);
  s->fd = -1;
}

uint32_t udp_kernel_drops(struct udp_socket *s) {
  uint32_t info[SK_MEMINFO_VARS] = {0};
  socklen_t size = sizeof info;
  if (getsockopt(s->fd, SOL_SOCKET, SO_MEMINFO, info, &size) != 0) return 0;
  uint32_t fresh = info[SK_MEMINFO_DROPS] - s->kernel_drops;
  s->kernel_drops = info[SK_MEMINFO_DROPS];
  return fresh;
}
