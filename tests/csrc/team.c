/* team.c: the thread team and kept blocks under many callers, changing numbers of threads, and forks; no Python. With
 * -fsanitize=thread (tests/thread_sanitizer.sh) every access of csrc/team.c and csrc/memory.c is watched. */
#include "system.h"

#include <time.h>

#include "rnnfast.h"

enum { CALLERS = 4, CALLS = 300, PHASES = 5, MOST = 4, FORKS = 5 };

/* one call: each thread adds up, phase by phase, what all threads wrote in the phase before; plain memory, so that only the
 * team's own order keeps it right */
typedef struct call { long written[2][MOST]; long sum[MOST]; } call;

static void task(void *arg, int thread, int threads)
{
    call *c = arg;
    long *scratch = rf_scratch_open(1024 * sizeof(long));
    scratch[1023] = thread + 1; /* this thread's own */
    for (int phase = 0; phase < PHASES; ++phase) {
        c->written[phase % 2][thread] = phase * scratch[1023];
        rf_team_barrier(threads);
        for (int i = 0; i < threads; ++i) c->sum[thread] += c->written[phase % 2][i];
    }
    rf_scratch_close(scratch);
}

/* 1 if the call gave each thread the sum it must */
static int one_call(int want, int brief)
{
    call c = {0};
    const int threads = rf_team_acquire(want, brief);
    rf_team_run(task, &c, threads);
    rf_team_release(threads);
    if (threads < 1 || threads > want) return 0;
    for (int i = 0; i < threads; ++i)
        if (c.sum[i] != PHASES * (PHASES - 1) / 2 * threads * (threads + 1) / 2) return 0;
    return 1;
}

typedef struct calls { int first, right; } calls;

static RF_THREAD_MAIN caller(void *arg)
{
    enum { LARGE = 1 << 20 }; /* bytes; such a block is kept when freed, and given to whoever asks next */
    calls *mine = arg;
    for (int i = 0; i < CALLS; ++i) {
        char *block = rf_alloc(LARGE);
        block[i] = (char)i;
        mine->right += one_call(1 + (i + mine->first) % MOST, i % 2);
        rf_free(block, LARGE);
        if (i % 50 == 0) {
            rf_trim();
            sleep_ms(1); /* workers fall asleep in between */
        }
    }
    return 0;
}

static int many_callers(void)
{
    calls each[CALLERS];
    void *args[CALLERS];
    int right = 0;
    for (int i = 0; i < CALLERS; ++i) {
        each[i] = (calls){i, 0};
        args[i] = &each[i];
    }
    in_threads(CALLERS, caller, args);
    for (int i = 0; i < CALLERS; ++i) right += each[i].right;
    printf("team: %d of %d calls of %d callers right\n", right, CALLERS * CALLS, CALLERS);
    return right == CALLERS * CALLS;
}

/* children of a process whose team has run make teams of their own */
static int two_calls(void) { return one_call(MOST, 0) && one_call(2, 1); }

static int forks(void)
{
    int right = 0;
    for (int i = 0; i < FORKS; ++i) right += succeeds_in_child(two_calls) && one_call(MOST, 0);
    printf("team: %d of %d forked children right\n", right, FORKS);
    return right == FORKS;
}

/* brief calls: one after a pause goes alone, since workers sleep; close ones get a worker, since the first rouses it */
static int brief_calls(void)
{
    int together = 0, alone = 0;
    time_t end = time(NULL) + 10; /* a busy machine may be slow to wake a worker */
    while (together < 100 && time(NULL) < end) {
        const int threads = rf_team_acquire(2, 1);
        together += threads == 2;
        rf_team_release(threads);
    }
    end = time(NULL) + 20; /* after a call that lost its processor the next ones count as long: on a busy machine, once more */
    for (int i = 0; i == 0 || i % 20 || (alone <= 10 && time(NULL) < end); ++i) {
        if (i % 20 == 0) alone = 0;
        sleep_ms(20);
        const int threads = rf_team_acquire(2, 1);
        alone += threads == 1;
        rf_team_release(threads);
    }
    printf("team: %d close brief calls had a worker; %d of 20 brief calls apart went alone\n", together, alone);
    return together > 0 && alone > 10;
}

/* agree: the same answer for all, whether anybody voted for it; plain barriers in between forget no vote */
typedef struct election { int wrong[MOST]; } election;

static void vote(void *arg, int thread, int threads)
{
    election *e = arg;
    for (int i = 0; i < 2000; ++i) {
        const int voter = i % (threads + 1); /* nobody, at times */
        if (rf_team_agree(threads, thread == voter) != (voter < threads)) ++e->wrong[thread];
        if (i % 3 == 0) rf_team_barrier(threads);
    }
}

static int votes(void)
{
    election e = {{0}};
    const int threads = rf_team_acquire(MOST, 0);
    int wrong = 0;
    rf_team_run(vote, &e, threads);
    rf_team_release(threads);
    for (int i = 0; i < threads; ++i) wrong += e.wrong[i];
    printf("team: %d of 2000 votes of %d threads counted wrong\n", wrong, threads);
    return threads == MOST && wrong == 0;
}

/* who waits for long, at a barrier or for the end of a call, sleeps */
static void late(void *arg, int thread, int threads)
{
    (void)arg;
    for (int i = 0; i < 2; ++i) {
        if (thread > 0) sleep_ms(50);
        if (i == 0) rf_team_barrier(threads);
    }
}

static int patience(void)
{
    const int threads = rf_team_acquire(2, 0);
    const double before = thread_ms();
    rf_team_run(late, NULL, threads);
    const double ms = thread_ms() - before;
    rf_team_release(threads);
    printf("team: %.1f ms of processor time to wait 100 ms\n", ms);
    return threads == 2 && ms < 20;
}

/* one CPU in the mask: no second thread, unless a test wants it */
static int few_cpus(void)
{
    rf_cpus every;
    const int count = rf_affinity(&every);
    rf_cpus one = every;
    keep_one(&one);
    rf_team_exceed(0);
    set_own_affinity(&one);
    const int cpus = rf_team_cpus(), alone = rf_team_acquire(4, 0);
    rf_team_release(alone);
    set_own_affinity(&every);
    const int all = rf_team_cpus(), together = rf_team_acquire(RF_MAX_THREADS, 0);
    rf_team_release(together);
    rf_team_exceed(1);
    printf("team: %d threads on %d CPU, %d on %d\n", alone, cpus, together, count);
    return cpus == 1 && alone == 1 && all == count && together <= all;
}

/* a second open scratch is another one, and the first stays as it is */
static int scratch(void)
{
    rf_trim(); /* what other tests left */
    char *outer = rf_scratch_open(1000), *inner = rf_scratch_open(5000);
    if (!outer || !inner) return 0;
    memset(outer, 1, 1000);
    memset(inner, 2, 5000);
    const int apart = outer[999] == 1 && inner[4999] == 2;
    rf_scratch_close(inner);
    const int kept = rf_trim() == 0; /* what is open is not given back */
    rf_scratch_close(outer);
    const int given = rf_trim() >= 1000, once = rf_trim() == 0;
    printf("scratch: %s\n", apart && kept && given && once ? "right" : "WRONG");
    return apart && kept && given && once && rf_scratch_reserve(10) && rf_trim() >= 10;
}

/* any argument: no forks (qemu 7.2's user emulation sometimes fails an assertion of its own after a fork with threads) */
int main(int argc, char **argv)
{
    (void)argv;
    rf_team_let_rest(0); /* the team is what is tested, however busy the machine */
    rf_team_exceed(1);   /* and however few its CPUs */
    const int right = many_callers() & brief_calls() & votes() & patience() & scratch() & (!HAS_AFFINITY || few_cpus());
    return (argc > 1 || !HAS_FORK || forks()) && right ? 0 : 1;
}
