/* isa/avx512_tiles.h: lanes and tiles of avx512.h, and so of its stand-in avx512_pairs.h. Contract: scalar.h. */
#define LANES (64 / (int)sizeof(T))
#define MR4 6
#define MR3 8
#define MR2 12
#define PN4 4
#define PN3 4
#define PN2 4
