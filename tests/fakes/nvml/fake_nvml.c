/* A libnvidia-ml.so.1 without a GPU: plays power traces of known integral through sensors as NVML's documentation and
 * published measurements describe them, and fails on request. It emulates documentation: it can prove our code wrong,
 * never the hardware right. Everything is set by the fake_* functions; times are seconds of the fake's own clock, which
 * is CLOCK_MONOTONIC unless fake_set_time() freezes it.
 *
 * Compile with -DOLD_DRIVER for a library without the symbols that drivers before 535 lack. */
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int ret_t;
enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, LOST = 15, VERSION_MISMATCH = 25 };
enum { MAX_DEVICES = 32, MAX_RULES = 64, MAX_LOG = 1 << 16, MAX_PIDS = 16, REASONS = 5, MAX_SPANS = 64 };

typedef struct {
    double period, phase, window, jitter; /* jitter: how far updates stray from the beat, as a share of the period */
} sensor_t;

typedef struct {
    double start, end;
} span_t;

typedef struct device {
    char name[96], uuid[96], pci[32];
    unsigned long long memory_total, memory_used, memory_reserved;
    struct device *parent; /* set for a MIG slice */
    int n;
    double *t, *w, *e; /* power w[i] from t[i] on, energy e[i] up to t[i] */
    sensor_t instant, average, counter;
    int aliasing_counter, wrap32, scope, have_fields, gpm, energy_call;
    double counter_offset, reset_at;
    span_t spans[REASONS][MAX_SPANS];
    int num_spans[REASONS];
    double clock_at, clock_before, clock_after;
    unsigned extra_reasons, temperature, power_limit, power_default, pcie_width, memory_clock;
    int num_pids, pids[MAX_PIDS];
    unsigned long long pid_memory[MAX_PIDS];
} device_t;

typedef struct {
    char call[64];
    int device, code;
    double from, to, delay;
    int zero;
} rule_t;

static device_t devices[MAX_DEVICES];
static int num_devices;
static rule_t rules[MAX_RULES];
static int num_rules;
static struct {
    char call[48];
    double at;
} call_log[MAX_LOG];
static int num_log;
static double frozen = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- clock, faults, log ---- */

static double now(void) {
    struct timespec ts;
    if (frozen >= 0) return frozen;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec + ts.tv_nsec * 1e-9;
}

static void pause_for(double seconds) {
    struct timespec ts = {(time_t)seconds, (long)((seconds - floor(seconds)) * 1e9)};
    if (seconds <= 0) return;
    if (frozen >= 0) {
        frozen += seconds; /* time passes inside the call, nobody waits */
        return;
    }
    nanosleep(&ts, NULL);
}

static rule_t *rule_for(const char *call, int device) {
    double at = now();
    for (int i = 0; i < num_rules; i++) {
        rule_t *r = &rules[i];
        if (strcmp(r->call, "*") && strcmp(r->call, call)) continue;
        if (r->device >= 0 && r->device != device) continue;
        if (at >= r->from && at < r->to) return r;
    }
    return NULL;
}

static int index_of(device_t *d) { return d ? (int)((d->parent ? d->parent : d) - devices) : -1; }

/* Logs the call, sleeps and fails as a rule says. *zero is set where the answer is to be zero. */
static ret_t enter(const char *call, device_t *d, int *zero) {
    pthread_mutex_lock(&lock);
    if (num_log < MAX_LOG) {
        snprintf(call_log[num_log].call, sizeof call_log[0].call, "%s", call);
        call_log[num_log++].at = now();
    }
    rule_t *r = rule_for(call, index_of(d));
    rule_t copy = r ? *r : (rule_t){0};
    pthread_mutex_unlock(&lock);
    if (zero) *zero = r && copy.zero;
    if (!r) return OK;
    pause_for(copy.delay);
    return copy.code;
}

#define ENTER(d)                                \
    int zero = 0;                               \
    ret_t failed = enter(__func__, (d), &zero); \
    if (failed) return failed;                  \
    (void)zero

/* ---- physics ---- */

static double energy(device_t *d, double at) {
    if (d->parent) d = d->parent;
    if (!d->n || at <= d->t[0]) return 0;
    int low = 0, high = d->n - 1;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (d->t[middle] <= at) low = middle;
        else high = middle - 1;
    }
    return d->e[low] + d->w[low] * (at - d->t[low]);
}

/* When update number `k` happens: on the beat, or up to half a `jitter` before or after it, the same every time. */
static double update_time(const sensor_t *s, double k) {
    double noise = sin(k * 12.9898) * 43758.5453;
    return (k + s->jitter * (noise - floor(noise) - 0.5)) * s->period + s->phase;
}

static double update_before(const sensor_t *s, double at) {
    if (s->period <= 0) return at;
    double k = floor((at - s->phase) / s->period) + 1;
    while (update_time(s, k) > at) k--;
    return update_time(s, k);
}

static double sense(device_t *d, const sensor_t *s) {
    double u = update_before(s, now());
    return s->window <= 0 ? 0 : (energy(d, u) - energy(d, u - s->window)) / s->window;
}

static unsigned long long counter_mj(device_t *d) {
    if (d->parent) d = d->parent;
    double u = update_before(&d->counter, now()), joules = energy(d, u);
    if (d->aliasing_counter) { /* sums what the instantaneous sensor saw, update by update */
        joules = 0;
        double step = d->instant.period, first = d->n ? d->t[0] : 0;
        for (double v = update_before(&d->instant, first) + step; v <= u + 1e-9; v += step)
            joules += (energy(d, v) - energy(d, v - d->instant.window)) / d->instant.window * step;
    }
    joules += d->counter_offset;
    if (d->reset_at >= 0 && now() >= d->reset_at) joules -= energy(d, d->reset_at) + d->counter_offset;
    unsigned long long mj = joules > 0 ? (unsigned long long)(joules * 1000) : 0;
    return d->wrap32 ? mj & 0xffffffffull : mj;
}

static unsigned long long held_ns(device_t *d, int reason, double at) {
    double total = 0;
    for (int i = 0; i < d->num_spans[reason]; i++) {
        span_t s = d->spans[reason][i];
        if (at > s.start) total += fmin(at, s.end) - s.start;
    }
    return (unsigned long long)(total * 1e9);
}

static const unsigned long long BITS[REASONS] = {0x4, 0x10, 0x20, 0x40, 0x80};

static unsigned long long reasons_now(device_t *d) {
    unsigned long long mask = d->extra_reasons;
    double at = now();
    for (int r = 0; r < REASONS; r++)
        for (int i = 0; i < d->num_spans[r]; i++)
            if (at >= d->spans[r][i].start && at < d->spans[r][i].end) mask |= BITS[r];
    return mask;
}

/* ---- control ---- */

void fake_reset(void) {
    for (int i = 0; i < MAX_DEVICES; i++) {
        free(devices[i].t);
        free(devices[i].w);
        free(devices[i].e);
    }
    memset(devices, 0, sizeof devices);
    num_devices = num_rules = num_log = 0;
    frozen = -1;
}

void fake_set_time(double at) { frozen = at; }
double fake_now(void) { return now(); }

int fake_add_device(const char *name, const char *uuid, const char *pci, unsigned long long memory, int parent) {
    device_t *d = &devices[num_devices];
    snprintf(d->name, sizeof d->name, "%s", name);
    snprintf(d->uuid, sizeof d->uuid, "%s", uuid);
    snprintf(d->pci, sizeof d->pci, "%s", pci);
    d->memory_total = memory;
    d->memory_used = memory / 10;
    d->memory_reserved = memory / 100;
    d->parent = parent >= 0 ? &devices[parent] : NULL;
    d->instant = (sensor_t){0.1, 0, 0.025, 0};
    d->average = (sensor_t){0.1, 0, 1.0, 0};
    d->counter = (sensor_t){0.1, 0, 0, 0};
    d->have_fields = d->energy_call = 1;
    d->reset_at = -1;
    d->clock_before = d->clock_after = 1980;
    d->pcie_width = 16;
    d->memory_clock = 2619;
    d->temperature = 55;
    d->power_limit = d->power_default = 700000;
    return num_devices++;
}

void fake_set_trace(int device, int n, const double *t, const double *w) {
    device_t *d = &devices[device];
    d->n = n;
    d->t = realloc(d->t, n * sizeof(double));
    d->w = realloc(d->w, n * sizeof(double));
    d->e = realloc(d->e, n * sizeof(double));
    for (int i = 0; i < n; i++) {
        d->t[i] = t[i];
        d->w[i] = w[i];
        d->e[i] = i ? d->e[i - 1] + w[i - 1] * (t[i] - t[i - 1]) : 0;
    }
}

void fake_set_sensor(int device, int which, double period, double phase, double window, double jitter) {
    sensor_t s = {period, phase, window, jitter};
    *(which == 0 ? &devices[device].instant : which == 1 ? &devices[device].average : &devices[device].counter) = s;
}

void fake_set_counter(int device, double offset_j, double reset_at, int wrap32, int aliasing) {
    device_t *d = &devices[device];
    d->counter_offset = offset_j;
    d->reset_at = reset_at;
    d->wrap32 = wrap32;
    d->aliasing_counter = aliasing;
}

void fake_set_abilities(int device, int have_fields, int scope, int gpm, int energy_call) {
    device_t *d = &devices[device];
    d->have_fields = have_fields;
    d->scope = scope;
    d->gpm = gpm;
    d->energy_call = energy_call;
}

void fake_hold(int device, int reason, double start, double end) {
    device_t *d = &devices[device];
    d->spans[reason][d->num_spans[reason]++] = (span_t){start, end};
}

void fake_set_clock(int device, double at, double before_mhz, double after_mhz) {
    devices[device].clock_at = at;
    devices[device].clock_before = before_mhz;
    devices[device].clock_after = after_mhz;
}

void fake_set_state(int device, unsigned reasons, unsigned temperature, unsigned limit_mw, unsigned long long used) {
    device_t *d = &devices[device];
    d->extra_reasons = reasons;
    d->temperature = temperature;
    d->power_limit = limit_mw;
    d->memory_used = used;
}

void fake_set_speeds(int device, unsigned pcie_width, unsigned memory_mhz) {
    devices[device].pcie_width = pcie_width;
    devices[device].memory_clock = memory_mhz;
}

void fake_set_processes(int device, int n, const int *pids, unsigned long long bytes) {
    devices[device].num_pids = n;
    for (int i = 0; i < n; i++) {
        devices[device].pids[i] = pids[i];
        devices[device].pid_memory[i] = bytes;
    }
}

void fake_add_rule(const char *call, int device, int code, double from, double to, double delay, int zero) {
    rule_t *r = &rules[num_rules++];
    snprintf(r->call, sizeof r->call, "%s", call);
    r->device = device;
    r->code = code;
    r->from = from;
    r->to = to;
    r->delay = delay;
    r->zero = zero;
}

void fake_clear_rules(void) { num_rules = 0; }
int fake_log_length(void) { return num_log; }
const char *fake_log_call(int i) { return call_log[i].call; }
double fake_log_time(int i) { return call_log[i].at; }
double fake_energy(int device, double start, double end) {
    return energy(&devices[device], end) - energy(&devices[device], start);
}

static unsigned long long setting(const char *name, unsigned long long otherwise) {
    const char *value = getenv(name);
    return value && *value ? strtoull(value, NULL, 10) : otherwise;
}

/* For a program that only has LD_LIBRARY_PATH: FAKE_GPUS cards (1) of FAKE_GPU_BYTES (80 GiB) that draw FAKE_NVML_WATTS,
 * and FAKE_NVML_FAIL_INIT. The fake CUDA has the same cards. With FAKE_MIG the last card is divided into one slice, and its
 * power is capped. */
__attribute__((constructor)) static void from_environment(void) {
    const char *watts = getenv("FAKE_NVML_WATTS"), *fail = getenv("FAKE_NVML_FAIL_INIT");
    if (fail) fake_add_rule("nvmlInitWithFlags", -1, atoi(fail), 0, 1e18, 0, 0);
    if (!watts) return;
    double t[1] = {now() - 3600}, w[1] = {atof(watts)};
    for (int i = 0; i < (int)setting("FAKE_GPUS", 1); i++) {
        char uuid[96], pci[32];
        snprintf(uuid, sizeof uuid, "GPU-fa4e0000-0000-4000-8000-%012d", i + 1);
        snprintf(pci, sizeof pci, "00000000:%02X:00.0", 0x41 + i);
        fake_set_trace(fake_add_device("NVIDIA Fake 100", uuid, pci, setting("FAKE_GPU_BYTES", 80ull << 30), -1), 1, t, w);
    }
    if (getenv("FAKE_MIG")) {
        char uuid[96];
        int last = num_devices - 1;
        snprintf(uuid, sizeof uuid, "MIG-%s", devices[last].uuid + 4);
        fake_hold(last, 0, t[0], 1e18);
        fake_add_device("NVIDIA Fake 100 MIG 1g.80gb", uuid, "", devices[last].memory_total, last);
    }
}

/* ---- NVML ---- */

typedef struct {
    unsigned fieldId, scopeId;
    long long timestamp, latencyUsec;
    int valueType, nvmlReturn;
    union {
        double d;
        unsigned ui;
        unsigned long long ull;
    } value;
} field_t;

ret_t nvmlInitWithFlags(unsigned flags) { (void)flags; ENTER(NULL); return OK; }
/* torch's own, most of them for the words of an out of memory. */
ret_t nvmlInit(void) { return nvmlInitWithFlags(0); }
ret_t nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
ret_t nvmlDeviceGetNvLinkRemoteDeviceType(device_t *d, unsigned link, int *out) { (void)link; (void)out; ENTER(d); return NOT_SUPPORTED; }
ret_t nvmlDeviceGetNvLinkRemotePciInfo_v2(device_t *d, unsigned link, void *out) { (void)link; (void)out; ENTER(d); return NOT_SUPPORTED; }
ret_t nvmlShutdown(void) { ENTER(NULL); return OK; }
const char *nvmlErrorString(ret_t code) { (void)code; return "fake error"; }

static ret_t text(char *out, unsigned size, const char *value) {
    if (strlen(value) + 1 > size) return TOO_SMALL;
    strcpy(out, value);
    return OK;
}

ret_t nvmlSystemGetDriverVersion(char *out, unsigned size) { ENTER(NULL); return text(out, size, "580.00"); }
ret_t nvmlSystemGetNVMLVersion(char *out, unsigned size) { ENTER(NULL); return text(out, size, "13.580.00"); }
ret_t nvmlSystemGetCudaDriverVersion_v2(int *out) { ENTER(NULL); *out = 13000; return OK; }
#define MPS_SERVER 5555
ret_t nvmlSystemGetProcessName(unsigned pid, char *out, unsigned size) {
    char name[64];
    ENTER(NULL);
    snprintf(name, sizeof name, pid == MPS_SERVER ? "/usr/bin/nvidia-cuda-mps-server" : "process-%u", pid);
    return text(out, size, name);
}

ret_t nvmlDeviceGetCount_v2(unsigned *out) {
    ENTER(NULL);
    for (*out = 0; *out < (unsigned)num_devices && !devices[*out].parent;) ++*out;
    return OK;
}
ret_t nvmlDeviceGetHandleByIndex_v2(unsigned i, device_t **out) {
    if (i >= (unsigned)num_devices) return INVALID;
    ENTER(&devices[i]);
    *out = &devices[i];
    return OK;
}
ret_t nvmlDeviceGetHandleByUUID(const char *uuid, device_t **out) {
    device_t *found = NULL;
    for (int i = 0; i < num_devices; i++)
        if (!strcasecmp(devices[i].uuid, uuid)) found = &devices[i];
    ENTER(found);
    *out = found;
    return found ? OK : NOT_FOUND;
}
ret_t nvmlDeviceGetHandleByPciBusId_v2(const char *pci, device_t **out) {
    ENTER(NULL);
    for (int i = 0; i < num_devices; i++)
        if (devices[i].pci[0] && strstr(devices[i].pci, pci)) { *out = &devices[i]; return OK; }
    return NOT_FOUND;
}
ret_t nvmlDeviceGetName(device_t *d, char *out, unsigned size) { ENTER(d); return text(out, size, d->name); }
ret_t nvmlDeviceGetUUID(device_t *d, char *out, unsigned size) { ENTER(d); return text(out, size, d->uuid); }
ret_t nvmlDeviceGetVbiosVersion(device_t *d, char *out, unsigned size) { ENTER(d); return text(out, size, "96.00.00"); }

typedef struct { char legacy[16]; unsigned domain, bus, device, id, sub; char bus_id[32]; } pci_t;
ret_t nvmlDeviceGetPciInfo_v3(device_t *d, pci_t *out) {
    ENTER(d);
    memset(out, 0, sizeof *out);
    return text(out->bus_id, sizeof out->bus_id, d->pci);
}

#define UNSIGNED(function, expression) ret_t function(device_t *d, unsigned *out) { ENTER(d); *out = zero ? 0 : (unsigned)(expression); return OK; }
UNSIGNED(nvmlDeviceGetEnforcedPowerLimit, d->power_limit)
UNSIGNED(nvmlDeviceGetPowerManagementLimit, d->power_limit)
UNSIGNED(nvmlDeviceGetPowerManagementDefaultLimit, d->power_default)
UNSIGNED(nvmlDeviceGetPowerUsage, 1000 * sense(d, &d->instant))
UNSIGNED(nvmlDeviceGetPersistenceMode, 1)
UNSIGNED(nvmlDeviceGetComputeMode, 0)
UNSIGNED(nvmlDeviceGetCurrPcieLinkGeneration, 5)
UNSIGNED(nvmlDeviceGetMaxPcieLinkGeneration, 5)
UNSIGNED(nvmlDeviceGetCurrPcieLinkWidth, d->pcie_width)
UNSIGNED(nvmlDeviceGetMaxPcieLinkWidth, 16)
UNSIGNED(nvmlDeviceGetPerformanceState, 0)
UNSIGNED(nvmlDeviceIsMigDeviceHandle, d->parent != NULL)
UNSIGNED(nvmlDeviceGetMaxMigDeviceCount, 7)
ret_t nvmlDeviceGetMigDeviceHandleByIndex(device_t *d, unsigned index, device_t **out) {
    ENTER(d);
    for (int i = 0; i < num_devices; i++)
        if (devices[i].parent == d && !index--) { *out = &devices[i]; return OK; }
    return NOT_FOUND;
}

ret_t nvmlDeviceGetPowerManagementLimitConstraints(device_t *d, unsigned *low, unsigned *high) {
    ENTER(d);
    *low = 200000;
    *high = 700000;
    return OK;
}
ret_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device_t *d, device_t **out) {
    ENTER(d);
    if (!d->parent) return INVALID;
    *out = d->parent;
    return OK;
}
ret_t nvmlDeviceGetMigMode(device_t *d, unsigned *now_on, unsigned *pending) {
    ENTER(d);
    *now_on = *pending = 0;
    for (int i = 0; i < num_devices; i++) if (devices[i].parent == d) *now_on = *pending = 1;
    return OK;
}
ret_t nvmlDeviceGetEccMode(device_t *d, unsigned *now_on, unsigned *pending) { ENTER(d); *now_on = *pending = !zero; return OK; }
ret_t nvmlDeviceGetTotalEccErrors(device_t *d, int type, int counter, unsigned long long *out) {
    (void)type; (void)counter;
    ENTER(d);
    *out = 0;
    return OK;
}
ret_t nvmlDeviceGetCudaComputeCapability(device_t *d, int *major, int *minor) { ENTER(d); *major = 9; *minor = 0; return OK; }
ret_t nvmlDeviceGetPcieThroughput(device_t *d, int which, unsigned *out) { (void)which; ENTER(d); pause_for(0.02); *out = 1; return OK; }

static double sm_clock(device_t *d) { return now() < d->clock_at ? d->clock_before : d->clock_after; }
ret_t nvmlDeviceGetClockInfo(device_t *d, int type, unsigned *out) {
    ENTER(d);
    *out = zero ? 0 : type == 2 ? d->memory_clock : (unsigned)sm_clock(d->parent ? d->parent : d);
    return OK;
}
ret_t nvmlDeviceGetMaxClockInfo(device_t *d, int type, unsigned *out) { ENTER(d); *out = type == 2 ? 2619 : 1980; return OK; }
ret_t nvmlDeviceGetClock(device_t *d, int type, int id, unsigned *out) {
    (void)id;
    ENTER(d);
    *out = type == 2 ? 2619 : 1980;
    return OK;
}
ret_t nvmlDeviceGetTemperature(device_t *d, int sensor, unsigned *out) { (void)sensor; ENTER(d); *out = zero ? 0 : d->temperature; return OK; }
ret_t nvmlDeviceGetUtilizationRates(device_t *d, unsigned *out) {
    ENTER(d);
    if (d->parent) return NOT_SUPPORTED;
    out[0] = zero ? 0 : 97;
    out[1] = 40;
    return OK;
}
ret_t nvmlDeviceGetTotalEnergyConsumption(device_t *d, unsigned long long *out) {
    ENTER(d);
    if (!d->energy_call) return NOT_SUPPORTED;
    *out = zero ? 0 : counter_mj(d);
    return OK;
}
ret_t nvmlDeviceGetMemoryInfo(device_t *d, unsigned long long *out) {
    ENTER(d);
    out[0] = d->memory_total;
    out[1] = d->memory_total - d->memory_used - d->memory_reserved;
    out[2] = d->memory_used + d->memory_reserved; /* the first version counts what the driver reserves as used */
    return OK;
}
ret_t nvmlDeviceGetComputeRunningProcesses_v3(device_t *d, unsigned *count, void *out) {
    typedef struct { unsigned pid; unsigned long long bytes; unsigned gi, ci; } process_t;
    ENTER(d);
    if (*count < (unsigned)d->num_pids || (d->num_pids && !out)) { *count = d->num_pids; return TOO_SMALL; }
    *count = d->num_pids;
    for (int i = 0; i < d->num_pids; i++) ((process_t *)out)[i] = (process_t){d->pids[i], d->pid_memory[i], -1u, -1u};
    return OK;
}
ret_t nvmlDeviceGetComputeRunningProcesses(device_t *d, unsigned *count, void *out) {
    typedef struct { unsigned pid; unsigned long long bytes; } process_t;
    ENTER(d);
    if (*count < (unsigned)d->num_pids || (d->num_pids && !out)) { *count = d->num_pids; return TOO_SMALL; }
    *count = d->num_pids;
    for (int i = 0; i < d->num_pids; i++) ((process_t *)out)[i] = (process_t){d->pids[i], d->pid_memory[i]};
    return OK;
}
ret_t nvmlDeviceGetCurrentClocksThrottleReasons(device_t *d, unsigned long long *out) { ENTER(d); *out = reasons_now(d->parent ? d->parent : d); return OK; }

static ret_t field_value(device_t *d, field_t *f) {
    static const unsigned held[REASONS] = {74, 76, 269, 270, 271};
    int zero = 0;
    char call[32];
    snprintf(call, sizeof call, "field:%u", f->fieldId);
    pthread_mutex_lock(&lock);
    rule_t *r = rule_for(call, index_of(d));
    ret_t code = r ? r->code : OK;
    zero = r && r->zero;
    pthread_mutex_unlock(&lock);
    f->timestamp = (long long)(now() * 1e6);
    if (code) return code;
    for (int i = 0; i < REASONS; i++)
        if (f->fieldId == held[i]) { f->valueType = 3; f->value.ull = zero ? 0 : held_ns(d, i, now()); return OK; }
    switch (f->fieldId) {
    case 185:
    case 186:
        if ((int)f->scopeId != d->scope) return NOT_SUPPORTED;
        f->valueType = 1;
        f->value.ui = zero ? 0 : (unsigned)lround(1000 * sense(d, f->fieldId == 186 ? &d->instant : &d->average));
        return OK;
    case 83:
        if (!d->energy_call) return NOT_SUPPORTED;
        f->valueType = 3;
        f->value.ull = zero ? 0 : counter_mj(d);
        return OK;
    case 82:
        f->valueType = 1;
        f->value.ui = zero ? 0 : 70;
        return OK;
    default:
        return NOT_SUPPORTED;
    }
}

ret_t nvmlDeviceGetFieldValues(device_t *d, int n, field_t *fields) {
    ENTER(d);
    if (!d->have_fields || d->parent) return NOT_SUPPORTED;
    for (int i = 0; i < n; i++) {
        fields[i].value.ull = 0;
        fields[i].nvmlReturn = field_value(d, &fields[i]);
    }
    return OK;
}

#ifndef OLD_DRIVER
ret_t nvmlDeviceGetCurrentClocksEventReasons(device_t *d, unsigned long long *out) { ENTER(d); *out = reasons_now(d->parent ? d->parent : d); return OK; }

typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2_t;
ret_t nvmlDeviceGetMemoryInfo_v2(device_t *d, memory_v2_t *out) {
    ENTER(d);
    if (out->version != 0x02000028) return VERSION_MISMATCH;
    out->total = d->memory_total;
    out->reserved = d->memory_reserved;
    out->used = d->memory_used;
    out->free = d->memory_total - d->memory_used - d->memory_reserved;
    return OK;
}

/* GPM: SM activity is power over 1000 W, tensor half of it, DRAM a quarter: means of known integrals. */
typedef struct { device_t *device; double at; } gpm_sample_t;
typedef struct { unsigned id; int code; double value; const char *names[3]; } gpm_metric_t;
typedef struct { unsigned version, count; gpm_sample_t *one, *two; gpm_metric_t metrics[]; } gpm_request_t;

ret_t nvmlGpmQueryDeviceSupport(device_t *d, unsigned *out) { ENTER(d); out[1] = d->gpm; return OK; }
ret_t nvmlGpmSampleAlloc(gpm_sample_t **out) { ENTER(NULL); *out = calloc(1, sizeof **out); return OK; }
ret_t nvmlGpmSampleFree(gpm_sample_t *sample) { ENTER(NULL); free(sample); return OK; }
ret_t nvmlGpmSampleGet(device_t *d, gpm_sample_t *sample) {
    ENTER(d);
    sample->device = d;
    sample->at = now();
    return OK;
}
ret_t nvmlGpmMetricsGet(gpm_request_t *q) {
    ENTER(NULL);
    double span = q->two->at - q->one->at;
    if (span < 0.1) return INVALID;
    double share = (energy(q->two->device, q->two->at) - energy(q->one->device, q->one->at)) / span / 1000;
    for (unsigned i = 0; i < q->count; i++) {
        q->metrics[i].code = OK;
        q->metrics[i].value = 100 * share / (q->metrics[i].id == 5 ? 2 : q->metrics[i].id == 10 ? 4 : 1);
    }
    return OK;
}
#endif
