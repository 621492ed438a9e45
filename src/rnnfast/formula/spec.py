"""What the loops and the interpreter get of a formula: numbers, lists, instructions. `plan.py` makes it; csrc/rnnfast.h has the
same structs in C, with the meaning of each number.

Letters: H hidden size. A block is H numbers of a row. Slots are the blocks that a row has at each step. Forward, slots
0 .. x_gates hold the x-projections of the gates before the step; slots hold what is saved, and what a later phase needs, after
it. Backward, slots 0 .. x_gates hold the gradients of the projections after the step.
"""

from __future__ import annotations

from typing import NamedTuple


class At:
    """Where an operand of an instruction is. With each of them goes a number, of a register, a state, a slot, ..."""

    REGISTER = "register"  # of the block of vectors at work
    CONSTANT = "constant"  # of the program
    SUM = "sum"  # result of a product of this phase
    SLOT = "slot"
    BEFORE, AFTER = "before", "after"  # a state before and after the step; forward AFTER is written, and read after that
    Y = "y"  # forward: the output that is not a state, written
    DY = "dy"  # backward: gradient of y, may be absent; read by "add_if" alone
    # backward, read: gradient of a state after the step, without what products carry and without dy. May be absent
    D_AFTER = "d_after"
    # backward, written: of the state before the step, without what a product carries. The same memory as D_AFTER; a phase may
    # keep another value there that a later phase reads, before the gradient is written
    D_BEFORE = "d_before"
    VECTOR = "vector"  # (H,): a bias that stands apart, or an expression of vectors, computed once per call
    EXTRA, D_EXTRA = "extra", "d_extra"  # a (B, H) input or draw; the gradient of an input, which is added to
    D_VECTOR = "d_vector"  # backward: row by row the gradient of a vector after the biases, which is added to at every step
    ROW = "row"  # a number a row. In programs of rows an operand as any other; in others read by "splat" alone
    PARTIAL = "partial"  # written by "total" alone: sums over the units of one vector


class Operand(NamedTuple):
    space: str
    number: int = 0


class Instruction(NamedTuple):
    """op: a name of csrc/ops.h. operands: the result's place first; then the arguments."""

    op: str
    operands: tuple[Operand, ...]


class Program(NamedTuple):
    """constants: numbers, or "1/H". A place in memory that has been written is not read under another name afterwards."""

    instructions: tuple[Instruction, ...]
    registers: int
    constants: tuple[float | str, ...]


class ForwardProduct(NamedTuple):
    """SUM sum .. sum+len(gates) = source times these blocks of W_hh, 1 to 4. source: Operand(BEFORE, i) or Operand(SLOT, i)."""

    source: Operand
    gates: tuple[int, ...]
    sum: int


class BackwardProduct(NamedTuple):
    """SUM sum = slots slot .. slot+gates times W_hh, whose blocks are hh_of_slot[slot], ... The slots are those of step t + 1
    (state >= 0: it gives the gradient of that state after the step), or of the step itself (state -1)."""

    slot: int
    gates: int
    sum: int
    state: int


class Phase(NamedTuple):
    """In this order: partials are added up, ROW row = sum over vectors of PARTIAL partial, for each (partial, row) of totals;
    the program of rows runs; products; the program of units. products: indices first .. last of the pass's
    list, without last."""

    totals: tuple[tuple[int, int], ...]
    row_program: Program | None
    first: int
    last: int
    program: Program | None


class WeightGradient(NamedTuple):
    """dW[gate : gate+gates] += slots[slot : slot+gates]^T source. of: "ih" (source None: x) or "hh"."""

    of: str
    source: Operand | None
    slot: int
    gate: int
    gates: int


class State(NamedTuple):
    """product: index of the backward product that carries its gradient from step to step, or -1. carried: its gradient also has
    a part that goes from step to step without product (D_BEFORE is written). kept: backward reads its values, so they all live
    until then (those of a first state that is y do in any case). in_place: forward may write AFTER where BEFORE is."""

    product: int
    carried: bool
    kept: bool
    in_place: bool


class Spec(NamedTuple):
    """x_gates, h_gates: blocks of W_ih and W_hh. ih_of_slot: for each of the first x_gates slots its block of W_ih. hh_of_slot:
    of each slot the block of W_hh whose gradient it holds after backward, or -1. merged: for each of the first x_gates slots
    the block of b_hh that is added to its projection with b_ih, or -1. split: blocks of b_hh that stand apart, VECTOR 0, 1,
    ...; the other vectors, whose
    number is `vectors`, follow.

    extras: number of EXTRA. row_values: number of ROW; the first row_inputs are inputs of shape (B,), the next row_saved are
    kept for backward. d_row_inputs: for each row input the ROW that holds its gradient after the last backward phase, or -1.
    partials: number of PARTIAL. saves: slots must live until backward. y_is_state: y is state 0.

    ahead, rest: another way forward for inference, with the same bits, or both empty. The phases `ahead` have no products and
    read and write SLOT, VECTOR and numbers a row of their own alone; they are run after the projection for many steps at once.
    Then the steps have the phases `rest` in place of `forward`, with the same products."""

    x_gates: int
    h_gates: int
    slots: int
    saves: bool
    y_is_state: bool
    states: tuple[State, ...]
    ih_of_slot: tuple[int, ...]
    hh_of_slot: tuple[int, ...]
    merged: tuple[int, ...]
    split: tuple[int, ...]
    vectors: int
    extras: int
    row_values: int
    row_inputs: int
    row_saved: int
    d_row_inputs: tuple[int, ...]
    partials: int
    forward_products: tuple[ForwardProduct, ...]
    backward_products: tuple[BackwardProduct, ...]
    forward: tuple[Phase, ...]
    backward: tuple[Phase, ...]
    ahead: tuple[Phase, ...]
    rest: tuple[Phase, ...]
    weight_gradients: tuple[WeightGradient, ...]
