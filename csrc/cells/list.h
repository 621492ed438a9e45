/* cells/list.h: the list of cells. A new cell is its file, its #include and its row here. No include guard: cells.c reads
 * it for the numbers, kernels.h (RF_KERNELS) also for the kernel bodies. */
#include "rnn.h"
#include "lstm.h"
#include "gru.h"

#define RF_CELLS(CELL) \
    CELL(rnn_tanh) CELL(rnn_relu) CELL(rnn_identity) CELL(rnn_sigmoid) CELL(lstm) CELL(gru) CELL(gru_before)
