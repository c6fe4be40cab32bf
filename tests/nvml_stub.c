/* A stand-in for the driver's libnvidia-ml.so.1, which nvidia-ml-py loads unmodified: one GPU with fixed readings.
   NVML_STUB_NO_POWER makes it a GPU without a power sensor; NVML_STUB_NO_DRIVER a driver that does not answer;
   NVML_STUB_DRIVER, NVML_STUB_CUDA (12.4 is 12040) and NVML_STUB_NAME name another driver, its CUDA, another GPU. */
#include <stdlib.h>
#include <string.h>

typedef int nvmlReturn_t;
enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, DRIVER_NOT_LOADED = 9 };
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned int gpu, memory; } Utilization;

static const char *set(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value ? value : otherwise;
}
static void say(char *to, unsigned int length, const char *text) { strncpy(to, text, length); }

nvmlReturn_t nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    return getenv("NVML_STUB_NO_DRIVER") ? DRIVER_NOT_LOADED : SUCCESS;
}
nvmlReturn_t nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(nvmlReturn_t code) {
    return code == NOT_SUPPORTED ? "Not Supported" : code == DRIVER_NOT_LOADED ? "Driver Not Loaded" : "Other";
}
nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count) { *count = 1; return SUCCESS; }
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) {
    *device = (void *)1;
    return index == 0 ? SUCCESS : INVALID_ARGUMENT;
}
nvmlReturn_t nvmlSystemGetDriverVersion(char *to, unsigned int n) {
    say(to, n, set("NVML_STUB_DRIVER", "580.00.01"));
    return SUCCESS;
}
nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version) {
    *version = atoi(set("NVML_STUB_CUDA", "13000"));
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetName(void *d, char *to, unsigned int n) {
    (void)d;
    say(to, n, set("NVML_STUB_NAME", "Stub GPU"));
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetUUID(void *d, char *to, unsigned int n) { (void)d; say(to, n, "GPU-stub"); return SUCCESS; }
nvmlReturn_t nvmlDeviceGetMemoryInfo(void *d, Memory *m) {
    (void)d;
    m->total = 8ull << 30; m->used = 1ull << 30; m->free = 7ull << 30;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetPowerUsage(void *d, unsigned int *mw) {
    (void)d; *mw = 125000;
    return getenv("NVML_STUB_NO_POWER") ? NOT_SUPPORTED : SUCCESS;
}
nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(void *d, unsigned long long *mj) {
    static unsigned long long energy = 1000; (void)d;
    *mj = energy += 500;
    return getenv("NVML_STUB_NO_POWER") ? NOT_SUPPORTED : SUCCESS;
}
nvmlReturn_t nvmlDeviceGetUtilizationRates(void *d, Utilization *u) { (void)d; u->gpu = 37; u->memory = 5; return SUCCESS; }
nvmlReturn_t nvmlDeviceGetClockInfo(void *d, int kind, unsigned int *mhz) {
    (void)d; *mhz = kind == 1 ? 1980 : 3201;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetTemperature(void *d, int sensor, unsigned int *c) { (void)d; (void)sensor; *c = 41; return SUCCESS; }
