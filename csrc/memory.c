/* memory.c: aligned memory, large blocks kept for the next call, and the scratch of each OS thread. */
#include "portable.h"

#include <stdatomic.h>
#include <string.h>

#include "rnnfast.h"

enum { RF_HUGE_PAGE = 2 << 20, RF_HUGE_FROM = 4 << 20 };

/* ---- blocks kept ------------------------------------------------------------------------------------------
 * Every training step packs the weights, fills a tape and returns gradients anew. The system clears each page it hands out, so
 * a large block that is freed waits here for the next step. Sizes are rounded up, an eighth at most, so that a block fits again
 * when the lengths of a batch differ a little. What waits is bounded by the blocks of a step of an LSTM with H = 1024, B = 64,
 * T = 25: 67 MB of packed weights, 33 of tape, 46 of results; beyond, clearing pages is a small part of a step. The oldest
 * goes first. */
enum { RF_KEPT_BLOCKS = 64, RF_KEPT_BYTES = 256 << 20 };

static struct {
    atomic_flag busy; /* whoever finds it set goes to the system: nobody waits, and a child forked meanwhile cannot hang */
    int count;
    size_t bytes;
    struct { void *data; size_t size; } block[RF_KEPT_BLOCKS]; /* oldest first */
} kept = {.busy = ATOMIC_FLAG_INIT};

static size_t rounded(size_t bytes)
{
    size_t step = 1;
    while (step <= bytes / 16) step *= 2; /* at most an eighth */
    return bytes > SIZE_MAX / 2 ? bytes : (bytes + step - 1) / step * step;
}

static void *remove_kept(int i)
{
    void *p = kept.block[i].data;
    kept.bytes -= kept.block[i].size;
    memmove(&kept.block[i], &kept.block[i + 1], (size_t)(--kept.count - i) * sizeof kept.block[0]);
    return p;
}

static void *take_kept(size_t size)
{
    void *p = NULL;
    if (size < RF_KEPT_FROM || atomic_flag_test_and_set(&kept.busy)) return NULL;
    for (int i = kept.count - 1; i >= 0 && !p; --i)
        if (kept.block[i].size == size) p = remove_kept(i);
    atomic_flag_clear(&kept.busy);
    return p;
}

static int keep(void *p, size_t size)
{
#if defined(__SANITIZE_ADDRESS__)
    return 0; /* each block has a life of its own there, and its end is watched */
#endif
    if (size < RF_KEPT_FROM || size > RF_KEPT_BYTES || atomic_flag_test_and_set(&kept.busy)) return 0;
    while (kept.count == RF_KEPT_BLOCKS || kept.bytes + size > RF_KEPT_BYTES) rf_aligned_free(remove_kept(0));
    kept.block[kept.count].data = p;
    kept.block[kept.count++].size = size;
    kept.bytes += size;
    atomic_flag_clear(&kept.busy);
    return 1;
}

static size_t free_kept(void)
{
    size_t bytes = 0;
    if (atomic_flag_test_and_set(&kept.busy)) return 0;
    bytes = kept.bytes;
    while (kept.count) rf_aligned_free(remove_kept(0));
    atomic_flag_clear(&kept.busy);
    return bytes;
}

/* Large blocks go on huge pages where the system has them: weights are read from end to end at every step, and a block of
 * 16 MB is 4,096 page faults and as many TLB entries otherwise. */
void *rf_alloc(size_t bytes)
{
    const size_t size = rounded(bytes), align = bytes >= RF_HUGE_FROM ? RF_HUGE_PAGE : 64;
    void *p = take_kept(size);
    if (p) return p;
    if (!(p = rf_aligned_alloc(align, size ? size : 64)) && free_kept()) p = rf_aligned_alloc(align, size);
    if (p && bytes >= RF_HUGE_FROM) rf_use_huge_pages(p, bytes);
    return p;
}

void rf_free(void *p, size_t bytes)
{
    if (p && !keep(p, rounded(bytes))) rf_aligned_free(p);
}

/* ---- the scratch of each OS thread ------------------------------------------------------------------------
 * One growing block a thread. What must be known of it is kept in its own first 64 bytes; the key's destructor frees it. */
typedef struct scratch {
    size_t bytes;              /* after this head */
    int open;
} scratch;
enum { RF_SCRATCH_HEAD = 64 };
_Static_assert(sizeof(scratch) <= RF_SCRATCH_HEAD, "raise RF_SCRATCH_HEAD");

static rf_key scratch_key;
static rf_once scratch_once = RF_ONCE_INIT;
static int scratch_ready;
static _Thread_local scratch *mine; /* what the key holds, at hand */

static RF_DESTRUCTOR end_of_thread(void *scratch)
{
    mine = NULL;
    rf_aligned_free(scratch);
}

static void make_key(void) { scratch_ready = rf_key_create(&scratch_key, end_of_thread); }

static scratch *new_scratch(size_t bytes)
{
    scratch *s = bytes > SIZE_MAX / 2 ? NULL : rf_alloc(bytes + RF_SCRATCH_HEAD);
    if (s) *s = (scratch){.bytes = bytes, .open = 0};
    return s;
}

static size_t free_scratch(void)
{
    const size_t bytes = mine && !mine->open ? mine->bytes + RF_SCRATCH_HEAD : 0;
    if (bytes) {
        rf_key_set(scratch_key, NULL);
        rf_aligned_free(mine);
        mine = NULL;
    }
    return bytes;
}

int rf_scratch_reserve(size_t bytes)
{
    if (mine && mine->open) return -1;
    if (mine && mine->bytes >= bytes) return 1;
    rf_call_once(&scratch_once, make_key);
    (void)free_scratch();
    if (!scratch_ready || !(mine = new_scratch(bytes))) return 0;
    if (rf_key_set(scratch_key, mine)) return 1;
    (void)free_scratch();
    return 0;
}

void *rf_scratch_open(size_t bytes)
{
    const int reserved = rf_scratch_reserve(bytes);
    scratch *s = reserved > 0 ? mine : reserved < 0 ? new_scratch(bytes) : NULL;
    if (!s) return NULL;
    s->open = 1;
    return (char *)s + RF_SCRATCH_HEAD;
}

void rf_scratch_close(void *p)
{
    scratch *s = (scratch *)((char *)p - RF_SCRATCH_HEAD);
    s->open = 0;
    if (s != mine) rf_free(s, s->bytes + RF_SCRATCH_HEAD);
}

size_t rf_trim(void)
{
    const size_t bytes = free_scratch();
    return bytes + free_kept();
}
