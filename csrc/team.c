/* team.c: the thread team. One process-wide set of workers, started when first wanted, used by one caller at a time:
 * a second caller is told to go on alone instead of queueing, so many Python threads may compute at once.
 *
 * A worker waits in its own mailbox: it spins for RF_SPIN_NS after its last job (a sequence of calls pays no wake-up),
 * then sleeps on a condition variable, so an idle team costs other thread pools nothing. Inside a call whoever waits spins for
 * some microseconds, then gives its processor away whenever it can, then sleeps: the one waited for may need that processor.
 * A forked child starts with no workers and makes its own. Only this file starts OS threads.
 *
 * A call never has more threads than the CPUs in its thread's affinity mask: two that share a processor would hold one another
 * up at every barrier. A brief call takes only workers that are awake: waking one takes longer than it would save.
 *
 * Beside busy pools a worker that lost its processor holds up every barrier for milliseconds, and the call takes many times
 * what one thread would. The caller notices that it waited for most of a call; the team then rests, longer each time in a
 * row, and calls go on alone.
 */
#include "portable.h"

#include <stdatomic.h>

#include "rnnfast.h"

enum { RF_SPIN_NS = 200000 /* after a job */,
       RF_SPINS_BEFORE_YIELD = 1000 /* in a call: 10 to 50 us */, RF_YIELD_NS = 200000 /* and then, before it sleeps */,
       RF_LONGEST_REST = 256 /* times what was lost */,
       RF_LOST_NS = 1000000 /* waking a worker costs a tenth of this; one without a processor, a time slice */,
       RF_LOST_IN_A_ROW = 3 /* a worker is woken once, not at every call */,
       RF_PART_EVERY_NS = 1000000,
       RF_WAKE_NS = 100000 /* twice what waking a worker takes: a call that takes longer alone is not brief */,
       RF_FIRST_REST_NS = 30000000 /* at most: one long loss, a machine that stood still, is no reason to rest for long */,
       RF_STACK_BYTES = 1 << 20 /* of a worker: its loops need some 64 kB; the usual 8 MB count as memory of the process */ };

typedef struct worker {
    _Alignas(64) atomic_uint job;  /* number of the last job given to this worker */
    atomic_int asleep, roused;     /* roused: wake and spin again, without a job */
    int index;
    int64_t parted;                /* when it left the caller's processor last; touched by the worker only */
    rf_thread thread;
    rf_mutex lock;
    rf_condition wake;
} worker;

static struct {
    worker workers[RF_MAX_THREADS];
    int started;                   /* workers 1 .. started exist; touched by the owner only */
    rf_task task;
    void *arg;
    int threads;
    int cpu;                       /* the caller's, or -1 */
    rf_cpus allowed;               /* the affinity of caller and workers; touched by the owner, read in its jobs */
    int followed;                  /* workers whose affinity is `allowed`; these: touched by the owner only */
    int64_t rests_until;
    int losses;                    /* calls in a row that took longer than alone */
    int rest;                      /* in times of what was lost; 0: the last call went well */
    atomic_int never_rests, exceeds; /* for tests */
    unsigned generation;           /* forks behind this process; changed where there is one thread */
    rf_mutex lock;                 /* of those who sleep inside a call */
    rf_condition wake;
    _Alignas(64) atomic_int owned; /* a caller has the team */
    _Alignas(64) atomic_uint running;
    atomic_int sleepers;
    _Alignas(64) atomic_int arrived;
    atomic_int votes;              /* of those who arrived, not all 0 */
    _Alignas(64) atomic_uint passed; /* barriers */
    int agreed[2];                 /* what was voted at the last two: one may still be read while the next is written */
} team = {.lock = RF_MUTEX_INIT, .wake = RF_CONDITION_INIT};

static inline void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

int64_t rf_now_ns(void) { return rf_clock_ns(); }

/* ---- affinity ------------------------------------------------------------------------------------------------------------ */
static _Thread_local rf_cpus mask; /* of this thread, as rf_team_cpus found it */
static _Thread_local int cpus_in_mask;

static int try_own(void) { return !atomic_exchange_explicit(&team.owned, 1, memory_order_acquire); }
static void disown(void) { atomic_store_explicit(&team.owned, 0, memory_order_release); }

/* Workers run where the caller may run, also when its mask has changed since they were started. The caller owns the team. */
static void follow_affinity(void)
{
    if (team.followed == team.started && rf_cpus_same(&mask, &team.allowed)) return;
    for (int i = 1; i <= team.started; ++i) rf_set_affinity(team.workers[i].thread, &mask);
    team.allowed = mask;
    team.followed = team.started;
}

/* The mask is asked for at every call that may have several threads: nothing tells when it changes. (0.2 us; a step of 10 us on
 * two threads, I = H = 256, became 5 to 10 % longer by it on the machine of docs/performance.md.) */
int rf_team_cpus(void)
{
    cpus_in_mask = rf_affinity(&mask);
    if (atomic_load_explicit(&team.exceeds, memory_order_relaxed)) return RF_MAX_THREADS;
    if (cpus_in_mask == 1 && try_own()) { /* nobody will acquire the team now: its workers are told here */
        follow_affinity();
        disown();
    }
    return cpus_in_mask;
}

/* Woken at once after a stop, the threads of a process may find themselves on one processor, and Linux leaves them there: both
 * have just run, which makes them too warm to move. Taking the caller's processor out of its mask for a moment moves the worker
 * away. */
static void part_from_caller(worker *me)
{
    if (team.cpu < 0 || rf_current_cpu() != team.cpu) return;
    const int64_t now = rf_now_ns();
    if (now - me->parted < RF_PART_EVERY_NS) return;
    me->parted = now;
    rf_leave_cpu(team.cpu, &team.allowed);
}

/* ---- waiting inside a call ------------------------------------------------------------------------------------------------
 * For a word to be another than `seen`: spin, then yield, then sleep. What a thread waited beyond its spins adds up in
 * `waited`. Whoever changes a word that is waited for calls woken(). */
static _Thread_local int64_t waited;

/* The generation in which the call began that this thread works for. In a child that was forked in the middle of it (by a
 * signal's handler) the others are gone: nobody is waited for, and the call must be given up. */
static _Thread_local unsigned born;

int rf_team_orphaned(void) { return born != team.generation; }

static void sleep_while(atomic_uint *word, unsigned seen)
{
    rf_mutex_lock(&team.lock);
    /* sequentially consistent, as the change of the word: woken() sees one, or we the other */
    atomic_fetch_add(&team.sleepers, 1);
    while (atomic_load(word) == seen) rf_condition_wait(&team.wake, &team.lock);
    atomic_fetch_sub(&team.sleepers, 1);
    rf_mutex_unlock(&team.lock);
}

static inline void woken(void)
{
    if (!atomic_load(&team.sleepers)) return;
    rf_mutex_lock(&team.lock);
    rf_condition_broadcast(&team.wake);
    rf_mutex_unlock(&team.lock);
}

static void wait_while(atomic_uint *word, unsigned seen)
{
    for (int i = 0; i < RF_SPINS_BEFORE_YIELD; ++i) {
        if (atomic_load_explicit(word, memory_order_acquire) != seen) return;
        pause_cpu();
    }
    const int64_t since = rf_now_ns();
    int64_t now = since;
    while (atomic_load_explicit(word, memory_order_acquire) == seen && now - since < RF_YIELD_NS) {
        rf_yield();
        now = rf_now_ns();
    }
    if (atomic_load_explicit(word, memory_order_acquire) == seen) {
        sleep_while(word, seen);
        now = rf_now_ns();
    }
    waited += now - since;
}

/* ---- workers ------------------------------------------------------------------------------------------------------------- */
static void wait_for_job(worker *me, unsigned seen)
{
    for (;;) {
        const int64_t until = rf_now_ns() + RF_SPIN_NS;
        do {
            for (int i = 0; i < 64; ++i) {
                if (atomic_load_explicit(&me->job, memory_order_acquire) != seen) return;
                pause_cpu();
            }
        } while (rf_now_ns() < until);
        rf_mutex_lock(&me->lock);
        atomic_store(&me->asleep, 1);  /* sequentially consistent with the load of job: give_job sees one or the other */
        while (atomic_load(&me->job) == seen && !atomic_load(&me->roused)) rf_condition_wait(&me->wake, &me->lock);
        atomic_store(&me->asleep, 0);
        atomic_store(&me->roused, 0);
        rf_mutex_unlock(&me->lock);
    }
}

static RF_THREAD_MAIN worker_main(void *arg)
{
    worker *me = arg;
    for (unsigned seen = 0;; ++seen) {
        wait_for_job(me, seen);
        part_from_caller(me);
        born = team.generation;
        team.task(team.arg, me->index, team.threads);
        atomic_fetch_sub(&team.running, 1);
        woken();
    }
    return 0;
}

static void wake(worker *w)
{
    rf_mutex_lock(&w->lock);
    rf_condition_signal(&w->wake);
    rf_mutex_unlock(&w->lock);
}

static void give_job(worker *to)
{
    atomic_fetch_add(&to->job, 1);
    if (atomic_load(&to->asleep)) wake(to);
}

static int start_worker(int index)
{
    worker *w = &team.workers[index];
    w->index = index;
    atomic_store(&w->job, 0);
    atomic_store(&w->asleep, 0);
    atomic_store(&w->roused, 0);
    rf_mutex_init(&w->lock);
    rf_condition_init(&w->wake);
    return rf_thread_start(&w->thread, worker_main, w, RF_STACK_BYTES);
}

/* In a forked child, where no worker lives and any lock may have been held. */
static void forget_workers(void)
{
    ++team.generation;
    team.started = team.followed = team.losses = team.rest = 0;
    team.rests_until = 0;
    atomic_store(&team.owned, 0);
    atomic_store(&team.running, 0);
    atomic_store(&team.arrived, 0);
    atomic_store(&team.votes, 0);
    atomic_store(&team.sleepers, 0);
    rf_mutex_init(&team.lock);
    rf_condition_init(&team.wake);
}

static void register_fork(void) { rf_at_fork(forget_workers); }

/* ---- the caller ---------------------------------------------------------------------------------------------------------- */
/* A brief call that went alone: when it began, and, of the last, how long it took and when it ended. */
static _Thread_local int64_t alone_since;
static atomic_llong alone_took, alone_ended;

/* Whether the workers of a team of so many threads are awake. A brief call does not wait for those asleep; it rouses them for
 * the next if calls follow one another more closely than workers spin. */
static int all_awake(int threads, int64_t now)
{
    const int follows = now - atomic_load_explicit(&alone_ended, memory_order_relaxed) < RF_SPIN_NS;
    int awake = 1;
    for (int i = 1; i < threads; ++i) {
        worker *w = &team.workers[i];
        if (!atomic_load(&w->asleep)) continue;
        awake = 0;
        if (follows && !atomic_exchange(&w->roused, 1)) wake(w);
    }
    return awake;
}

int rf_team_acquire(int want, int brief)
{
    static rf_once once = RF_ONCE_INIT;
    if (want <= 1 || !try_own()) return 1;
    rf_call_once(&once, register_fork);
    if (!cpus_in_mask) rf_team_cpus();
    if (want > cpus_in_mask && !atomic_load_explicit(&team.exceeds, memory_order_relaxed)) want = cpus_in_mask;
    if (want > RF_MAX_THREADS) want = RF_MAX_THREADS;
    while (team.started < want - 1 && start_worker(team.started + 1)) ++team.started;
    if (want > team.started + 1) want = team.started + 1;
    follow_affinity();
    if (brief) {
        const int64_t took = atomic_load_explicit(&alone_took, memory_order_relaxed);
        brief = took < RF_WAKE_NS;
        /* not for good: it may have been a hiccup, or calls are shorter now */
        if (!brief) atomic_store_explicit(&alone_took, took - took / 16, memory_order_relaxed);
    }
    if (want > 1 && (brief || team.rests_until)) {
        const int64_t now = rf_now_ns();
        if (now < team.rests_until) {
            want = 1;
        } else if (brief && !all_awake(want, now)) {
            alone_since = now;
            want = 1;
        }
    }
    if (want == 1) disown();
    return want;
}

/* Alone, the caller would have needed its own working time once a thread: was the call longer than that? */
static void judge(int64_t began, int threads)
{
    if (!waited) {
        team.losses = team.rest = 0;
        team.rests_until = 0;
        return;
    }
    const int64_t end = rf_now_ns(), working = end - began - waited;
    const int longer = end - began > threads * working && !atomic_load_explicit(&team.never_rests, memory_order_relaxed);
    team.losses = longer ? team.losses + 1 : 0;
    const int lost = longer && (waited > RF_LOST_NS || team.losses >= RF_LOST_IN_A_ROW);
    team.rest = !lost ? 0 : team.rest >= RF_LONGEST_REST ? RF_LONGEST_REST : team.rest ? 2 * team.rest : 2;
    const int64_t rest = team.rest * waited, most = (int64_t)RF_FIRST_REST_NS * (team.rest / 2); /* 4 s, after eight in a row */
    team.rests_until = end + (rest < most ? rest : most);
}

void rf_team_run(rf_task task, void *arg, int threads)
{
    if (threads == 1) {
        task(arg, 0, 1);
        return;
    }
    const int64_t began = rf_now_ns();
    const unsigned outer = born; /* of the call in whose middle a signal's handler made this one */
    born = team.generation;
    waited = 0;
    team.task = task;
    team.arg = arg;
    team.threads = threads;
    team.cpu = rf_current_cpu();
    atomic_store(&team.running, (unsigned)threads - 1);
    for (int i = 1; i < threads; ++i) give_job(&team.workers[i]);
    task(arg, 0, threads);
    if (!rf_team_orphaned()) {
        for (unsigned left; (left = atomic_load_explicit(&team.running, memory_order_acquire)) > 0;)
            wait_while(&team.running, left);
        judge(began, threads);
    }
    born = outer;
}

int rf_team_agree(int threads, int vote)
{
    if (threads == 1) return vote;
    if (rf_team_orphaned()) return 1;
    const unsigned passed = atomic_load_explicit(&team.passed, memory_order_relaxed);
    if (vote) atomic_store_explicit(&team.votes, 1, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&team.arrived, 1, memory_order_acq_rel) + 1 == threads) {
        team.agreed[passed & 1] = atomic_load_explicit(&team.votes, memory_order_relaxed);
        atomic_store_explicit(&team.votes, 0, memory_order_relaxed);
        atomic_store_explicit(&team.arrived, 0, memory_order_relaxed);
        atomic_fetch_add(&team.passed, 1);
        woken();
    } else {
        wait_while(&team.passed, passed);
    }
    return team.agreed[passed & 1];
}

void rf_team_barrier(int threads) { (void)rf_team_agree(threads, 0); }

void rf_team_release(int acquired)
{
    if (alone_since) {
        const int64_t now = rf_now_ns();
        atomic_store_explicit(&alone_took, now - alone_since, memory_order_relaxed);
        atomic_store_explicit(&alone_ended, now, memory_order_relaxed);
        alone_since = 0;
    }
    if (acquired > 1) disown();
}

/* ---- for tests ----------------------------------------------------------------------------------------------------------- */
int rf_team_let_rest(int on) { return !atomic_exchange(&team.never_rests, !on); }

int rf_team_exceed(int on) { return atomic_exchange(&team.exceeds, on); }
