/*
 * The Node-API door to socket.c, batch.c, event.c and watch.c. server/net/native/addon.ts documents
 * each function. Every argument is checked; misuse throws and never crashes.
 *
 * A socket or an event is known to JavaScript by a handle, a number that names an entry of a table
 * of the environment (each thread has its own) and the entry's generation, so that a stale handle
 * finds nobody.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <uv.h>

#include "event.h"
#include "socket.h"
#include "values.h"
#include "watch.h"

/* Sockets and events per thread; the handle is entry + MAX_ENTRIES * generation. */
#define MAX_ENTRIES 256u
#define MAX_GENERATIONS (UINT32_MAX / MAX_ENTRIES)

/* The usual size on x64 and arm64 with 4 KiB pages; larger ones only waste the advice. */
#define HUGE_PAGE_BYTES ((uintptr_t)2 << 20)

enum kind { FREE, SOCKET, EVENT };

struct entry {
  enum kind kind;
  struct udp_socket *socket; /* of a SOCKET */
  int event;                 /* of an EVENT: its descriptor, or -1 */
  struct watch *watch;
  uint32_t generation;
};

struct environment {
  struct entry entries[MAX_ENTRIES];
};

static bool read_slab(napi_env env, napi_value value, struct slab *slab) {
  void *data;
  size_t length;
  if (!read_array(env, value, napi_uint8_array, SLOT_BYTES, &data, &length)) return false;
  if (length % SLOT_BYTES == 0 && length / SLOT_BYTES <= MAX_SLOTS &&
      (uintptr_t)data % _Alignof(struct slot) == 0) {
    slab->slots = data;
    slab->count = (uint32_t)(length / SLOT_BYTES);
    return true;
  }
  throw_misuse(env, "the slab is not a whole number of aligned slots");
  return false;
}

static struct environment *environment_of(napi_env env) {
  void *data = NULL;
  return napi_get_instance_data(env, &data) == napi_ok ? data : NULL;
}

static struct entry *entry_of(napi_env env, napi_value value) {
  struct environment *environment = environment_of(env);
  uint32_t handle;
  if (environment == NULL || !read_u32(env, value, UINT32_MAX, &handle)) return NULL;
  struct entry *entry = &environment->entries[handle % MAX_ENTRIES];
  if (entry->kind != FREE && entry->generation == handle / MAX_ENTRIES) return entry;
  throw_misuse(env, "not an open socket or event of this thread");
  return NULL;
}

static struct udp_socket *socket_of(napi_env env, napi_value value) {
  struct entry *entry = entry_of(env, value);
  if (entry == NULL || entry->kind == SOCKET) return entry == NULL ? NULL : entry->socket;
  throw_misuse(env, "an event is no socket");
  return NULL;
}

/* The event's descriptor, or -1 after throwing. */
static int event_of(napi_env env, napi_value value) {
  struct entry *entry = entry_of(env, value);
  if (entry == NULL || entry->kind == EVENT) return entry == NULL ? -1 : entry->event;
  throw_misuse(env, "a socket is no event");
  return -1;
}

static int descriptor_of(const struct entry *entry) {
  return entry->kind == EVENT ? entry->event : entry->socket->fd;
}

static void free_entry(struct entry *entry) {
  if (entry->watch != NULL) watch_stop(entry->watch);
  if (entry->kind == EVENT) {
    if (entry->event >= 0) close(entry->event);
  } else {
    udp_close(entry->socket);
    free(entry->socket);
    entry->socket = NULL;
  }
  entry->kind = FREE;
  entry->generation = entry->generation == MAX_GENERATIONS - 1 ? 0 : entry->generation + 1;
}

/* A free entry made a SOCKET or an EVENT that is not open yet, or NULL after throwing. */
static struct entry *new_entry(napi_env env, enum kind kind) {
  struct environment *environment = environment_of(env);
  for (uint32_t i = 0; environment != NULL && i < MAX_ENTRIES; i++) {
    struct entry *entry = &environment->entries[i];
    if (entry->kind != FREE) continue;
    entry->event = -1;
    if (kind == SOCKET) {
      entry->socket = calloc(1, sizeof *entry->socket);
      if (entry->socket == NULL) break;
      entry->socket->fd = -1;
    }
    entry->kind = kind;
    return entry;
  }
  throw_errno(env, UV_EMFILE, "open");
  return NULL;
}

/*
 * The handle of an entry whose descriptor was opened if `error` is 0; throws and frees the entry
 * otherwise.
 */
static napi_value finish_open(napi_env env, struct entry *entry, int error, const char *call) {
  if (error != 0) {
    free_entry(entry);
    return throw_errno(env, error, call);
  }
  struct environment *environment = environment_of(env);
  uint32_t number = (uint32_t)(entry - environment->entries);
  napi_value handle = NULL;
  if (napi_create_uint32(env, number + MAX_ENTRIES * entry->generation, &handle) != napi_ok)
    free_entry(entry);
  return handle;
}

static napi_value js_open(napi_env env, napi_callback_info info) {
  napi_value values[8];
  void *address;
  size_t length;
  uint32_t family, port, scope, reuse, receive_bytes, send_bytes, receiver;
  if (!arguments(env, info, values, 8) ||
      !read_array(env, values[0], napi_uint8_array, 16, &address, &length) ||
      !read_u32(env, values[1], 6, &family) || !read_u32(env, values[2], UINT16_MAX, &port) ||
      !read_u32(env, values[3], UINT32_MAX, &scope) || !read_u32(env, values[4], 1, &reuse) ||
      !read_u32(env, values[5], INT32_MAX, &receive_bytes) ||
      !read_u32(env, values[6], INT32_MAX, &send_bytes) ||
      !read_u32(env, values[7], UINT16_MAX, &receiver))
    return NULL;
  if (family != 4 && family != 6) return throw_misuse(env, "the family is 4 or 6");
  struct udp_options options = {
      .family = (uint8_t)family,
      .port = (uint16_t)port,
      .scope = scope,
      .reuse_port = reuse == 1,
      .receive_bytes = receive_bytes,
      .send_bytes = send_bytes,
  };
  memcpy(options.address, address, sizeof options.address);
  struct entry *entry = new_entry(env, SOCKET);
  if (entry == NULL) return NULL;
  const char *call = "open";
  int error = udp_open(entry->socket, &options, &call);
  entry->socket->receiver = (uint16_t)receiver;
  return finish_open(env, entry, error, call);
}

/* Two owners of one descriptor would close it twice, and by then it may be somebody else's. */
static bool is_ours(napi_env env, int fd) {
  struct environment *environment = environment_of(env);
  for (uint32_t i = 0; environment != NULL && i < MAX_ENTRIES; i++) {
    const struct entry *entry = &environment->entries[i];
    if (entry->kind != FREE && descriptor_of(entry) == fd) return true;
  }
  return false;
}

static napi_value js_adopt(napi_env env, napi_callback_info info) {
  napi_value values[2];
  uint32_t fd, receiver;
  if (!arguments(env, info, values, 2) || !read_u32(env, values[0], INT32_MAX, &fd) ||
      !read_u32(env, values[1], UINT16_MAX, &receiver))
    return NULL;
  if (is_ours(env, (int)fd)) return throw_errno(env, UV_EEXIST, "adopt");
  struct entry *entry = new_entry(env, SOCKET);
  if (entry == NULL) return NULL;
  const char *call = "adopt";
  int error = udp_adopt(entry->socket, (int)fd, &call);
  entry->socket->receiver = (uint16_t)receiver;
  return finish_open(env, entry, error, call);
}

static napi_value js_duplicate(napi_env env, napi_callback_info info) {
  napi_value values[1];
  uint32_t fd;
  if (!arguments(env, info, values, 1) || !read_u32(env, values[0], INT32_MAX, &fd)) return NULL;
  struct entry *entry = new_entry(env, SOCKET);
  if (entry == NULL) return NULL;
  const char *call = "duplicate";
  int error = udp_duplicate(entry->socket, (int)fd, &call);
  return finish_open(env, entry, error, call);
}

static napi_value js_close(napi_env env, napi_callback_info info) {
  napi_value values[1];
  if (!arguments(env, info, values, 1)) return NULL;
  struct entry *entry = entry_of(env, values[0]);
  if (entry != NULL) free_entry(entry);
  return NULL;
}

/*
 * [fd, family, port, scope, receive buffer bytes], and the bound address into the second
 * argument.
 */
static napi_value js_describe(napi_env env, napi_callback_info info) {
  napi_value values[2], result, number;
  void *address;
  size_t length;
  if (!arguments(env, info, values, 2)) return NULL;
  struct udp_socket *s = socket_of(env, values[0]);
  if (s == NULL || !read_array(env, values[1], napi_uint8_array, 16, &address, &length))
    return NULL;
  memcpy(address, s->bound, sizeof s->bound);
  uint32_t facts[] = {(uint32_t)s->fd, s->family, s->port, s->scope, s->receive_bytes};
  if (napi_create_array(env, &result) != napi_ok) return NULL;
  for (uint32_t i = 0; i < sizeof facts / sizeof *facts; i++) {
    if (napi_create_uint32(env, facts[i], &number) != napi_ok ||
        napi_set_element(env, result, i, number) != napi_ok)
      return NULL;
  }
  return result;
}

static napi_value js_watch(napi_env env, napi_callback_info info) {
  napi_value values[2];
  napi_valuetype type;
  if (!arguments(env, info, values, 2)) return NULL;
  struct entry *entry = entry_of(env, values[0]);
  if (entry == NULL) return NULL;
  if (napi_typeof(env, values[1], &type) != napi_ok || type != napi_function)
    return throw_misuse(env, "the callback is not a function");
  if (entry->watch != NULL) return throw_misuse(env, "it is watched already");
  int fd = descriptor_of(entry);
  int error = watch_start(env, fd, entry->kind == EVENT, values[1], &entry->watch);
  if (error != 0) throw_errno(env, error, "uv_poll");
  return NULL;
}

static napi_value js_unwatch(napi_env env, napi_callback_info info) {
  napi_value values[1];
  if (!arguments(env, info, values, 1)) return NULL;
  struct entry *entry = entry_of(env, values[0]);
  if (entry != NULL && entry->watch != NULL) watch_stop(entry->watch);
  return NULL;
}

static napi_value finish_event(napi_env env, struct entry *entry, int fd, const char *call) {
  entry->event = fd < 0 ? -1 : fd;
  return finish_open(env, entry, fd < 0 ? fd : 0, call);
}

static napi_value js_event_open(napi_env env, napi_callback_info info) {
  (void)info;
  struct entry *entry = new_entry(env, EVENT);
  if (entry == NULL) return NULL;
  const char *call = "eventfd";
  int fd = event_open(&call);
  return finish_event(env, entry, fd, call);
}

static napi_value js_event_duplicate(napi_env env, napi_callback_info info) {
  napi_value values[1];
  uint32_t fd;
  if (!arguments(env, info, values, 1) || !read_u32(env, values[0], INT32_MAX, &fd)) return NULL;
  struct entry *entry = new_entry(env, EVENT);
  if (entry == NULL) return NULL;
  const char *call = "eventfd";
  int copy = event_duplicate((int)fd, &call);
  return finish_event(env, entry, copy, call);
}

static napi_value js_event_descriptor(napi_env env, napi_callback_info info) {
  napi_value values[1];
  if (!arguments(env, info, values, 1)) return NULL;
  int fd = event_of(env, values[0]);
  return fd < 0 ? NULL : return_number(env, (uint32_t)fd);
}

static napi_value js_event_signal(napi_env env, napi_callback_info info) {
  napi_value values[1];
  if (!arguments(env, info, values, 1)) return NULL;
  int fd = event_of(env, values[0]);
  if (fd < 0) return NULL;
  int error = event_signal(fd);
  if (error != 0) throw_errno(env, error, "write");
  return NULL;
}

/* Adds to the caller's counts. */
static bool read_counts(napi_env env, napi_value value, struct udp_counts **counts) {
  void *data;
  size_t length;
  if (!read_array(env, value, napi_uint32_array, UDP_COUNTS, &data, &length)) return false;
  *counts = data;
  return true;
}

/* The arguments recv and send have in common: handle, slab, slots, count, counts. */
struct transfer {
  struct udp_socket *socket;
  struct slab slab;
  uint32_t *slots;
  uint32_t count;
  struct udp_counts *counts;
};

static bool read_transfer(napi_env env, napi_callback_info info, uint32_t most,
                          struct transfer *transfer) {
  napi_value values[5];
  void *slots;
  size_t length;
  if (!arguments(env, info, values, 5)) return false;
  transfer->socket = socket_of(env, values[0]);
  if (transfer->socket == NULL || !read_slab(env, values[1], &transfer->slab) ||
      !read_u32(env, values[3], most, &transfer->count) ||
      !read_array(env, values[2], napi_int32_array, transfer->count, &slots, &length) ||
      !read_counts(env, values[4], &transfer->counts))
    return false;
  transfer->slots = slots;
  return true;
}

static napi_value js_recv(napi_env env, napi_callback_info info) {
  struct transfer t;
  if (!read_transfer(env, info, BATCH, &t)) return NULL;
  int received = udp_receive(t.socket, t.slab, t.slots, t.count, t.counts);
  if (received == -ERANGE) return throw_misuse(env, "a slot's number is beyond the slab");
  if (received < 0) return throw_errno(env, received, "recvmmsg");
  return return_number(env, (uint32_t)received);
}

static napi_value js_send(napi_env env, napi_callback_info info) {
  struct transfer t;
  uint32_t sent = 0;
  if (!read_transfer(env, info, MAX_SLOTS, &t)) return NULL;
  for (uint32_t i = 0; i < t.count; i += BATCH)
    sent += udp_send(t.socket, t.slab, t.slots + i, t.count - i, t.counts);
  return return_number(env, sent);
}

static napi_value js_discard(napi_env env, napi_callback_info info) {
  napi_value values[2];
  struct udp_counts *counts;
  if (!arguments(env, info, values, 2)) return NULL;
  struct udp_socket *s = socket_of(env, values[0]);
  if (s == NULL || !read_counts(env, values[1], &counts)) return NULL;
  int received = udp_discard(s, counts);
  if (received < 0) return throw_errno(env, received, "recvmmsg");
  return return_number(env, (uint32_t)received);
}

static napi_value js_kernel_drops(napi_env env, napi_callback_info info) {
  napi_value values[1];
  if (!arguments(env, info, values, 1)) return NULL;
  struct udp_socket *s = socket_of(env, values[0]);
  return s == NULL ? NULL : return_number(env, udp_kernel_drops(s));
}

/*
 * Asks for huge pages under the whole HUGE_PAGE_BYTES of a buffer, never beyond its ends: what lies
 * there is somebody else's. The kernel may say no, which is no error.
 */
static napi_value js_huge_pages(napi_env env, napi_callback_info info) {
  napi_value values[1], result;
  void *data;
  size_t length;
  bool granted = false;
  if (!arguments(env, info, values, 1)) return NULL;
  if (!read_array(env, values[0], napi_uint8_array, 0, &data, &length)) return NULL;
  uintptr_t first = ((uintptr_t)data + HUGE_PAGE_BYTES - 1) & ~(uintptr_t)(HUGE_PAGE_BYTES - 1);
  uintptr_t end = ((uintptr_t)data + length) & ~(uintptr_t)(HUGE_PAGE_BYTES - 1);
  if (data != NULL && first < end)
    granted = madvise((void *)first, end - first, MADV_HUGEPAGE) == 0;
  return napi_get_boolean(env, granted, &result) == napi_ok ? result : NULL;
}

#define FIELD(name) {#name, offsetof(struct slot, name)}

/* The numbers of slot.h by name. */
static napi_value js_layout(napi_env env, napi_callback_info info) {
  static const struct {
    const char *name;
    size_t value;
  } numbers[] = {
      {"slotBytes", SLOT_BYTES},
      {"headerBytes", SLOT_HEADER_BYTES},
      {"dataBytes", SLOT_DATA_BYTES},
      {"maxSlots", MAX_SLOTS},
      {"batch", BATCH},
      {"counts", UDP_COUNTS},
      {"transportUdp", TRANSPORT_UDP},
      {"keyHash", offsetof(struct slot, key_hash)},
      FIELD(length),
      FIELD(family),
      FIELD(transport),
      FIELD(port),
      FIELD(address),
      FIELD(local),
      FIELD(scope),
      FIELD(connection),
      FIELD(generation),
      FIELD(budget),
      FIELD(receiver),
      FIELD(protocol),
      FIELD(state),
  };
  napi_value object, number;
  (void)info;
  if (napi_create_object(env, &object) != napi_ok) return NULL;
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    if (napi_create_uint32(env, (uint32_t)numbers[i].value, &number) != napi_ok ||
        napi_set_named_property(env, object, numbers[i].name, number) != napi_ok)
      return NULL;
  }
  return object;
}

/* What a thread left open closes with it. */
static void free_environment(napi_env env, void *data, void *hint) {
  struct environment *environment = data;
  (void)env;
  (void)hint;
  for (uint32_t i = 0; i < MAX_ENTRIES; i++)
    if (environment->entries[i].kind != FREE) free_entry(&environment->entries[i]);
  free(environment);
}

NAPI_MODULE_INIT(/* napi_env env, napi_value exports */) {
  static const napi_property_descriptor functions[] = {
      {.utf8name = "open", .method = js_open},
      {.utf8name = "adopt", .method = js_adopt},
      {.utf8name = "duplicate", .method = js_duplicate},
      {.utf8name = "close", .method = js_close},
      {.utf8name = "describe", .method = js_describe},
      {.utf8name = "watch", .method = js_watch},
      {.utf8name = "unwatch", .method = js_unwatch},
      {.utf8name = "recv", .method = js_recv},
      {.utf8name = "send", .method = js_send},
      {.utf8name = "discard", .method = js_discard},
      {.utf8name = "kernelDrops", .method = js_kernel_drops},
      {.utf8name = "eventOpen", .method = js_event_open},
      {.utf8name = "eventDuplicate", .method = js_event_duplicate},
      {.utf8name = "eventDescriptor", .method = js_event_descriptor},
      {.utf8name = "eventSignal", .method = js_event_signal},
      {.utf8name = "hugePages", .method = js_huge_pages},
      {.utf8name = "layout", .method = js_layout},
  };
  struct environment *environment = calloc(1, sizeof *environment);
  if (environment == NULL) return throw_errno(env, UV_ENOMEM, "load");
  if (napi_set_instance_data(env, environment, free_environment, NULL) != napi_ok) {
    free(environment);
    return throw_misuse(env, "the addon could not be set up");
  }
  if (napi_define_properties(env, exports, sizeof functions / sizeof *functions, functions) !=
      napi_ok)
    return NULL;
  return exports;
}
