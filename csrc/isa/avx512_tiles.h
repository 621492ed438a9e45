/* isa/avx512_tiles.h: lanes and tiles of avx512.h, and so of its stand-in avx512_pairs.h. Contract: scalar.h. */
#define RF_LANES (64 / (int)sizeof(rf_real))
#define RF_MR4 6
#define RF_MR3 8
#define RF_MR2 12
#define RF_PN4 4
#define RF_PN3 4
#define RF_PN2 4
