/* isa/close.h: ends what isa/open.h began. */
#ifdef RF_CLOSE_TARGET
#pragma clang attribute pop
#endif
