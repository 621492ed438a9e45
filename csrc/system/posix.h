/* system/posix.h: portable.h on Linux (glibc, musl), macOS and other systems with POSIX threads. Linux alone has affinity. */
#if defined(__linux__)
#define _GNU_SOURCE /* CPU affinity, MADV_HUGEPAGE */
#elif defined(__APPLE__)
#define _DARWIN_C_SOURCE /* _SC_NPROCESSORS_ONLN */
#endif
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static inline int64_t rf_clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- mutexes, conditions, once ------------------------------------------------------------------------------------------ */
typedef pthread_mutex_t rf_mutex;
#define RF_MUTEX_INIT PTHREAD_MUTEX_INITIALIZER
static inline void rf_mutex_init(rf_mutex *mutex) { pthread_mutex_init(mutex, NULL); }
static inline void rf_mutex_lock(rf_mutex *mutex) { pthread_mutex_lock(mutex); }
static inline void rf_mutex_unlock(rf_mutex *mutex) { pthread_mutex_unlock(mutex); }

typedef pthread_cond_t rf_condition;
#define RF_CONDITION_INIT PTHREAD_COND_INITIALIZER
static inline void rf_condition_init(rf_condition *condition) { pthread_cond_init(condition, NULL); }
static inline void rf_condition_wait(rf_condition *condition, rf_mutex *mutex) { pthread_cond_wait(condition, mutex); }
static inline void rf_condition_signal(rf_condition *condition) { pthread_cond_signal(condition); }
static inline void rf_condition_broadcast(rf_condition *condition) { pthread_cond_broadcast(condition); }

typedef pthread_once_t rf_once;
#define RF_ONCE_INIT PTHREAD_ONCE_INIT
static inline void rf_call_once(rf_once *once, void (*function)(void)) { pthread_once(once, function); }

/* ---- threads ------------------------------------------------------------------------------------------------------------ */
typedef pthread_t rf_thread;
#define RF_THREAD_MAIN void *

static inline int rf_thread_start(rf_thread *thread, void *(*function)(void *), void *arg, size_t stack)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    if (pthread_attr_init(&attributes) != 0) return 0;
    pthread_attr_setstacksize(&attributes, stack);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(thread, &attributes, function, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return !failed;
}

static inline void rf_yield(void) { sched_yield(); }
static inline void rf_at_fork(void (*function)(void)) { pthread_atfork(NULL, NULL, function); }

/* ---- CPUs --------------------------------------------------------------------------------------------------------------- */
static inline int rf_cpus_online(void)
{
    const long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : (int)count;
}

#if defined(__linux__)
typedef cpu_set_t rf_cpus;
static inline int rf_affinity(rf_cpus *cpus)
{
    const int count = pthread_getaffinity_np(pthread_self(), sizeof *cpus, cpus) == 0 ? CPU_COUNT(cpus) : 0;
    return count ? count : rf_cpus_online(); /* there are more CPUs than a set has bits */
}
static inline int rf_cpus_same(const rf_cpus *a, const rf_cpus *b) { return CPU_EQUAL(a, b); }
static inline void rf_set_affinity(rf_thread thread, const rf_cpus *cpus) { pthread_setaffinity_np(thread, sizeof *cpus, cpus); }
static inline int rf_current_cpu(void) { return sched_getcpu(); }

/* Taken out of the set for a moment, the CPU loses the thread. */
static inline void rf_leave_cpu(int cpu, const rf_cpus *cpus)
{
    rf_cpus others = *cpus;
    CPU_CLR(cpu, &others);
    if (CPU_COUNT(&others) && pthread_setaffinity_np(pthread_self(), sizeof others, &others) == 0)
        pthread_setaffinity_np(pthread_self(), sizeof *cpus, cpus);
}
#else
typedef struct rf_cpus { char none; } rf_cpus;
static inline int rf_affinity(rf_cpus *cpus)
{
    (void)cpus;
    return rf_cpus_online();
}
static inline int rf_cpus_same(const rf_cpus *a, const rf_cpus *b) { (void)a, (void)b; return 1; }
static inline void rf_set_affinity(rf_thread thread, const rf_cpus *cpus) { (void)thread, (void)cpus; }
static inline int rf_current_cpu(void) { return -1; }
static inline void rf_leave_cpu(int cpu, const rf_cpus *cpus) { (void)cpu, (void)cpus; }
#endif

/* ---- an address of each thread ------------------------------------------------------------------------------------------ */
typedef pthread_key_t rf_key;
#define RF_DESTRUCTOR void
static inline int rf_key_create(rf_key *key, void (*destructor)(void *)) { return pthread_key_create(key, destructor) == 0; }
static inline int rf_key_set(rf_key key, void *address) { return pthread_setspecific(key, address) == 0; }

/* ---- memory ------------------------------------------------------------------------------------------------------------- */
static inline void *rf_aligned_alloc(size_t align, size_t bytes)
{
    void *p;
    return posix_memalign(&p, align, bytes) == 0 ? p : NULL;
}
static inline void rf_aligned_free(void *p) { free(p); }
static inline void rf_use_huge_pages(void *p, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    (void)madvise(p, bytes, MADV_HUGEPAGE); /* failure costs nothing but speed */
#else
    (void)p, (void)bytes;
#endif
}
