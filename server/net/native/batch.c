/* Receiving and sending batches: the hot path. One system call per batch, no allocation. */
#include <errno.h>
#include <string.h>

#include "socket.h"

static const uint8_t MAPPED[12] = {[10] = 0xff, [11] = 0xff};

static bool is_link_local(const uint8_t *address) {
  return address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
}

static bool is_zero(const uint8_t *address) {
  uint64_t high, low;
  memcpy(&high, address, 8);
  memcpy(&low, address + 8, 8);
  return (high | low) == 0;
}

static bool is_mapped(const uint8_t *address) {
  return memcmp(address, MAPPED, sizeof MAPPED) == 0;
}

/* Errors that say the arguments were wrong; any other means there is nothing to receive now. */
static bool is_misuse(int error) {
  return error == EBADF || error == ENOTSOCK || error == EFAULT || error == EINVAL;
}

static int receive_messages(struct udp_socket *s, uint32_t count) {
  for (;;) {
    int received = recvmmsg(s->fd, s->receive.messages, count, MSG_DONTWAIT, NULL);
    if (received >= 0) return received;
    if (errno == EINTR) continue;
    return is_misuse(errno) ? -errno : 0;
  }
}

/* The kernel overwrote these with what it used. */
static void restore_message(struct batch *batch, uint32_t i) {
  struct msghdr *message = &batch->messages[i].msg_hdr;
  message->msg_namelen = sizeof batch->names[i];
  message->msg_controllen = sizeof batch->controls[i];
}

/* Where the datagram arrived, and what the kernel had dropped until then. */
static void read_controls(struct udp_socket *s, struct msghdr *message, uint8_t *local,
                          uint32_t *interface, struct udp_counts *counts) {
  for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
      struct in_pktinfo info;
      memcpy(&info, CMSG_DATA(c), sizeof info);
      /* Not ipi_addr: for a broadcast that is no address an answer could leave from. */
      memcpy(local, MAPPED, sizeof MAPPED);
      memcpy(local + 12, &info.ipi_spec_dst, 4);
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
      struct in6_pktinfo info;
      memcpy(&info, CMSG_DATA(c), sizeof info);
      if (info.ipi6_addr.s6_addr[0] == 0xff) continue; /* multicast: the kernel chooses */
      memcpy(local, &info.ipi6_addr, 16);
      if (is_link_local(local)) *interface = info.ipi6_ifindex;
    } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
      uint32_t drops;
      memcpy(&drops, CMSG_DATA(c), sizeof drops);
      /*
       * Counts since the last report; an older reading (reordered by udp_kernel_drops) adds
       * nothing.
       */
      uint32_t fresh = drops - s->kernel_drops;
      if (fresh > INT32_MAX) continue;
      counts->kernel_dropped += fresh;
      s->kernel_drops = drops;
    }
  }
}

static void fill_header(struct udp_socket *s, struct slot *slot, uint32_t i,
                        struct udp_counts *counts) {
  struct batch *batch = &s->receive;
  const union name *name = &batch->names[i];
  uint32_t scope = 0;
  slot->length = batch->messages[i].msg_len;
  slot->transport = TRANSPORT_UDP;
  if (name->any.sa_family == AF_INET) {
    slot->family = 4;
    slot->port = ntohs(name->v4.sin_port);
    memcpy(slot->address, MAPPED, sizeof MAPPED);
    memcpy(slot->address + 12, &name->v4.sin_addr, 4);
  } else {
    slot->port = ntohs(name->v6.sin6_port);
    memcpy(slot->address, &name->v6.sin6_addr, 16);
    slot->family = is_mapped((const uint8_t *)&name->v6.sin6_addr) ? 4 : 6;
    scope = name->v6.sin6_scope_id;
  }
  uint8_t local[16];
  memcpy(local, s->bound, sizeof local);
  uint32_t interface = s->scope;
  if (batch->messages[i].msg_hdr.msg_controllen > 0)
    read_controls(s, &batch->messages[i].msg_hdr, local, &interface, counts);
  memcpy(slot->local, local, sizeof local);
  slot->scope = scope != 0 ? scope : interface;
  slot->connection = 0;
  slot->generation = 0;
  slot->budget = SLOT_DATA_BYTES;
  slot->receiver = s->receiver;
  slot->protocol = 0;
  slot->state = 0;
  slot->key_hash = 0;
}

int udp_receive(struct udp_socket *s, struct slab slab, uint32_t *slots, uint32_t count,
                struct udp_counts *counts) {
  struct batch *batch = &s->receive;
  uint32_t index[BATCH];
  if (count > BATCH) count = BATCH;
  for (uint32_t i = 0; i < count; i++) {
    index[i] = __atomic_load_n(&slots[i], __ATOMIC_RELAXED);
    if (index[i] >= slab.count) return -ERANGE;
    batch->vectors[i].iov_base = slab.slots[index[i]].data;
    batch->vectors[i].iov_len = SLOT_DATA_BYTES;
  }
  int received = receive_messages(s, count);
  uint32_t good = 0;
  for (int i = 0; i < received; i++) {
    uint32_t slot = index[i];
    fill_header(s, &slab.slots[slot], (uint32_t)i, counts);
    bool truncated = (batch->messages[i].msg_hdr.msg_flags & MSG_TRUNC) != 0;
    restore_message(batch, (uint32_t)i);
    if (truncated) {
      counts->too_long++;
      continue;
    }
    if (good != (uint32_t)i) {
      index[i] = index[good];
      index[good] = slot;
    }
    good++;
  }
  if (received > 0 && good != (uint32_t)received) memcpy(slots, index, count * sizeof *index);
  return received;
}

int udp_discard(struct udp_socket *s, struct udp_counts *counts) {
  struct batch *batch = &s->receive;
  uint8_t scratch[1];
  for (uint32_t i = 0; i < BATCH; i++) {
    batch->vectors[i].iov_base = scratch;
    batch->vectors[i].iov_len = sizeof scratch;
  }
  int received = receive_messages(s, BATCH);
  for (int i = 0; i < received; i++) {
    uint8_t local[16];
    uint32_t interface = 0;
    read_controls(s, &batch->messages[i].msg_hdr, local, &interface, counts);
    restore_message(batch, (uint32_t)i);
  }
  return received;
}

/* Asks that the datagram leave from `local`. */
static void write_control(const struct udp_socket *s, struct msghdr *message, const uint8_t *local,
                          uint32_t scope) {
  struct cmsghdr *c = message->msg_control;
  if (s->family == 4) {
    struct in_pktinfo info = {0};
    memcpy(&info.ipi_spec_dst, local + 12, 4);
    c->cmsg_level = IPPROTO_IP;
    c->cmsg_type = IP_PKTINFO;
    c->cmsg_len = CMSG_LEN(sizeof info);
    memcpy(CMSG_DATA(c), &info, sizeof info);
    message->msg_controllen = CMSG_SPACE(sizeof info);
  } else {
    struct in6_pktinfo info = {0};
    memcpy(&info.ipi6_addr, local, 16);
    if (is_link_local(local)) info.ipi6_ifindex = scope;
    c->cmsg_level = IPPROTO_IPV6;
    c->cmsg_type = IPV6_PKTINFO;
    c->cmsg_len = CMSG_LEN(sizeof info);
    memcpy(CMSG_DATA(c), &info, sizeof info);
    message->msg_controllen = CMSG_SPACE(sizeof info);
  }
}

/* Fills message `i` from a slot; false when the header cannot be meant for this socket. */
static bool write_message(struct udp_socket *s, uint32_t i, struct slot *slot, uint32_t length) {
  struct batch *batch = &s->send;
  struct msghdr *message = &batch->messages[i].msg_hdr;
  union name *name = &batch->names[i];
  uint8_t address[16], local[16];
  memcpy(address, slot->address, sizeof address);
  memcpy(local, slot->local, sizeof local);
  uint32_t scope = slot->scope;
  if (s->family == 4) {
    if (!is_mapped(address)) return false;
    name->v4.sin_family = AF_INET;
    name->v4.sin_port = htons(slot->port);
    memcpy(&name->v4.sin_addr, address + 12, 4);
    message->msg_namelen = sizeof name->v4;
  } else {
    name->v6.sin6_family = AF_INET6;
    name->v6.sin6_port = htons(slot->port);
    name->v6.sin6_flowinfo = 0;
    memcpy(&name->v6.sin6_addr, address, 16);
    name->v6.sin6_scope_id = is_link_local(address) ? scope : 0;
    message->msg_namelen = sizeof name->v6;
  }
  message->msg_controllen = 0;
  if (s->wildcard && !is_zero(local) && (s->family == 6 || is_mapped(local)))
    write_control(s, message, local, scope);
  batch->vectors[i].iov_base = slot->data;
  batch->vectors[i].iov_len = length;
  return true;
}

static void drop(struct slab slab, uint32_t slot, uint32_t *counter) {
  slab.slots[slot].length = 0;
  (*counter)++;
}

uint32_t udp_send(struct udp_socket *s, struct slab slab, const uint32_t *slots, uint32_t count,
                  struct udp_counts *counts) {
  uint32_t index[BATCH];
  uint32_t ready = 0;
  if (count > BATCH) count = BATCH;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t slot = __atomic_load_n(&slots[i], __ATOMIC_RELAXED);
    if (slot >= slab.count) {
      counts->failed++;
      continue;
    }
    uint32_t length = __atomic_load_n(&slab.slots[slot].length, __ATOMIC_RELAXED);
    if (length == 0) continue;
    if (length > SLOT_DATA_BYTES || !write_message(s, ready, &slab.slots[slot], length)) {
      drop(slab, slot, &counts->failed);
      continue;
    }
    index[ready++] = slot;
  }
  uint32_t done = 0, sent = 0;
  while (done < ready) {
    int taken = sendmmsg(s->fd, s->send.messages + done, ready - done, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (taken > 0) {
      done += (uint32_t)taken;
      sent += (uint32_t)taken;
    } else if (taken == 0 || errno == EAGAIN || errno == ENOBUFS) {
      while (done < ready) drop(slab, index[done++], &counts->full);
    } else if (errno != EINTR) {
      drop(slab, index[done++], &counts->failed);
    }
  }
  return sent;
}
