/* A stand-in for the driver's libnvidia-ml.so.1, which nvidia-ml-py loads unmodified. It plays the devices of the text file
   that NVML_SCRIPT names; without one, one GPU that draws 125 W. A line of the script is a word and its values:

     driver VERSION, cuda NUMBER    12.4 is 12040
     init CODE                      what nvmlInit returns
     clock virtual                  time stands still but for nvmlStubAdvance(ns)
     origin NS                      CLOCK_REALTIME of the true power's beginning; else when the library was loaded
     gpu NAME                       begins a GPU; all that follow are of the last one begun:
     arch N                         NVML_DEVICE_ARCH_…
     memory TOTAL RESERVED USED     MiB
     load MS W  MS W …              true power: straight lines between these points, the last one held
     repeat MS                      … or the points over again
     sensor NAME MS MS GAIN         usage, average or instant: update period, averaging window, what it reads of 1 W
     counter MS GAIN                energy counter: update period, what it counts of 1 J
     buffer MS COUNT                driver-side buffer: one sample of the instant sensor each MS, the last COUNT kept
     throttle MS MASK               reasons from that moment on
     mig INSTANCES                  MIG mode, with that many instances
     fail WHAT CODE FROM UNTIL      an NVML function, or a field's number, returns CODE between two moments, ms; `*`: all */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };
enum { GPUS = 8, POINTS = 64, FAULTS = 32, SENSORS = 3, INSTANCES = 8, USAGE = 0, AVERAGE = 1, INSTANT = 2 };
enum { FIELD_AVERAGE = 185, FIELD_INSTANT = 186, FIELD_TX = 197, FIELD_RX = 198, UNSIGNED_INT = 1, UNSIGNED_LONG_LONG = 3 };
#define FOREVER 1e18
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned int version; unsigned long long total, reserved, free, used; } Memory2;
typedef struct { unsigned int gpu, memory; } Utilization;
typedef union { double d; unsigned int ui; unsigned long ul; unsigned long long ull; } Value;
typedef struct { unsigned int field, scope; int64_t timestamp, latency; int type, code; Value value; } FieldValue;
typedef struct { unsigned long long timestamp; Value value; } Sample;
typedef struct { double update, window, gain; } Sensor;
typedef struct { char what[64]; int code; double from, until; } Fault;
typedef struct {
    int number;
    char name[96];
    unsigned int arch, mig, points, faults, throttled, buffered;
    unsigned long long total, reserved, used, mask;
    double at[POINTS], watts[POINTS], repeat, throttle_from, counter_update, counter_gain, buffer_update;
    Sensor sensors[SENSORS];
    Fault fault[FAULTS];
} Gpu;
typedef struct { int gpu, instance; } Handle;

static Gpu gpus[GPUS];
static Handle handles[GPUS], instances[GPUS][INSTANCES];
static unsigned int count;
static char driver[64] = "580.00.01";
static int cuda = 13000, init_code, is_virtual;
static int64_t origin_ns, virtual_ns = 1700000000000000000;

static int64_t now_ns(void) {
    struct timespec t;
    if (is_virtual) return virtual_ns;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}
static double now_ms(void) { return (now_ns() - origin_ns) / 1e6; }
void nvmlStubAdvance(unsigned long long ns) { virtual_ns += ns; }

static void begin(const char *name) {
    Gpu *g = &gpus[count];
    memset(g, 0, sizeof *g);
    g->number = count;
    snprintf(g->name, sizeof g->name, "%s", name);
    g->arch = 9; g->total = 8ull << 30; g->reserved = 512ull << 20; g->used = 1ull << 30;
    g->points = 1; g->watts[0] = 125;
    g->sensors[USAGE] = g->sensors[AVERAGE] = (Sensor){100, 1000, 1};
    g->sensors[INSTANT] = (Sensor){100, 25, 1};
    g->counter_update = 20; g->counter_gain = 1; g->buffer_update = 20; g->buffered = 100;
    handles[count] = (Handle){count, -1};
    for (int i = 0; i < INSTANCES; i++) instances[count][i] = (Handle){count, i};
    count++;
}
static void read_load(Gpu *g, char *rest) {
    char *word;
    for (g->points = 0; (word = strtok(rest, " \n")) && g->points < POINTS; rest = NULL) {
        g->at[g->points] = atof(word);
        g->watts[g->points++] = atof(strtok(NULL, " \n"));
    }
}
static void read_line(char *line) {
    char key[32] = "", word[64] = "";
    int used = 0, code = 0;
    double a = 0, b = 0, c = 1;
    if (sscanf(line, "%31s %n", key, &used) < 1 || key[0] == '#') return;
    char *rest = line + used;
    Gpu *g = &gpus[count ? count - 1 : 0];
    rest[strcspn(rest, "\n")] = 0;
    if (!strcmp(key, "driver")) snprintf(driver, sizeof driver, "%.60s", rest);
    else if (!strcmp(key, "cuda")) cuda = atoi(rest);
    else if (!strcmp(key, "init")) init_code = atoi(rest);
    else if (!strcmp(key, "clock")) is_virtual = 1;
    else if (!strcmp(key, "origin")) origin_ns = atoll(rest);
    else if (!strcmp(key, "gpu")) begin(rest);
    else if (!strcmp(key, "arch")) g->arch = atoi(rest);
    else if (!strcmp(key, "memory")) {
        sscanf(rest, "%llu %llu %llu", &g->total, &g->reserved, &g->used);
        g->total <<= 20; g->reserved <<= 20; g->used <<= 20;
    } else if (!strcmp(key, "load")) read_load(g, rest);
    else if (!strcmp(key, "repeat")) g->repeat = atof(rest);
    else if (!strcmp(key, "sensor")) {
        sscanf(rest, "%63s %lf %lf %lf", word, &a, &b, &c);
        g->sensors[word[0] == 'u' ? USAGE : word[0] == 'a' ? AVERAGE : INSTANT] = (Sensor){a, b, c};
    } else if (!strcmp(key, "counter")) { sscanf(rest, "%lf %lf", &g->counter_update, &c); g->counter_gain = c; }
    else if (!strcmp(key, "buffer")) sscanf(rest, "%lf %u", &g->buffer_update, &g->buffered);
    else if (!strcmp(key, "throttle")) { sscanf(rest, "%lf %llu", &g->throttle_from, &g->mask); g->throttled = 1; }
    else if (!strcmp(key, "mig")) g->mig = atoi(rest);
    else if (!strcmp(key, "fail")) {
        a = -FOREVER; b = FOREVER;
        sscanf(rest, "%63s %d %lf %lf", word, &code, &a, &b);
        Fault *f = &g->fault[g->faults++];
        snprintf(f->what, sizeof f->what, "%s", word);
        f->code = code; f->from = a; f->until = b;
    } else { fprintf(stderr, "NVML_SCRIPT: unknown word %s\n", key); abort(); }
}
__attribute__((constructor)) static void load(void) {
    char line[4096];
    const char *path = getenv("NVML_SCRIPT");
    FILE *file = path ? fopen(path, "r") : NULL;
    while (file && fgets(line, sizeof line, file)) read_line(line);
    if (file) fclose(file);
    if (!file) begin("Stub GPU");
    if (!origin_ns) origin_ns = now_ns();
}

/* mJ that the true power came to from 0 to t ms, and from 0 to any moment of the first repeat. */
static double once(const Gpu *g, double t) {
    double sum = 0;
    for (unsigned int i = 0; i < g->points; i++) {
        double from = g->at[i], to = i + 1 < g->points ? g->at[i + 1] : FOREVER;
        if (t <= from && i) break;
        double until = t < to ? t : to, slope = i + 1 < g->points ? (g->watts[i + 1] - g->watts[i]) / (to - from) : 0;
        if (until > from) sum += (until - from) * (g->watts[i] + slope * (until - from) / 2);
    }
    return sum;
}
static double energy(const Gpu *g, double t) {
    if (t < 0) return t * g->watts[0];
    if (!g->repeat) return once(g, t);
    long long rounds = (long long)(t / g->repeat);
    return rounds * once(g, g->repeat) + once(g, t - rounds * g->repeat);
}
static double tick(double t, double update) {
    long long number = (long long)(t / update);
    return (number - (t < number * update)) * update;
}
static double reading(const Gpu *g, int sensor, double at) {
    const Sensor *s = &g->sensors[sensor];
    double end = tick(at, s->update);
    return 1000 * s->gain * (energy(g, end) - energy(g, end - s->window)) / s->window;
}
static int fault(const Gpu *g, const char *what) {
    double now = now_ms();
    for (unsigned int i = 0; i < g->faults; i++) {
        const Fault *f = &g->fault[i];
        if ((!strcmp(f->what, what) || f->what[0] == '*') && now >= f->from && now < f->until) return f->code;
    }
    return SUCCESS;
}
#define OF(device) \
    const Gpu *g = &gpus[((Handle *)(device))->gpu]; \
    int instance = ((Handle *)(device))->instance, code = fault(g, __func__); \
    (void)instance; \
    if (code) return code
#define SAY(to, n, ...) (snprintf(to, n, __VA_ARGS__), SUCCESS)

int nvmlInitWithFlags(unsigned int flags) { (void)flags; return init_code; }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { return code == 21 ? "No data" : "Other"; }
int nvmlDeviceGetCount_v2(unsigned int *n) { *n = count; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) {
    if (index >= count) return INVALID_ARGUMENT;
    *device = &handles[index];
    return fault(&gpus[index], __func__);
}
int nvmlSystemGetDriverVersion(char *to, unsigned int n) { return SAY(to, n, "%s", driver); }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = cuda; return SUCCESS; }
int nvmlDeviceGetName(void *d, char *to, unsigned int n) { OF(d); return SAY(to, n, "%s", g->name); }
int nvmlDeviceGetUUID(void *d, char *to, unsigned int n) {
    OF(d);
    if (instance >= 0) return SAY(to, n, "MIG-stub-%d-%d", g->number, instance);
    return g->number ? SAY(to, n, "GPU-stub-%d", g->number) : SAY(to, n, "GPU-stub");
}
int nvmlDeviceGetArchitecture(void *d, unsigned int *arch) { OF(d); *arch = g->arch; return SUCCESS; }
int nvmlDeviceGetMemoryInfo(void *d, Memory *m) {
    OF(d);
    m->total = g->total; m->used = g->used + g->reserved; m->free = m->total - m->used;
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo_v2(void *d, Memory2 *m) {
    OF(d);
    unsigned int share = instance < 0 ? 1 : g->mig;
    if (m->version != (sizeof *m | 2u << 24)) return 25;
    m->total = g->total / share; m->used = g->used / share; m->reserved = g->reserved / share;
    m->free = m->total - m->used - m->reserved;
    return SUCCESS;
}
int nvmlDeviceGetPowerUsage(void *d, unsigned int *mw) { OF(d); *mw = reading(g, USAGE, now_ms()) + 0.5; return SUCCESS; }
int nvmlDeviceGetEnforcedPowerLimit(void *d, unsigned int *mw) { OF(d); *mw = 700000; return SUCCESS; }
int nvmlDeviceGetTotalEnergyConsumption(void *d, unsigned long long *mj) {
    OF(d);
    *mj = 1000000 + g->counter_gain * energy(g, tick(now_ms(), g->counter_update));
    return SUCCESS;
}
int nvmlDeviceGetFieldValues(void *d, int n, FieldValue *values) {
    OF(d);
    for (int i = 0; i < n; i++) {
        FieldValue *v = &values[i];
        char name[16];
        snprintf(name, sizeof name, "%u", v->field);
        v->timestamp = now_ns() / 1000; v->latency = 5; v->type = UNSIGNED_INT; v->code = fault(g, name);
        if (v->field == FIELD_AVERAGE) v->value.ui = reading(g, AVERAGE, now_ms()) + 0.5;
        else if (v->field == FIELD_INSTANT) v->value.ui = reading(g, INSTANT, now_ms()) + 0.5;
        else if (v->field == FIELD_TX || v->field == FIELD_RX) {
            v->type = UNSIGNED_LONG_LONG; v->value.ull = (v->field == FIELD_TX ? 2000 : 5000) * (uint64_t)now_ms();
        } else v->code = NOT_SUPPORTED;
    }
    return SUCCESS;
}
int nvmlDeviceGetSamples(
    void *d, int kind, unsigned long long last, int *type, unsigned int *n, Sample *samples) {
    OF(d);
    double newest = tick(now_ms(), g->buffer_update);
    unsigned int found = 0, room = samples ? *n : g->buffered;
    if (kind != 0) return NOT_SUPPORTED;
    *type = UNSIGNED_INT;
    for (int i = g->buffered - 1; i >= 0; i--) {
        double at = newest - i * g->buffer_update;
        unsigned long long us = (origin_ns + (int64_t)(at * 1e6)) / 1000;
        if (us <= last || at < 0) continue;
        if (samples && found >= room) return INSUFFICIENT_SIZE;
        if (samples) { samples[found].timestamp = us; samples[found].value.ui = reading(g, INSTANT, at) + 0.5; }
        found++;
    }
    if (!found) return NOT_FOUND;
    *n = samples ? found : g->buffered;
    return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(void *d, Utilization *u) {
    OF(d);
    u->gpu = 37; u->memory = 5;
    return g->mig ? NOT_SUPPORTED : SUCCESS;
}
int nvmlDeviceGetClockInfo(void *d, int kind, unsigned int *mhz) { OF(d); *mhz = kind == 1 ? 1980 : 3201; return SUCCESS; }
int nvmlDeviceGetTemperature(void *d, int sensor, unsigned int *c) { OF(d); (void)sensor; *c = 41; return SUCCESS; }
int nvmlDeviceGetCurrentClocksThrottleReasons(void *d, unsigned long long *mask) {
    OF(d);
    *mask = g->throttled && now_ms() >= g->throttle_from ? g->mask : 0;
    return SUCCESS;
}
int nvmlDeviceGetPcieThroughput(void *d, int kind, unsigned int *kib) { OF(d); *kib = kind ? 5000 : 2000; return SUCCESS; }
int nvmlDeviceGetTotalEccErrors(void *d, int type, int kind, unsigned long long *errors) {
    OF(d);
    (void)kind; *errors = type ? 0 : 3;
    return SUCCESS;
}
int nvmlDeviceGetMigMode(void *d, unsigned int *current, unsigned int *pending) {
    OF(d);
    *current = *pending = g->mig > 0;
    return g->arch < 7 ? NOT_SUPPORTED : SUCCESS;
}
int nvmlDeviceGetMaxMigDeviceCount(void *d, unsigned int *n) { OF(d); *n = g->arch < 7 ? 0 : 7; return SUCCESS; }
int nvmlDeviceGetMigDeviceHandleByIndex(void *d, unsigned int index, void **device) {
    OF(d);
    if (index >= g->mig) return NOT_FOUND;
    *device = &instances[g->number][index];
    return SUCCESS;
}
int nvmlDeviceGetGpuInstanceId(void *d, unsigned int *id) { OF(d); *id = instance + 1; return SUCCESS; }
