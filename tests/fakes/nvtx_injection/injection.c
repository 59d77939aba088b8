/* A tool for tests: listens to NVTX as a profiler does and writes one line per event to the file in $NVTX_RECORD.
 *
 *     NVTX_INJECTION64_PATH=libinjection.so NVTX_RECORD=events.txt python program.py
 *
 * Lines are separated by tabs:
 *     domain    <domain>
 *     category  <domain> <number> <name>
 *     push      <domain> <depth before> <category> <payload or -> <message> <thread>
 *     pop       <domain> <depth after> <thread>
 *     start     <domain> <id> <category> <payload or -> <message> <thread>
 *     end       <domain> <id> <thread>
 *
 * Built with -DREFUSE_EXTENSION it also answers the question for newer extensions with a no, as nsys 2022.4 and 2023.4 do.
 *
 * The layouts below are the binary interface between a program and its tool (NVTX 3): a table of addresses of function
 * pointers per module, numbered as in the arrays that follow, and the attributes of an event.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { EXPORT_CALLBACKS = 1, MODULE_CORE2 = 5 };
enum { RANGE_START = 2, RANGE_END = 3, PUSH = 4, POP = 5, NAME_CATEGORY = 8, REGISTER_STRING = 10, DOMAIN_CREATE = 12 };
enum { PAYLOAD_NONE = 0, PAYLOAD_UINT64 = 1, PAYLOAD_INT64 = 2, PAYLOAD_DOUBLE = 3, PAYLOAD_UINT32 = 4, PAYLOAD_INT32 = 5 };
enum { MESSAGE_ASCII = 1, MESSAGE_REGISTERED = 3 };

typedef struct {
    uint16_t version, size;
    uint32_t category;
    int32_t color_type;
    uint32_t color;
    int32_t payload_type, reserved;
    union { uint64_t unsigned64; int64_t signed64; double real; uint32_t unsigned32; int32_t signed32; } payload;
    int32_t message_type;
    const void *message;
} attributes_t;

typedef void (*function_t)(void);
typedef struct {
    size_t size;
    int (*table_of)(int module, function_t ***table, unsigned *count);
} callbacks_t;

typedef struct { char name[64]; } domain_t;

static FILE *record;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t next_range = 1;
static __thread int depth;

static long thread_id(void) { return syscall(SYS_gettid); }

static const char *name_of(const domain_t *domain) { return domain ? domain->name : "(default)"; }

static const char *message_of(const attributes_t *event) {
    if (event->message_type == MESSAGE_ASCII || event->message_type == MESSAGE_REGISTERED)
        return event->message ? (const char *)event->message : "";
    return "";
}

static void payload_of(const attributes_t *event, char *text, size_t size) {
    switch (event->payload_type) {
    case PAYLOAD_UINT64: snprintf(text, size, "%" PRIu64, event->payload.unsigned64); break;
    case PAYLOAD_INT64: snprintf(text, size, "%" PRId64, event->payload.signed64); break;
    case PAYLOAD_DOUBLE: snprintf(text, size, "%g", event->payload.real); break;
    case PAYLOAD_UINT32: snprintf(text, size, "%" PRIu32, event->payload.unsigned32); break;
    case PAYLOAD_INT32: snprintf(text, size, "%" PRId32, event->payload.signed32); break;
    default: snprintf(text, size, "-");
    }
}

static void write_event(const char *what, const domain_t *domain, uint64_t number, const attributes_t *event) {
    char payload[32];
    payload_of(event, payload, sizeof payload);
    pthread_mutex_lock(&lock);
    fprintf(record, "%s\t%s\t%" PRIu64 "\t%u\t%s\t%s\t%ld\n", what, name_of(domain), number, event->category, payload,
            message_of(event), thread_id());
    fflush(record);
    pthread_mutex_unlock(&lock);
}

static void write_end(const char *what, const domain_t *domain, uint64_t number) {
    pthread_mutex_lock(&lock);
    fprintf(record, "%s\t%s\t%" PRIu64 "\t%ld\n", what, name_of(domain), number, thread_id());
    fflush(record);
    pthread_mutex_unlock(&lock);
}

static int push(domain_t *domain, const attributes_t *event) {
    write_event("push", domain, (uint64_t)depth, event);
    return depth++;
}

static int pop(domain_t *domain) {
    write_end("pop", domain, (uint64_t)--depth);
    return depth;
}

static uint64_t start(domain_t *domain, const attributes_t *event) {
    pthread_mutex_lock(&lock);
    uint64_t number = next_range++;
    pthread_mutex_unlock(&lock);
    write_event("start", domain, number, event);
    return number;
}

static void end(domain_t *domain, uint64_t number) { write_end("end", domain, number); }

static domain_t *create_domain(const char *name) {
    domain_t *domain = calloc(1, sizeof *domain);
    snprintf(domain->name, sizeof domain->name, "%s", name);
    pthread_mutex_lock(&lock);
    fprintf(record, "domain\t%s\n", domain->name);
    fflush(record);
    pthread_mutex_unlock(&lock);
    return domain;
}

static void name_category(domain_t *domain, uint32_t number, const char *name) {
    pthread_mutex_lock(&lock);
    fprintf(record, "category\t%s\t%u\t%s\n", name_of(domain), number, name);
    fflush(record);
    pthread_mutex_unlock(&lock);
}

static const void *register_string(domain_t *domain, const char *text) {
    (void)domain;
    return strdup(text); /* a handle is whatever the tool likes; here it is the text itself */
}

static void listen_to(function_t **table, unsigned count, unsigned number, function_t function) {
    if (number < count && table[number])
        *table[number] = function;
}

/* Called once by the program's own copy of NVTX, at its first use of any NVTX function. */
__attribute__((visibility("default"))) int InitializeInjectionNvtx2(const void *(*export_table)(uint32_t)) {
    const char *path = getenv("NVTX_RECORD");
    const callbacks_t *callbacks = export_table(EXPORT_CALLBACKS);
    function_t **table = NULL;
    unsigned count = 0;
    if (!path || !callbacks || !callbacks->table_of(MODULE_CORE2, &table, &count) || !(record = fopen(path, "a")))
        return 0;
    listen_to(table, count, RANGE_START, (function_t)start);
    listen_to(table, count, RANGE_END, (function_t)end);
    listen_to(table, count, PUSH, (function_t)push);
    listen_to(table, count, POP, (function_t)pop);
    listen_to(table, count, NAME_CATEGORY, (function_t)name_category);
    listen_to(table, count, REGISTER_STRING, (function_t)register_string);
    listen_to(table, count, DOMAIN_CREATE, (function_t)create_domain);
    return 1;
}

#ifdef REFUSE_EXTENSION
__attribute__((visibility("default"))) int InitializeInjectionNvtxExtension(void *module) {
    (void)module;
    return 0;
}
#endif
