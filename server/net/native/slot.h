/*
 * The layout of a slot of the slab, in C. workers/slab.ts is the other half and carries the
 * picture; layout() exports these numbers and both the loader and a test compare them with the
 * TypeScript side.
 *
 *    0 length u32 |  4 family u8 |  5 transport u8 |  6 port u16 |  8 address 16 B | 24 local 16 B
 *   40 scope u32  | 44 connection u32 | 48 generation u32 | 52 budget u32
 *   56 receiver u16 | 58 protocol u8 | 59 state u8 | 60 keyHash u32 | 64 data 1984 B
 *
 * Shared memory may be scribbled on at any time by any thread: whatever decides about memory safety
 * (a slot's number, its length) is loaded exactly once and checked before use.
 */
#ifndef WAYPOST_SLOT_H
#define WAYPOST_SLOT_H

#include <stddef.h>
#include <stdint.h>

#define SLOT_BYTES 2048u
#define SLOT_HEADER_BYTES 64u
#define SLOT_DATA_BYTES (SLOT_BYTES - SLOT_HEADER_BYTES)
#define MAX_SLOTS 1048576u
#define TRANSPORT_UDP 1u

struct slot {
  uint32_t length;
  uint8_t family;
  uint8_t transport;
  uint16_t port;
  uint8_t address[16];
  uint8_t local[16];
  uint32_t scope;
  uint32_t connection;
  uint32_t generation;
  uint32_t budget;
  uint16_t receiver;
  uint8_t protocol;
  uint8_t state;
  uint32_t key_hash;
  uint8_t data[SLOT_DATA_BYTES];
};

_Static_assert(sizeof(struct slot) == SLOT_BYTES, "slots are SLOT_BYTES apart");
_Static_assert(offsetof(struct slot, data) == SLOT_HEADER_BYTES, "the data follows the header");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "headers are little-endian");

/* A view of a slab: `count` slots from `slots` on. */
struct slab {
  struct slot *slots;
  uint32_t count;
};

#endif
