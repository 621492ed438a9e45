/* tests/csrc/arrays.h: arrays of the element type of k, the kernels under test, which the file that includes this has declared.
 * An array ends where a page ends that nobody may touch, so that reading or writing past its end stops the test. */
enum { MAX_ARRAYS = 200 };
static guarded arrays[MAX_ARRAYS];
static int array_count;

static void *array(ptrdiff_t n)
{
    const size_t bytes = (size_t)(n * k->itemsize);
    if (array_count == MAX_ARRAYS) abort();
    arrays[array_count] = guard(bytes);
    return arrays[array_count++].end - bytes;
}

static void free_arrays(void)
{
    while (array_count > 0) unguard(arrays[--array_count]);
}

static void *part(const void *a, ptrdiff_t i) { return (char *)a + i * k->itemsize; }
