/* tests/csrc/arrays.h: arrays of the element type of k, the kernels under test, which the file that includes this has declared.
 * An array ends where a page ends that nobody may touch, so that reading or writing past its end stops the test. */
enum { MAX_ARRAYS = 200 };
static struct { void *pages; size_t bytes; } arrays[MAX_ARRAYS];
static int array_count;

static void *array(ptrdiff_t n)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = (size_t)(n * k->itemsize);
    const size_t whole = (bytes + page - 1) / page * page;
    char *p = mmap(NULL, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || array_count == MAX_ARRAYS || mprotect(p + whole, page, PROT_NONE) != 0) abort();
    arrays[array_count].pages = p;
    arrays[array_count++].bytes = whole + page;
    return p + whole - bytes;
}

static void free_arrays(void)
{
    while (array_count > 0) {
        --array_count;
        munmap(arrays[array_count].pages, arrays[array_count].bytes);
    }
}

static void *part(const void *a, ptrdiff_t i) { return (char *)a + i * k->itemsize; }
