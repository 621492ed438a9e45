"""The data the timestep loops work on: one layer in one direction. Letters: T B I H as everywhere, S steps of work,
R stored rows (T*B, or the sum of lengths). A step s runs from 0 to S-1 in the order of processing; its time t is s, or
counts back from each sample's end for reverse. Addresses are bytes, so float32 and float64 share every line."""
from rnnfast._core cimport rf_cell, rf_kernels


cdef struct View:
    # rows of a (T, B, n) array with contiguous last axis: row (t, b) is at data + t*step + b*row
    char *data
    Py_ssize_t step, row


cdef struct Order:
    # which rows are at work at which step. Dense: rows are samples, stored by time. Ragged: rows are samples sorted by
    # falling length, so that those at work are a prefix, stored step after step.
    Py_ssize_t T, B, S
    bint reverse, ragged
    const Py_ssize_t *sample    # (B,) row -> sample
    const Py_ssize_t *length    # (B,) of each row
    const Py_ssize_t *active    # (S+1,) rows at work at step s
    const Py_ssize_t *first     # (S+1,) stored row of (s, row 0)


cdef struct Job:
    Order order
    const rf_cell *cell
    const rf_kernels *kernels
    int index                   # of the cell in the kernel tables
    Py_ssize_t inputs, hidden, size   # I, H (I is a macro of complex.h), bytes of an element
    const char *ih
    const char *bias_x
    const char *bias_h
    const char *hh[2]
    const char *back_ih
    const char *back_hh[2]
    View x, y, dy, dx
    char *h0                    # (B, H) by sample, each
    char *c0
    char *h_n
    char *c_n
    Py_ssize_t chunk            # steps that are projected at a time
    bint save                   # forward leaves slots and cells as backward needs them
    bint h_in_y                 # y is where h lives; else in h_rows, turn by turn
    bint quiet                  # recomputing: y and final states are not written again
    char *slots                 # (rows of a window or R, slots*H)
    Py_ssize_t slots_row        # stored row that slots begins with
    char *cells                 # (as slots, H) saved c
    char *h_rows[2]             # (B, H) by row, each
    char *c_rows
    char *h0_rows
    char *c0_rows
    char *x_rows                # gathered rows of x or of dx
    char *c_marks               # (windows, B, H) c before each window
    Py_ssize_t every            # steps between marks, 0 = none
    # backward only
    const char *dh_n            # (B, H) by sample, or NULL = zeros
    const char *dc_n
    char *dh0
    char *dc0
    char *d_weight[2]           # (G*H, I) and (G*H, H)
    char *d_bias[2]             # (G*H) each, or NULL
    char *carry                 # (B, H) by row, each
    char *dc
    char *dy_rows
    char *hp_rows
    char *edge                  # (B, slots*H) gradients of the first step of the window just done
    char *pack                  # threads times pack_bytes
    size_t pack_bytes
    const Py_ssize_t *cut       # (threads+1) thread i has rows cut[i] .. cut[i+1]
    bint by_units               # steps: each thread all rows and its share of the units, a barrier a phase; else its rows


cdef enum:
    CHUNK_BYTES = 524288   # slots projected at a time: stay in L2 until the steps have used them
    GRADIENT_ROWS = 256    # rows of one block of a weight gradient's product
    M_BLOCKS = 16          # tiles of rows of that product packed at a time
    ROWS_AT_ONCE = 256     # rows of dx computed at a time where they must be scattered


cdef bint in_line(const View *v, const Order *o) noexcept nogil
cdef void forward_task(void *arg, int thread, int threads) noexcept nogil
cdef void backward_task(void *arg, int thread, int threads) noexcept nogil
