/* probe.h: what the machine can do at most, by the same vectors as the kernels: multiply-adds, and loads. bench/limit.py
 * divides by the seconds they take. As many accumulators as the widest tile has, so that no latency shows. */
enum { RF_PROBE_VECTORS = 2 * RF_MR2 };

RF_INLINE double first_of(const rf_vec v)
{
    rf_real lanes[RF_LANES];
    v_store(lanes, v);
    return (double)lanes[0];
}

/* repeats x RF_PROBE_VECTORS x RF_LANES multiply-adds on registers; returns a sum of them. */
static double rf_probe_fma(ptrdiff_t repeats)
{
    rf_vec acc[RF_PROBE_VECTORS];
    rf_vec half = v_set1((rf_real)0.5);
    v_pin(half); /* a constant unknown to the compiler */
    RF_UNROLL for (int i = 0; i < RF_PROBE_VECTORS; ++i) acc[i] = v_set1((rf_real)i);
    for (ptrdiff_t n = 0; n < repeats; ++n) {
        RF_UNROLL for (int i = 0; i < RF_PROBE_VECTORS; ++i) {
            acc[i] = v_fma(acc[i], half, half);
            v_pin(acc[i]);
        }
    }
    RF_UNROLL for (int i = 1; i < RF_PROBE_VECTORS; ++i) acc[0] = v_add(acc[0], acc[i]);
    return first_of(acc[0]);
}

/* Reads data (n), n a multiple of RF_PROBE_VECTORS * RF_LANES, so many times; returns a sum of what it read. */
static double rf_probe_load(const void *data, ptrdiff_t n, ptrdiff_t repeats)
{
    rf_vec acc[RF_PROBE_VECTORS];
    RF_UNROLL for (int i = 0; i < RF_PROBE_VECTORS; ++i) acc[i] = v_set1(0);
    for (ptrdiff_t r = 0; r < repeats; ++r) {
        for (const rf_real *p = data, *end = p + n; p < end; p += RF_PROBE_VECTORS * RF_LANES) {
            RF_UNROLL for (int i = 0; i < RF_PROBE_VECTORS; ++i) acc[i] = v_add(acc[i], v_load(p + i * RF_LANES));
        }
    }
    RF_UNROLL for (int i = 1; i < RF_PROBE_VECTORS; ++i) acc[0] = v_add(acc[0], acc[i]);
    return first_of(acc[0]);
}
