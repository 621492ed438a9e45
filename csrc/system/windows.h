/* system/windows.h: portable.h on Windows, from version 7 on. A set of CPUs is one of a processor group, which has at most 64 of
 * them: a thread's own group, as Windows chose it. There is no fork, and no signal reaches a worker. */
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#if !defined(_WIN32_WINNT) || _WIN32_WINNT < 0x0601
#undef _WIN32_WINNT
#define _WIN32_WINNT 0x0601 /* thread group affinity */
#endif
#include <windows.h>

#include <malloc.h>
#include <stdint.h>

static inline int64_t rf_clock_ns(void)
{
    LARGE_INTEGER ticks, second;
    QueryPerformanceFrequency(&second);
    QueryPerformanceCounter(&ticks);
    return ticks.QuadPart / second.QuadPart * 1000000000 + ticks.QuadPart % second.QuadPart * 1000000000 / second.QuadPart;
}

/* ---- mutexes, conditions, once ------------------------------------------------------------------------------------------ */
typedef SRWLOCK rf_mutex;
#define RF_MUTEX_INIT SRWLOCK_INIT
static inline void rf_mutex_init(rf_mutex *mutex) { InitializeSRWLock(mutex); }
static inline void rf_mutex_lock(rf_mutex *mutex) { AcquireSRWLockExclusive(mutex); }
static inline void rf_mutex_unlock(rf_mutex *mutex) { ReleaseSRWLockExclusive(mutex); }

typedef CONDITION_VARIABLE rf_condition;
#define RF_CONDITION_INIT CONDITION_VARIABLE_INIT
static inline void rf_condition_init(rf_condition *condition) { InitializeConditionVariable(condition); }
static inline void rf_condition_wait(rf_condition *condition, rf_mutex *mutex)
{
    SleepConditionVariableSRW(condition, mutex, INFINITE, 0);
}
static inline void rf_condition_signal(rf_condition *condition) { WakeConditionVariable(condition); }
static inline void rf_condition_broadcast(rf_condition *condition) { WakeAllConditionVariable(condition); }

typedef INIT_ONCE rf_once;
#define RF_ONCE_INIT INIT_ONCE_STATIC_INIT
static inline void rf_call_once(rf_once *once, void (*function)(void))
{
    BOOL first;
    if (!InitOnceBeginInitialize(once, 0, &first, NULL) || !first) return;
    function();
    InitOnceComplete(once, 0, NULL);
}

/* ---- threads ------------------------------------------------------------------------------------------------------------ */
typedef HANDLE rf_thread;
#define RF_THREAD_MAIN DWORD WINAPI

static inline int rf_thread_start(rf_thread *thread, DWORD(WINAPI *function)(void *), void *arg, size_t stack)
{
    *thread = CreateThread(NULL, stack, function, arg, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    return *thread != NULL;
}

static inline void rf_yield(void) { SwitchToThread(); }
static inline void rf_at_fork(void (*function)(void)) { (void)function; }

/* ---- CPUs --------------------------------------------------------------------------------------------------------------- */
typedef GROUP_AFFINITY rf_cpus;
static inline int rf_affinity(rf_cpus *cpus)
{
    const int count = GetThreadGroupAffinity(GetCurrentThread(), cpus) ? __builtin_popcountll(cpus->Mask) : 0;
    return count ? count : 1;
}
static inline int rf_cpus_same(const rf_cpus *a, const rf_cpus *b) { return a->Group == b->Group && a->Mask == b->Mask; }
static inline void rf_set_affinity(rf_thread thread, const rf_cpus *cpus) { SetThreadGroupAffinity(thread, cpus, NULL); }
/* Windows moves a thread that waits for a CPU to an idle one by itself. */
static inline int rf_current_cpu(void) { return -1; }
static inline void rf_leave_cpu(int cpu, const rf_cpus *cpus) { (void)cpu, (void)cpus; }

/* ---- an address of each thread ------------------------------------------------------------------------------------------ */
typedef DWORD rf_key;
#define RF_DESTRUCTOR void WINAPI /* of the destructor */
static inline int rf_key_create(rf_key *key, void(WINAPI *destructor)(void *))
{
    *key = FlsAlloc(destructor);
    return *key != FLS_OUT_OF_INDEXES;
}
static inline int rf_key_set(rf_key key, void *address) { return FlsSetValue(key, address) != 0; }

/* ---- memory ------------------------------------------------------------------------------------------------------------- */
static inline void *rf_aligned_alloc(size_t align, size_t bytes) { return _aligned_malloc(bytes, align); }
static inline void rf_aligned_free(void *p) { _aligned_free(p); }
static inline void rf_use_huge_pages(void *p, size_t bytes) { (void)p, (void)bytes; } /* they need a privilege */
