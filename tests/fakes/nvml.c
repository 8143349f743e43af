/* A simulated libnvidia-ml.so.1: GPUs with a known power curve.
 *
 * GB_FAKE_NVML names a file of "key value" lines that is read again at every call, so that a test
 * can change the machine while something reads it. Times are of CLOCK_MONOTONIC, in s. The energy
 * counter is the integral of the curve at the latest multiple of tick_s, whole mJ, and it is
 * counter_lag_s late. Power is the mean over the power_window_s before the latest multiple of
 * power_period_s, held until the next; without them it is the curve at once. Both are gain times the
 * truth. Each call on a device takes call_s. Device i draws (i + 1) times the curve.
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    FUNCTION_NOT_FOUND = 13,
    GPU_IS_LOST = 15
};

#define MAX_DEVICES 16
#define MAX_PIDS 32
#define MAX_PIECES 64
#define WALK_STEPS 64

enum { SQUARE = 0, RAMP = 1, WALK = 2, DECAY = 3 };

/* See PowerCurve in powercap_curve.py. Doubles alone, so that memcmp tells two curves apart. */
typedef struct {
    double low_w, high_w, period_s, shape, seed;
} Curve;

typedef struct {
    int devices, counter, power, instant, init_error, architecture;
    double tick_s, counter_offset_j, lost_from_s, lost_to_s;
    double blocked_from_s, blocked_to_s, frozen_from_s, frozen_to_s;
    double power_period_s, power_window_s, counter_lag_s, call_s, gain;
    int process_list;
    unsigned temperature_c, clock_mhz;
    unsigned long long reasons, memory_bytes;
    unsigned pids[MAX_PIDS];
    unsigned pid_count;
    Curve curve;
} Machine;

typedef struct {
    double start_s, base_j;
    Curve curve;
} Piece;

typedef struct {
    int index;
} Device;

typedef struct {
    unsigned pid;
    unsigned long long used_bytes;
    unsigned gpu_instance, compute_instance;
} ProcessInfo;

typedef struct {
    unsigned long long total, free, used;
} Memory;

typedef struct {
    unsigned gpu, memory;
} Utilization;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int initialized;
static Device handles[MAX_DEVICES];
static double device_setting(const char *key, int index, double otherwise);
static int device_text(const char *key, int index, char *text, unsigned length);
static Piece pieces[MAX_PIECES];
static int piece_count;

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The values that a period of a ramp or a walk goes straight between; their number. */
static int knots_w(const Curve *c, double *knots) {
    if (c->shape == RAMP) {
        knots[0] = c->low_w;
        knots[1] = c->high_w;
        return 2;
    }
    unsigned long long state = (unsigned long long)c->seed;
    double power = (c->low_w + c->high_w) / 2, span = c->high_w - c->low_w;
    for (int k = 0; k < WALK_STEPS; k++) {
        knots[k] = power;
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        power += ((double)(state >> 11) / 9007199254740992.0 * 2 - 1) * 0.5 * span;
        if (power > c->high_w) power = 2 * c->high_w - power;
        if (power < c->low_w) power = 2 * c->low_w - power;
    }
    return WALK_STEPS;
}

static double curve_w(const Curve *c, double t) {
    if (c->period_s <= 0) return c->low_w;
    if (c->shape == DECAY) {
        double since = fmax(t - c->seed, 0);
        return c->low_w + (c->high_w - c->low_w) * exp(-since / c->period_s);
    }
    double rest = fmod(t, c->period_s), knots[WALK_STEPS];
    if (c->shape == SQUARE) return rest < c->period_s / 2 ? c->low_w : c->high_w;
    int n = knots_w(c, knots);
    double place = rest / (c->period_s / n);
    int k = place < n ? (int)place : n - 1;
    return knots[k] + (place - k) * (knots[(k + 1) % n] - knots[k]);
}

/* Energy of the curve from t = 0 to t. */
static double curve_j(const Curve *c, double t) {
    if (c->period_s <= 0) return c->low_w * t;
    if (c->shape == DECAY) {
        double since = fmax(t - c->seed, 0);
        return c->low_w * since + c->high_w * fmin(t, c->seed) +
               (c->high_w - c->low_w) * c->period_s * (1 - exp(-since / c->period_s));
    }
    double whole = floor(t / c->period_s), rest = t - whole * c->period_s, half = c->period_s / 2;
    if (c->shape == SQUARE) {
        double low_s = whole * half + fmin(rest, half), high_s = whole * half + fmax(rest - half, 0);
        return c->low_w * low_s + c->high_w * high_s;
    }
    double knots[WALK_STEPS], sum = 0, passed = 0;
    int n = knots_w(c, knots);
    double step = c->period_s / n, place = rest / step;
    int k = place < n ? (int)place : n - 1;
    for (int i = 0; i < n; i++) sum += knots[i];
    for (int i = 0; i < k; i++) passed += knots[i];
    double part = place - k, slope = knots[(k + 1) % n] - knots[k];
    passed += (knots[k] - knots[0]) / 2 + knots[k] * part + slope * part * part / 2;
    return step * (whole * sum + passed);
}

static double energy_j(double t) {
    int i = piece_count - 1;
    while (i > 0 && pieces[i].start_s > t) i--;
    return pieces[i].base_j + curve_j(&pieces[i].curve, t) -
           curve_j(&pieces[i].curve, pieces[i].start_s);
}

static Machine look(void) {
    Machine m = {.devices = 1, .counter = 1, .power = 1, .instant = 1, .architecture = 9, .tick_s = 0.1,
                 .lost_from_s = INFINITY, .lost_to_s = INFINITY, .blocked_from_s = INFINITY,
                 .blocked_to_s = INFINITY, .frozen_from_s = INFINITY, .frozen_to_s = INFINITY,
                 .temperature_c = 40, .gain = 1, .process_list = 3,
                 .clock_mhz = 1500, .memory_bytes = 1ULL << 30, .curve = {200, 200, 0, SQUARE, 0}};
    const char *path = getenv("GB_FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    char key[64], value[256];
    while (file && fscanf(file, "%63s %255s", key, value) == 2) {
        double number = strtod(value, NULL);
        if (!strcmp(key, "devices")) m.devices = (int)number;
        else if (!strcmp(key, "counter")) m.counter = (int)number;
        else if (!strcmp(key, "power")) m.power = (int)number;
        else if (!strcmp(key, "init_error")) m.init_error = (int)number;
        else if (!strcmp(key, "architecture")) m.architecture = (int)number;
        else if (!strcmp(key, "tick_s")) m.tick_s = number;
        else if (!strcmp(key, "counter_offset_j")) m.counter_offset_j = number;
        else if (!strcmp(key, "instant")) m.instant = (int)number;
        else if (!strcmp(key, "blocked_from_s")) m.blocked_from_s = number;
        else if (!strcmp(key, "blocked_to_s")) m.blocked_to_s = number;
        else if (!strcmp(key, "frozen_from_s")) m.frozen_from_s = number;
        else if (!strcmp(key, "frozen_to_s")) m.frozen_to_s = number;
        else if (!strcmp(key, "lost_from_s")) m.lost_from_s = number;
        else if (!strcmp(key, "lost_to_s")) m.lost_to_s = number;
        else if (!strcmp(key, "temperature_c")) m.temperature_c = (unsigned)number;
        else if (!strcmp(key, "clock_mhz")) m.clock_mhz = (unsigned)number;
        else if (!strcmp(key, "reasons")) m.reasons = strtoull(value, NULL, 0);
        else if (!strcmp(key, "memory_bytes")) m.memory_bytes = strtoull(value, NULL, 0);
        else if (!strcmp(key, "low_w")) m.curve.low_w = number;
        else if (!strcmp(key, "high_w")) m.curve.high_w = number;
        else if (!strcmp(key, "period_s")) m.curve.period_s = number;
        else if (!strcmp(key, "shape"))
            m.curve.shape = !strcmp(value, "ramp")    ? RAMP
                            : !strcmp(value, "walk")  ? WALK
                            : !strcmp(value, "decay") ? DECAY
                                                      : SQUARE;
        else if (!strcmp(key, "power_period_s")) m.power_period_s = number;
        else if (!strcmp(key, "power_window_s")) m.power_window_s = number;
        else if (!strcmp(key, "counter_lag_s")) m.counter_lag_s = number;
        else if (!strcmp(key, "call_s")) m.call_s = number;
        else if (!strcmp(key, "gain")) m.gain = number;
        else if (!strcmp(key, "process_list")) m.process_list = (int)number;
        else if (!strcmp(key, "seed")) m.curve.seed = number;
        else if (!strcmp(key, "pid") && m.pid_count < MAX_PIDS)
            m.pids[m.pid_count++] = (unsigned)number;
    }
    if (file) fclose(file);
    if (!piece_count) {
        pieces[piece_count++] = (Piece){0, 0, m.curve};
    } else if (memcmp(&pieces[piece_count - 1].curve, &m.curve, sizeof(Curve)) &&
               piece_count < MAX_PIECES) {
        double t = now_s(), base_j = energy_j(t);
        pieces[piece_count++] = (Piece){t, base_j, m.curve};
    }
    return m;
}

/* Begin a call on a device: the machine as it is now, and whether the device answers. */
static int enter(const Device *device, Machine *m) {
    if (!initialized) return UNINITIALIZED;
    pthread_mutex_lock(&lock);
    *m = look();
    pthread_mutex_unlock(&lock);
    if (device < handles || device >= handles + MAX_DEVICES) return INVALID_ARGUMENT;
    if (m->call_s > 0) {
        long ns = (long)(m->call_s * 1e9);
        nanosleep(&(struct timespec){ns / 1000000000, ns % 1000000000}, NULL);
    }
    double t = now_s();
    while (t >= m->blocked_from_s && t < m->blocked_to_s) {
        nanosleep(&(struct timespec){0, 1000000}, NULL);
        t = now_s();
    }
    return t >= m->lost_from_s && t < m->lost_to_s ? GPU_IS_LOST : SUCCESS;
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    pthread_mutex_lock(&lock);
    Machine m = look();
    if (!m.init_error) initialized++;
    for (int i = 0; i < MAX_DEVICES; i++) handles[i].index = i;
    pthread_mutex_unlock(&lock);
    return m.init_error;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void) {
    if (!initialized) return UNINITIALIZED;
    initialized--;
    return SUCCESS;
}

/* Not NVML's: how many initialisations were not shut down. */
int fake_initialized(void) { return initialized; }

const char *nvmlErrorString(int result) {
    switch (result) {
    case SUCCESS: return "Success";
    case UNINITIALIZED: return "Uninitialized";
    case INVALID_ARGUMENT: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case 4: return "Insufficient Permissions";
    case 9: return "Driver Not Loaded";
    case GPU_IS_LOST: return "GPU is lost";
    case 18: return "Driver/library version mismatch";
    case FUNCTION_NOT_FOUND: return "Function Not Found";
    default: return "Unknown Error";
    }
}

int nvmlSystemGetDriverVersion(char *text, unsigned length) {
    if (!initialized) return UNINITIALIZED;
    snprintf(text, length, "999.00");
    return SUCCESS;
}

int nvmlSystemGetNVMLVersion(char *text, unsigned length) {
    snprintf(text, length, "13.999.00");
    return SUCCESS;
}

int nvmlSystemGetCudaDriverVersion_v2(int *version) {
    *version = 13000;
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    if (!initialized) return UNINITIALIZED;
    *count = (unsigned)look().devices;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **device) {
    if (!initialized) return UNINITIALIZED;
    if ((int)index >= look().devices || index >= MAX_DEVICES) return INVALID_ARGUMENT;
    *device = &handles[index];
    return SUCCESS;
}

int nvmlDeviceGetIndex(Device *device, unsigned *index) {
    *index = (unsigned)device->index;
    return SUCCESS;
}

int nvmlDeviceGetName(Device *device, char *text, unsigned length) {
    if (!device_text("name", device->index, text, length)) snprintf(text, length, "Simulated GPU");
    return SUCCESS;
}

int nvmlDeviceGetUUID(Device *device, char *text, unsigned length) {
    snprintf(text, length, "GPU-%08d-0000-0000-0000-000000000000", device->index);
    return SUCCESS;
}

/* "MIG-00000001-..." is an instance on GPU 1; its handle is good for nothing but its parent. */
static Device instances[MAX_DEVICES];

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Device *instance, Device **device) {
    if (instance < instances || instance >= instances + MAX_DEVICES) return INVALID_ARGUMENT;
    *device = &handles[instance - instances];
    return SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Device **device) {
    char text[96];
    int parent;
    if (sscanf(uuid, "MIG-%8d-", &parent) == 1 && parent < look().devices) {
        *device = &instances[parent];
        return SUCCESS;
    }
    for (int i = 0; i < look().devices; i++) {
        nvmlDeviceGetUUID(&handles[i], text, sizeof text);
        if (!strcmp(text, uuid)) {
            *device = &handles[i];
            return SUCCESS;
        }
    }
    return NOT_FOUND;
}

int nvmlDeviceGetArchitecture(Device *device, unsigned *architecture) {
    Machine m;
    int result = enter(device, &m);
    *architecture = (unsigned)m.architecture;
    return result;
}

int nvmlDeviceGetTotalEnergyConsumption(Device *device, unsigned long long *mj) {
    Machine m;
    int result = enter(device, &m);
    if (result) return result;
    if (!m.counter) return NOT_SUPPORTED;
    double tick = floor(now_s() / m.tick_s) * m.tick_s - m.counter_lag_s, lost_j = 0;
    pthread_mutex_lock(&lock);
    if (tick >= m.frozen_to_s) /* it goes on from where it stood: what flowed is not counted */
        lost_j = energy_j(m.frozen_to_s) - energy_j(m.frozen_from_s);
    else if (tick >= m.frozen_from_s)
        tick = m.frozen_from_s;
    double joules = (energy_j(tick) - lost_j) * m.gain * (device->index + 1) + m.counter_offset_j;
    if (device_setting("module_counter", device->index, 0))
        joules += device_setting("module_extra_w", device->index, 0) * tick;
    pthread_mutex_unlock(&lock);
    *mj = (unsigned long long)(joules * 1000);
    return SUCCESS;
}

/* What the power sensor of a device shows now. */
static double shown_w(const Machine *m, const Device *device) {
    double t = now_s();
    if (m->power_period_s > 0) t = floor(t / m->power_period_s) * m->power_period_s;
    pthread_mutex_lock(&lock);
    double watts = m->power_window_s > 0
                       ? (energy_j(t) - energy_j(t - m->power_window_s)) / m->power_window_s
                       : curve_w(&m->curve, t);
    pthread_mutex_unlock(&lock);
    return watts * m->gain * (device->index + 1);
}

int nvmlDeviceGetPowerUsage(Device *device, unsigned *mw) {
    Machine m;
    int result = enter(device, &m);
    if (result) return result;
    if (!m.power) return NOT_SUPPORTED;
    *mw = (unsigned)lround(shown_w(&m, device) * 1000);
    return SUCCESS;
}

typedef struct {
    unsigned field, scope;
    long long timestamp, latency_us;
    int type, result;
    union {
        unsigned number;
        unsigned long long wide;
    } value;
} FieldValue;

int nvmlDeviceGetFieldValues(Device *device, int count, FieldValue *values) {
    enum { POWER_INSTANT = 186 };
    Machine m;
    int result = enter(device, &m);
    if (result) return result;
    for (int i = 0; i < count; i++) {
        int scopes = (int)device_setting("scopes", device->index, 1); /* 1: GPU, 2: module */
        int answers = m.instant && values[i].scope < 2 && (scopes >> values[i].scope & 1);
        values[i].result = values[i].field == POWER_INSTANT && answers ? SUCCESS : NOT_SUPPORTED;
        double watts = shown_w(&m, device);
        if (values[i].scope == 1) watts += device_setting("module_extra_w", device->index, 0);
        values[i].value.number = (unsigned)lround(watts * 1000);
    }
    return SUCCESS;
}

int nvmlDeviceGetTemperature(Device *device, int sensor, unsigned *celsius) {
    (void)sensor;
    Machine m;
    int result = enter(device, &m);
    *celsius = (unsigned)device_setting("own_temperature_c", device->index, m.temperature_c);
    return result;
}

int nvmlDeviceGetClockInfo(Device *device, int type, unsigned *mhz) {
    enum { MEMORY = 2 };
    Machine m;
    int result = enter(device, &m);
    *mhz = type == MEMORY ? 2619 : m.clock_mhz;
    return result;
}

int nvmlDeviceGetCurrentClocksEventReasons(Device *device, unsigned long long *reasons) {
    Machine m;
    int result = enter(device, &m);
    *reasons = m.reasons | (unsigned long long)device_setting("own_reasons", device->index, 0);
    return result;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(Device *device, unsigned long long *reasons) {
    return nvmlDeviceGetCurrentClocksEventReasons(device, reasons);
}

int nvmlDeviceGetMemoryInfo(Device *device, Memory *memory) {
    Machine m;
    int result = enter(device, &m);
    memory->total = 80ULL << 30;
    memory->used = m.memory_bytes;
    memory->free = memory->total - memory->used;
    return result;
}

/* "process_list 2" is a driver before 510, which knows no v3; "process_list 0" knows neither. */
static int processes(int version, Device *device, unsigned *count, ProcessInfo *infos) {
    Machine m;
    int result = enter(device, &m);
    if (result) return result;
    if (m.process_list < version) return FUNCTION_NOT_FOUND;
    unsigned own = (unsigned)device_setting("own_pid", device->index, 0); /* "own_pid_3" */
    if (own && m.pid_count < MAX_PIDS) m.pids[m.pid_count++] = own;
    unsigned room = *count;
    *count = m.pid_count;
    if (room < m.pid_count || (!infos && m.pid_count)) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < m.pid_count; i++)
        infos[i] = (ProcessInfo){m.pids[i], 1ULL << 20, 0xffffffffu, 0xffffffffu};
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(Device *device, unsigned *count, ProcessInfo *infos) {
    return processes(3, device, count, infos);
}

int nvmlDeviceGetComputeRunningProcesses_v2(Device *device, unsigned *count, ProcessInfo *infos) {
    return processes(2, device, count, infos);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(Device *device, unsigned *count, ProcessInfo *infos) {
    (void)infos;
    Machine m;
    int result = enter(device, &m);
    *count = 0;
    return result;
}

int nvmlDeviceGetUtilizationRates(Device *device, Utilization *rates) {
    Machine m;
    int result = enter(device, &m);
    *rates = (Utilization){(unsigned)device_setting("utilization", device->index, 50),
                           (unsigned)device_setting("memory_utilization", device->index, 50)};
    return result;
}

/* One client of the multi-process service, "mps_client", whose server is "mps_server". */
int nvmlDeviceGetMPSComputeRunningProcesses_v3(Device *device, unsigned *count, ProcessInfo *infos) {
    Machine m;
    int result = enter(device, &m);
    if (result) return result;
    unsigned client = (unsigned)device_setting("mps_client", device->index, 0), room = *count;
    *count = client != 0;
    if (room < *count || (!infos && client)) return INSUFFICIENT_SIZE;
    if (client) infos[0] = (ProcessInfo){client, 1ULL << 20, 0xffffffffu, 0xffffffffu};
    return SUCCESS;
}

int nvmlSystemGetProcessName(unsigned pid, char *name, unsigned length) {
    if (!initialized) return UNINITIALIZED;
    int server = pid == (unsigned)device_setting("mps_server", 0, 0);
    snprintf(name, length, server ? "/usr/bin/nvidia-cuda-mps-server" : "python");
    return SUCCESS;
}

/* A setting of one device ("name_3") or of all ("name"), with spaces as "_": whether it is there. */
static int device_text(const char *key, int index, char *text, unsigned length) {
    const char *path = getenv("GB_FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    char wanted[64], found[64], value[256];
    int rank = 0;
    snprintf(wanted, sizeof wanted, "%s_%d", key, index);
    while (file && fscanf(file, "%63s %255s", found, value) == 2) {
        int better = !strcmp(found, wanted) ? 2 : !strcmp(found, key) ? 1 : 0;
        if (better <= rank) continue;
        rank = better;
        snprintf(text, length, "%s", value);
    }
    if (file) fclose(file);
    for (char *c = rank ? text : ""; *c; c++)
        if (*c == '_') *c = ' ';
    return rank;
}

static double device_setting(const char *key, int index, double otherwise) {
    char text[256];
    return device_text(key, index, text, sizeof text) ? strtod(text, NULL) : otherwise;
}

/* What 'gb doctor' asks. */

/* A setting that only these functions know, or what a device has without it. */
static unsigned setting(const char *wanted, unsigned otherwise) {
    const char *path = getenv("GB_FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    char key[64], value[256];
    while (file && fscanf(file, "%63s %255s", key, value) == 2)
        if (!strcmp(key, wanted)) otherwise = (unsigned)strtod(value, NULL);
    if (file) fclose(file);
    return otherwise;
}

/* "bare 1" makes devices that know none of it. */
static int known(const Device *device) {
    Machine m;
    int result = enter(device, &m);
    return result || !setting("bare", 0) ? result : NOT_SUPPORTED;
}

#define ANSWER(name, type, value)                    \
    int name(Device *device, type *answer) {         \
        int result = known(device);                  \
        if (!result) *answer = (type)(value);        \
        return result;                               \
    }

#define ANSWER_PAIR(name, first_value, second_value)                \
    int name(Device *device, unsigned *first, unsigned *second) {   \
        int result = known(device);                                 \
        if (result) return result;                                  \
        *first = (unsigned)(first_value);                           \
        *second = (unsigned)(second_value);                         \
        return SUCCESS;                                             \
    }

ANSWER_PAIR(nvmlDeviceGetCudaComputeCapability, setting("capability", 90) / 10, setting("capability", 90) % 10)
ANSWER_PAIR(nvmlDeviceGetMigMode, device_setting("mig", device->index, 0), 0)
ANSWER_PAIR(nvmlDeviceGetEccMode, 1, 1)
ANSWER(nvmlDeviceGetPersistenceMode, unsigned, 0)
ANSWER(nvmlDeviceGetComputeMode, unsigned, setting("compute_mode", 0))
ANSWER(nvmlDeviceGetEnforcedPowerLimit, unsigned, setting("power_limit_w", 700) * 1000)
ANSWER(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, 700000)
ANSWER(nvmlDeviceGetCurrPcieLinkGeneration, unsigned, 1)
ANSWER(nvmlDeviceGetMaxPcieLinkGeneration, unsigned, 5)
ANSWER(nvmlDeviceGetCurrPcieLinkWidth, unsigned, 16)
ANSWER(nvmlDeviceGetMaxPcieLinkWidth, unsigned, 16)

int nvmlDeviceGetMaxClockInfo(Device *device, int type, unsigned *mhz) {
    (void)type;
    int result = known(device);
    if (!result) *mhz = 1980;
    return result;
}

int nvmlDeviceGetTemperatureThreshold(Device *device, int which, unsigned *celsius) {
    (void)which;
    int result = known(device);
    if (!result) *celsius = 90;
    return result;
}
