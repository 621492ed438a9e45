/* tests/csrc/system.h: what the C tests need of the operating system beside csrc/portable.h; included first, as that. */
#include "portable.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Memory whose `end` is where a page begins that nobody may touch. */
typedef struct guarded {
    char *pages, *end;
    size_t bytes; /* of all pages */
} guarded;

#if defined(_WIN32)
static inline guarded guard(size_t bytes)
{
    SYSTEM_INFO system;
    DWORD before;
    GetSystemInfo(&system);
    const size_t page = system.dwPageSize, whole = (bytes + page - 1) / page * page;
    char *pages = VirtualAlloc(NULL, whole + page, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    if (!pages || !VirtualProtect(pages + whole, page, PAGE_NOACCESS, &before)) abort();
    return (guarded){pages, pages + whole, whole + page};
}
static inline void unguard(guarded g) { VirtualFree(g.pages, 0, MEM_RELEASE); }

static inline void sleep_ms(int ms) { Sleep((DWORD)ms); }

/* processor time of the calling thread */
static inline double thread_ms(void)
{
    FILETIME begin, end, kernel, user;
    GetThreadTimes(GetCurrentThread(), &begin, &end, &kernel, &user);
    return 1e-4 * ((double)kernel.dwLowDateTime + (double)user.dwLowDateTime); /* of 100 ns; tests are short */
}

/* runs function(args[i]) in a thread of its own for each i < n, and waits for all */
static inline void in_threads(int n, DWORD(WINAPI *function)(void *), void **args)
{
    HANDLE thread[8];
    for (int i = 0; i < n; ++i)
        if (!(thread[i] = CreateThread(NULL, 0, function, args[i], 0, NULL))) abort();
    for (int i = 0; i < n; ++i) WaitForSingleObject(thread[i], INFINITE);
}

enum { HAS_AFFINITY = 1, HAS_FORK = 0 };
static inline void set_own_affinity(const rf_cpus *cpus) { rf_set_affinity(GetCurrentThread(), cpus); }
static inline void keep_one(rf_cpus *cpus) { cpus->Mask &= ~cpus->Mask + 1; }
static inline int succeeds_in_child(int (*function)(void)) { (void)function; return 0; }
#else
#include <sys/wait.h>

static inline guarded guard(size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (bytes + page - 1) / page * page;
    char *pages = mmap(NULL, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages + whole, page, PROT_NONE) != 0) abort();
    return (guarded){pages, pages + whole, whole + page};
}
static inline void unguard(guarded g) { munmap(g.pages, g.bytes); }

static inline void sleep_ms(int ms) { nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL); }

static inline double thread_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static inline void in_threads(int n, void *(*function)(void *), void **args)
{
    pthread_t thread[8];
    for (int i = 0; i < n; ++i)
        if (pthread_create(&thread[i], NULL, function, args[i]) != 0) abort();
    for (int i = 0; i < n; ++i) pthread_join(thread[i], NULL);
}

#if defined(__linux__)
enum { HAS_AFFINITY = 1, HAS_FORK = 1 };
static inline void keep_one(rf_cpus *cpus)
{
    for (int cpu = 0; CPU_COUNT(cpus) > 1; ++cpu) CPU_CLR(cpu, cpus);
}
#else
enum { HAS_AFFINITY = 0, HAS_FORK = 1 };
static inline void keep_one(rf_cpus *cpus) { (void)cpus; }
#endif
static inline void set_own_affinity(const rf_cpus *cpus) { rf_set_affinity(pthread_self(), cpus); }

static inline int succeeds_in_child(int (*function)(void))
{
    int status = 1;
    const pid_t child = fork();
    if (child == 0) _exit(function() ? 0 : 1);
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}
#endif

/* Moves the stack by 16 bytes until the calling function returns. No more alignment is promised to a function that is called:
 * those with vectors in their frame must align it, and a compiler that does not (GCC on Windows,
 * https://gcc.gnu.org/bugzilla/show_bug.cgi?id=54412) makes code that crashes in some of the four positions. */
static unsigned stack_positions; /* a bit for each that there was */
#define MOVE_STACK() (stack_positions |= 1u << (uintptr_t)memset(__builtin_alloca(8), 0, 8) / 16 % 4)

static inline int stack_was_moved(void)
{
    if (stack_positions != 15) printf("the stack was in positions %x, not in all four\n", stack_positions);
    return stack_positions == 15;
}
