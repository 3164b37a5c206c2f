/*
 * A UDP socket and the message arrays of its batched system calls. Nothing here knows of
 * JavaScript. Functions return 0 or a count on success and a negative errno on failure; `*call`
 * then names the system call that failed.
 */
#ifndef WAYPOST_SOCKET_H
#define WAYPOST_SOCKET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "slot.h"

/* Datagrams per system call: the gain flattens out well before. */
#define BATCH 64u

union name {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
};

/*
 * Room for the packet info and the overflow count we ask for, and for what an adopted socket
 * adds.
 */
union control {
  struct cmsghdr align;
  uint8_t bytes[128];
};

/* What one recvmmsg or sendmmsg works on, allocated once per socket and direction. */
struct batch {
  struct mmsghdr messages[BATCH];
  struct iovec vectors[BATCH];
  union name names[BATCH];
  union control controls[BATCH];
};

struct udp_socket {
  int fd;
  uint8_t family;         /* 4 or 6 */
  bool wildcard;          /* bound to no concrete address: the local address differs per datagram */
  uint16_t receiver;      /* written into each slot */
  uint16_t port;          /* host order */
  uint8_t bound[16];      /* the bound address, IPv4 as v4-mapped; all zero = wildcard */
  uint32_t scope;         /* interface index of a link-local bound address */
  uint32_t receive_bytes; /* half of SO_RCVBUF: the kernel doubles what is asked for its overhead */
  uint32_t kernel_drops;  /* the socket's drop count as last seen */
  struct batch receive;
  struct batch send;
};

/*
 * Added to by udp_receive, udp_discard and udp_send; the order of the Uint32Array JavaScript
 * reads.
 */
struct udp_counts {
  uint32_t too_long;       /* datagrams longer than SLOT_DATA_BYTES, dropped */
  uint32_t kernel_dropped; /* datagrams the kernel dropped since the last call */
  uint32_t full;           /* datagrams not sent: the send buffer was full */
  uint32_t failed;         /* datagrams not sent: the kernel refused them */
};

#define UDP_COUNTS (sizeof(struct udp_counts) / sizeof(uint32_t))

struct udp_options {
  uint8_t address[16];
  uint8_t family;
  uint16_t port;
  uint32_t scope;
  bool reuse_port;
  uint32_t receive_bytes; /* 0 = the system's default */
  uint32_t send_bytes;
};

int udp_open(struct udp_socket *socket, const struct udp_options *options, const char **call);

/* Takes over a bound UDP descriptor. On failure the descriptor stays the caller's. */
int udp_adopt(struct udp_socket *socket, int fd, const char **call);

/* A duplicate of a bound UDP descriptor for sending from another thread, closed by that thread. */
int udp_duplicate(struct udp_socket *socket, int fd, const char **call);

void udp_close(struct udp_socket *socket);

/* Drops of the kernel not yet reported, asked from the kernel. */
uint32_t udp_kernel_drops(struct udp_socket *socket);

/*
 * Receives up to `count` (at most BATCH) datagrams into the slots named by `slots`, all of which
 * must be below slab.count. Returns how many were read from the socket; counts->too_long of them
 * were dropped, and the rest are the first entries of `slots` (which is permuted, nothing is
 * lost).
 */
int udp_receive(struct udp_socket *socket, struct slab slab, uint32_t *slots, uint32_t count,
                struct udp_counts *counts);

/* Reads up to BATCH datagrams and throws them away: there is no free slot. Returns how many. */
int udp_discard(struct udp_socket *socket, struct udp_counts *counts);

/*
 * Sends up to `count` (at most BATCH) slots. Slots that could not be sent get length 0 and are
 * counted; slots of length 0 are skipped. Returns how many the kernel took. Never fails, never
 * waits.
 */
uint32_t udp_send(struct udp_socket *socket, struct slab slab, const uint32_t *slots,
                  uint32_t count, struct udp_counts *counts);

#endif
