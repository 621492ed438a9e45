/* portable.h: what team.c and memory.c need of the operating system, under one set of names. What differs between systems
 * is in csrc/system/ alone. Included before all system headers: it switches on what they hide from strict C11.
 *
 * mutexes     rf_mutex, rf_mutex_init, rf_mutex_lock, rf_mutex_unlock; RF_MUTEX_INIT
 * conditions  rf_condition, rf_condition_init, rf_condition_wait(condition, mutex), rf_condition_signal (wakes one),
 *             rf_condition_broadcast (wakes all); RF_CONDITION_INIT
 * once        rf_once, rf_call_once(once, function); RF_ONCE_INIT
 * threads     rf_thread, rf_thread_start(thread, function, arg, bytes of stack): 1, or 0 on failure. The thread is detached and
 *             gets no signals, which are for the threads of Python. Its function is RF_THREAD_MAIN name(void *arg), and
 *             returns 0. rf_yield; rf_at_fork(function): called in every forked child from now on
 * CPUs        rf_cpus, a set of CPUs. rf_affinity(cpus): those on which the calling thread may run; returns how many, at least
 *             1. rf_cpus_same(a, b); rf_set_affinity(thread, cpus). rf_current_cpu: the one the calling thread is on, or -1;
 *             rf_leave_cpu(cpu, cpus): moves the calling thread from it to another of the set, where the system needs to be
 *             told. Without affinity (macOS) all sets are the same, and setting one does nothing.
 * keys        rf_key, an address for each thread. rf_key_create(key, destructor): RF_DESTRUCTOR name(void *address) is called
 *             where a thread ends whose address is not NULL; rf_key_set(key, address). Both return 1, or 0 on failure.
 * memory      rf_aligned_alloc(align, bytes), NULL on failure; rf_aligned_free; rf_use_huge_pages(p, bytes), advice
 * time        rf_clock_ns: a clock that only goes forward
 */
#ifndef RF_PORTABLE_H
#define RF_PORTABLE_H

#if defined(_WIN32)
#include "system/windows.h"
#else
#include "system/posix.h"
#endif

#endif
