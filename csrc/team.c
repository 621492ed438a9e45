/* team.c: the thread team. One process-wide set of workers, started when first wanted, used by one caller at a time:
 * a second caller is told to go on alone instead of queueing, so many Python threads may compute at once.
 *
 * A worker waits in its own mailbox: it spins for RF_SPIN_NS after its last job (a sequence of calls pays no wake-up),
 * then sleeps on a condition variable, so an idle team costs other thread pools nothing. A forked child starts with no
 * workers and makes its own. Only this file starts and joins OS threads.
 *
 * A brief call takes only workers that are awake: waking one takes longer than it would save.
 *
 * Beside busy pools a worker that lost its processor holds up every barrier for milliseconds, and the call takes many times
 * what one thread would. The caller notices that it waited for most of a call; the team then rests, longer each time in a
 * row, and calls go on alone.
 */
#ifdef __linux__
#define _GNU_SOURCE /* CPU affinity */
#endif
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "rnnfast.h"

enum { RF_SPIN_NS = 200000, RF_SPINS_BEFORE_YIELD = 1000, RF_LONGEST_REST = 16 /* times what was lost */,
       RF_LOST_NS = 1000000 /* waking a worker costs a tenth of this; one without a processor, a time slice */,
       RF_LOST_IN_A_ROW = 3 /* a worker is woken once, not at every call */,
       RF_PART_EVERY_NS = 1000000, RF_FOLLOW_EVERY = 256,
       RF_WAKE_NS = 100000 /* twice what waking a worker takes: a call that takes longer alone is not brief */,
       RF_LONGEST_REST_NS = 30000000 /* one long loss, a machine that stood still, is no reason to rest for long */ };

typedef struct worker {
    _Alignas(64) atomic_uint job;  /* number of the last job given to this worker */
    atomic_int asleep, roused;     /* roused: wake and spin again, without a job */
    int index;
    int64_t parted;                /* when it left the caller's processor last; touched by the worker only */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
} worker;

static struct {
    worker workers[RF_MAX_THREADS];
    int started;                   /* workers 1 .. started exist; touched by the owner only */
    rf_task task;
    void *arg;
    int threads;
    int cpu;                       /* the caller's */
#ifdef __linux__
    cpu_set_t allowed;             /* the affinity of caller and workers; touched by the owner, read in its jobs */
#endif
    unsigned brief_calls;          /* these: touched by the owner only */
    int followed;                  /* workers whose affinity is `allowed` */
    int64_t rests_until;
    int losses;                    /* calls in a row that took longer than alone */
    int rest;                      /* in times of what was lost; 0: the last call went well */
    atomic_int never_rests;        /* for tests */
    _Alignas(64) atomic_int owned; /* a caller has the team */
    _Alignas(64) atomic_int running;
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_uint passed;
} team;

static inline void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* One wait: spin, then give the processor away, since the one waited for may need it. What a thread waited beyond its spins
 * adds up in `waited`. */
typedef struct turn {
    int spins;
    int64_t since;
} turn;

static _Thread_local int64_t waited;

static inline void wait_turn(turn *t)
{
    pause_cpu();
    if (++t->spins < RF_SPINS_BEFORE_YIELD) return;
    if (!t->since) t->since = now_ns();
    sched_yield();
}

static inline void end_wait(const turn *t)
{
    if (t->since) waited += now_ns() - t->since;
}

static void wait_for_job(worker *me, unsigned seen)
{
    for (;;) {
        const int64_t until = now_ns() + RF_SPIN_NS;
        do {
            for (int i = 0; i < 64; ++i) {
                if (atomic_load_explicit(&me->job, memory_order_acquire) != seen) return;
                pause_cpu();
            }
        } while (now_ns() < until);
        pthread_mutex_lock(&me->lock);
        atomic_store(&me->asleep, 1);  /* sequentially consistent with the load of job: give_job sees one or the other */
        while (atomic_load(&me->job) == seen && !atomic_load(&me->roused)) pthread_cond_wait(&me->wake, &me->lock);
        atomic_store(&me->asleep, 0);
        atomic_store(&me->roused, 0);
        pthread_mutex_unlock(&me->lock);
    }
}

/* Woken at once after a stop, the threads of a process may find themselves on one processor, and Linux leaves them there: both
 * have just run, which makes them too warm to move. Forbidding the caller's processor for a moment moves the worker away. */
static void part_from_caller(worker *me)
{
#ifdef __linux__
    if (sched_getcpu() != team.cpu) return;
    const int64_t now = now_ns();
    cpu_set_t others = team.allowed;
    CPU_CLR(team.cpu, &others);
    if (now - me->parted < RF_PART_EVERY_NS || !CPU_COUNT(&others)) return;
    me->parted = now;
    if (pthread_setaffinity_np(pthread_self(), sizeof others, &others) == 0)
        pthread_setaffinity_np(pthread_self(), sizeof team.allowed, &team.allowed);
#else
    (void)me;
#endif
}

static void *worker_main(void *arg)
{
    worker *me = arg;
    for (unsigned seen = 0;; ++seen) {
        wait_for_job(me, seen);
        part_from_caller(me);
        team.task(team.arg, me->index, team.threads);
        atomic_fetch_sub_explicit(&team.running, 1, memory_order_release);
    }
    return NULL;
}

static void wake(worker *w)
{
    pthread_mutex_lock(&w->lock);
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

static void give_job(worker *to)
{
    atomic_fetch_add(&to->job, 1);
    if (atomic_load(&to->asleep)) wake(to);
}

/* A brief call that went alone: when it began, and, of the last, how long it took and when it ended. */
static _Thread_local int64_t alone_since;
static atomic_llong alone_took, alone_ended;

/* Whether the workers of a team of so many threads are awake. A brief call does not wait for those asleep; it rouses them for
 * the next if calls follow one another more closely than workers spin. */
static int all_awake(int threads)
{
    const int follows = now_ns() - atomic_load_explicit(&alone_ended, memory_order_relaxed) < RF_SPIN_NS;
    int awake = 1;
    for (int i = 1; i < threads; ++i) {
        worker *w = &team.workers[i];
        if (!atomic_load(&w->asleep)) continue;
        awake = 0;
        if (follows && !atomic_exchange(&w->roused, 1)) wake(w);
    }
    return awake;
}

/* Workers run where the caller may run, also when its mask has changed since they were started. */
static void follow_affinity(void)
{
#ifdef __linux__
    cpu_set_t mask;
    if (pthread_getaffinity_np(pthread_self(), sizeof mask, &mask) != 0) return;
    if (team.followed == team.started && CPU_EQUAL(&mask, &team.allowed)) return;
    for (int i = 1; i <= team.started; ++i) pthread_setaffinity_np(team.workers[i].thread, sizeof mask, &mask);
    team.allowed = mask;
    team.followed = team.started;
#endif
}

static int start_worker(int index)
{
    worker *w = &team.workers[index];
    sigset_t all, before;
    w->index = index;
    atomic_store(&w->job, 0);
    atomic_store(&w->asleep, 0);
    atomic_store(&w->roused, 0);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    sigfillset(&all); /* signals are for the threads of Python */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(&w->thread, NULL, worker_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) return 0;
    pthread_detach(w->thread);
    return 1;
}

static void forget_workers(void)
{
    team.started = team.followed = team.losses = team.rest = 0;
    team.rests_until = 0;
    atomic_store(&team.owned, 0);
    atomic_store(&team.running, 0);
    atomic_store(&team.arrived, 0);
}

static void register_fork(void) { pthread_atfork(NULL, NULL, forget_workers); }

int rf_team_acquire(int want, int brief)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (want <= 1 || atomic_exchange_explicit(&team.owned, 1, memory_order_acquire)) return 1;
    pthread_once(&once, register_fork);
    if (want > RF_MAX_THREADS) want = RF_MAX_THREADS;
    while (team.started < want - 1 && start_worker(team.started + 1)) ++team.started;
    if (want > team.started + 1) want = team.started + 1;
    if (brief) {
        const int64_t took = atomic_load_explicit(&alone_took, memory_order_relaxed);
        brief = took < RF_WAKE_NS;
        /* not for good: it may have been a hiccup, or calls are shorter now */
        if (!brief) atomic_store_explicit(&alone_took, took - took / 16, memory_order_relaxed);
    }
    if (!brief || team.brief_calls++ % RF_FOLLOW_EVERY == 0) follow_affinity(); /* a system call */
    if (want > 1 && now_ns() < team.rests_until) want = 1;
    if (want > 1 && brief && !all_awake(want)) {
        alone_since = now_ns();
        want = 1;
    }
    if (want == 1) atomic_store_explicit(&team.owned, 0, memory_order_release);
    return want;
}

/* Alone, the caller would have needed its own working time once a thread: was the call longer than that? */
static void judge(int64_t began, int threads)
{
    const int64_t end = now_ns(), working = end - began - waited;
    const int longer = end - began > threads * working && !atomic_load_explicit(&team.never_rests, memory_order_relaxed);
    team.losses = longer ? team.losses + 1 : 0;
    const int lost = longer && (waited > RF_LOST_NS || team.losses >= RF_LOST_IN_A_ROW);
    team.rest = !lost ? 0 : team.rest >= RF_LONGEST_REST ? RF_LONGEST_REST : team.rest ? 2 * team.rest : 2;
    const int64_t rest = team.rest * waited;
    team.rests_until = end + (rest < RF_LONGEST_REST_NS ? rest : RF_LONGEST_REST_NS);
}

int rf_team_let_rest(int on) { return !atomic_exchange(&team.never_rests, !on); }

void rf_team_run(rf_task task, void *arg, int threads)
{
    if (threads == 1) {
        task(arg, 0, 1);
        return;
    }
    const int64_t began = now_ns();
    turn last = {0};
    waited = 0;
    team.task = task;
    team.arg = arg;
    team.threads = threads;
#ifdef __linux__
    team.cpu = sched_getcpu();
#endif
    atomic_store(&team.running, threads - 1);
    for (int i = 1; i < threads; ++i) give_job(&team.workers[i]);
    task(arg, 0, threads);
    while (atomic_load_explicit(&team.running, memory_order_acquire)) wait_turn(&last);
    end_wait(&last);
    judge(began, threads);
}

void rf_team_barrier(int threads)
{
    if (threads == 1) return;
    const unsigned passed = atomic_load_explicit(&team.passed, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&team.arrived, 1, memory_order_acq_rel) + 1 == threads) {
        atomic_store_explicit(&team.arrived, 0, memory_order_relaxed);
        atomic_fetch_add_explicit(&team.passed, 1, memory_order_release);
        return;
    }
    turn mine = {0};
    while (atomic_load_explicit(&team.passed, memory_order_acquire) == passed) wait_turn(&mine);
    end_wait(&mine);
}

void rf_team_release(int threads)
{
    if (alone_since) {
        const int64_t now = now_ns();
        atomic_store_explicit(&alone_took, now - alone_since, memory_order_relaxed);
        atomic_store_explicit(&alone_ended, now, memory_order_relaxed);
        alone_since = 0;
    }
    if (threads > 1) atomic_store_explicit(&team.owned, 0, memory_order_release);
}
