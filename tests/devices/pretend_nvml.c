/* A library in the place of NVIDIA's NVML: PRETEND_GPUS GPUs, each divided into PRETEND_INSTANCES (0: MIG is off).
   With PRETEND_FAULT it does not start, with that error. */
#include <stdio.h>
#include <stdlib.h>

static long number(const char *name) {
    const char *value = getenv(name);
    return value ? atol(value) : 0;
}


int nvmlInit_v2(void) { return (int)number("PRETEND_FAULT"); }
int nvmlInit(void) { return nvmlInit_v2(); }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return code == 18 ? "Driver/library version mismatch" : "as pretended"; }

int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = (unsigned)number("PRETEND_GPUS");
    return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    *device = (void *)(100L * (index + 1));
    return 0;
}

int nvmlDeviceGetUUID(void *device, char *text, unsigned length) {
    long which = (long)device;
    snprintf(text, length, "%s-%08lx-0000-0000-0000-000000000000", which % 100 ? "MIG" : "GPU", which * 0x1111L);
    return 0;
}

int nvmlDeviceGetMigMode(void *device, unsigned *mode, unsigned *pending) {
    *mode = *pending = number("PRETEND_INSTANCES") > 0;
    return 0;
}

int nvmlDeviceGetMaxMigDeviceCount(void *device, unsigned *count) {
    *count = 7;
    return 0;
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *device, unsigned index, void **instance) {
    if (index >= number("PRETEND_INSTANCES")) return 6; /* not found */
    *instance = (void *)((long)device + index + 1);
    return 0;
}

int nvmlSystemGetDriverVersion(char *text, unsigned length) {
    const char *version = getenv("PRETEND_DRIVER");
    snprintf(text, length, "%s", version ? version : "580.65.06");
    return 0;
}
