/* team.c: the thread team and kept blocks under many callers, changing numbers of threads, and forks; no Python. With
 * -fsanitize=thread (tests/thread_sanitizer.sh) every access of csrc/team.c and csrc/memory.c is watched. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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

static void *caller(void *arg)
{
    enum { LARGE = 1 << 20 }; /* bytes; such a block is kept when freed, and given to whoever asks next */
    long right = 0;
    for (int i = 0; i < CALLS; ++i) {
        char *block = rf_alloc(LARGE);
        block[i] = (char)i;
        right += one_call(1 + (i + (int)(size_t)arg) % MOST, i % 2);
        rf_free(block, LARGE);
        if (i % 50 == 0) {
            rf_trim();
            nanosleep(&(struct timespec){0, 1000000}, NULL); /* workers fall asleep in between */
        }
    }
    return (void *)right;
}

static int many_callers(void)
{
    pthread_t threads[CALLERS];
    long right = 0;
    for (size_t i = 0; i < CALLERS; ++i)
        if (pthread_create(&threads[i], NULL, caller, (void *)i) != 0) abort();
    for (int i = 0; i < CALLERS; ++i) {
        void *result;
        pthread_join(threads[i], &result);
        right += (long)result;
    }
    printf("team: %ld of %d calls of %d callers right\n", right, CALLERS * CALLS, CALLERS);
    return right == CALLERS * CALLS;
}

/* children of a process whose team has run make teams of their own */
static int forks(void)
{
    int right = 0;
    for (int i = 0; i < FORKS; ++i) {
        int status = 1;
        const pid_t child = fork();
        if (child == 0) _exit(one_call(MOST, 0) && one_call(2, 1) ? 0 : 1);
        right += child > 0 && waitpid(child, &status, 0) == child && status == 0 && one_call(MOST, 0);
    }
    printf("team: %d of %d forked children right\n", right, FORKS);
    return right == FORKS;
}

/* brief calls: one after a pause goes alone, since workers sleep; close ones get a worker, since the first rouses it */
static int brief_calls(void)
{
    int together = 0, alone = 0;
    const time_t end = time(NULL) + 10; /* a busy machine may be slow to wake a worker */
    while (together < 100 && time(NULL) < end) {
        const int threads = rf_team_acquire(2, 1);
        together += threads == 2;
        rf_team_release(threads);
    }
    for (int i = 0; i < 20; ++i) {
        nanosleep(&(struct timespec){0, 20000000}, NULL);
        const int threads = rf_team_acquire(2, 1);
        alone += threads == 1; /* not all: after a call that lost its processor the next ones count as long */
        rf_team_release(threads);
    }
    printf("team: %d close brief calls had a worker; %d of 20 brief calls apart went alone\n", together, alone);
    return together > 0 && alone > 10;
}

/* any argument: no forks (qemu 7.2's user emulation sometimes fails an assertion of its own after a fork with threads) */
int main(int argc, char **argv)
{
    (void)argv;
    rf_team_let_rest(0); /* the team is what is tested, however busy the machine */
    rf_team_exceed(1);   /* and however few its CPUs */
    const int right = many_callers() & brief_calls();
    return (argc > 1 || forks()) && right ? 0 : 1;
}
