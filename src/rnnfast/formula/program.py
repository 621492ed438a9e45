"""From nodes to instructions: the order, what is written where, and registers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush

from rnnfast.formula.evaluate import needed
from rnnfast.formula.graph import Graph
from rnnfast.formula.spec import At, Instruction, Operand, Program

MAX_REGISTERS = 64
ADDED_TO = (At.D_EXTRA, At.D_VECTOR)


def location(operand: Operand) -> Operand:
    """Of operands that are the same memory, one."""
    return Operand(At.D_AFTER, operand.number) if operand.space == At.D_BEFORE else operand


def program(
    graph: Graph, stores: Sequence[tuple[int, Operand]], place: Mapping[int, Operand], of_rows: bool = False
) -> Program | None:
    """place: where values are in memory before this program. of_rows: numbers a row are operands as any other."""
    return _Writer(graph, stores, place, of_rows).program() if stores else None


class _Writer:
    """Stores are written one after the other, each with what it still needs. A place in memory is overwritten only where
    nothing that is still to be computed reads what was there; where this cannot be, the value waits in a register. Sets of
    nodes and stores are whole numbers, a bit each."""

    def __init__(
        self, graph: Graph, stores: Sequence[tuple[int, Operand]], place: Mapping[int, Operand], of_rows: bool
    ) -> None:
        self.graph, self.stores = graph, list(stores)
        self.list: list[Instruction] = []
        self.constants: dict[str, float | str] = {}  # by text, which tells -0.0 from 0.0
        self.registers = 0
        self.at: dict[int, Operand] = {}  # of what has been computed or read
        self.splats: dict[int, Operand] = {}  # numbers a row that must be in every unit first: where they are
        self.bit: dict[int, int] = {}
        self.mask: dict[int, int] = {}  # of a node, all that it is computed from, and itself
        self.args: dict[int, tuple[int, ...]] = {}
        self.readers: dict[Operand, int] = {}
        self.users: dict[int, int] = {}
        self.done = 0
        ends = [node for node, _ in stores]
        computed = needed(graph, ends, place)
        for node in sorted({*ends, *computed, *(arg for n in computed for arg in graph.nodes[n].args)}):
            where, mask = place.get(node) or self._constant(node), 0
            if where is not None and (where.space != At.ROW or of_rows):
                self.at[node] = where
            else:
                self.bit[node] = mask = 1 << len(self.bit)
            if where is not None:
                self.splats[node] = where
            self.args[node] = graph.nodes[node].args if where is None else ()
            for arg in self.args[node]:
                mask |= self.mask[arg]
                self._reads(arg, self.bit[node])
            self.mask[node] = mask
        self.store_bit = [1 << (len(self.bit) + i) for i in range(len(self.stores))]
        for node, bit in zip(ends, self.store_bit, strict=True):
            self._reads(node, bit)

    def _constant(self, node: int) -> Operand | None:
        number: float | str | None = "1/H" if self.graph.leaf(node) == ("size", "1/H") else self.graph.number_of(node)
        if number is None:
            return None
        self.constants.setdefault(str(number), number)
        return Operand(At.CONSTANT, list(self.constants).index(str(number)))

    def _reads(self, node: int, bit: int) -> None:
        self.users[node] = self.users.get(node, 0) | bit
        if node in self.at:
            where = location(self.at[node])
            self.readers[where] = self.readers.get(where, 0) | bit

    def _free(self, where: Operand, but: int) -> bool:
        """Whether nothing still to be done, but these, reads what is there now."""
        return not self.readers.get(location(where), 0) & ~(self.done | but)

    def program(self) -> Program:
        left, waiting = set(range(len(self.stores))), list[int]()
        while left:
            best = min(left, key=self._cost)
            left.remove(best)
            self._compute(self.stores[best][0])
            waiting.append(best)
            for i in waiting:
                if not self.done & self.store_bit[i] and self._free(self.stores[i][1], self.store_bit[i]):
                    self._store(i)
            waiting = [i for i in waiting if not self.done & self.store_bit[i]]
            left = {i for i in left if not self.done & self.store_bit[i]}
        # what is left reads each other's places; what waits is in registers, or must get there first
        for node in (self.stores[i][0] for i in waiting):
            if self.at[node].space != At.REGISTER:
                self.at[node] = self._emit("move", self._register(), self.at[node])
        for i in waiting:
            self._store(i)
        return self._allocated()

    def _cost(self, i: int) -> tuple[bool, int, int]:
        node, where = self.stores[i]
        new = self.mask[node] & ~self.done
        return not self._free(where, new | self.store_bit[i]), new.bit_count(), i

    def _register(self) -> Operand:
        self.registers += 1
        return Operand(At.REGISTER, self.registers - 1)

    def _emit(self, op: str, to: Operand, *args: Operand) -> Operand:
        self.list.append(Instruction(op, (to, *args)))
        return to

    def _store(self, i: int) -> None:
        node, where = self.stores[i]
        at = self.at[node]
        if where.space == At.PARTIAL:
            self._emit("total", where, at)
        elif where.space in ADDED_TO:
            # that of an input is rounded first: with unequal lengths it is added elsewhere (_backward.pyx, scatter)
            op, (to, *args) = self.list[-1] if self.list and where.space == At.D_VECTOR else ("", (where,))
            alone = at.space == At.REGISTER and not self.users[node] & ~(self.done | self.store_bit[i])  # stored nowhere else
            if op == "mul" and to == at and alone:
                self.list.pop()
                self._emit("fma", where, *args, where)
            else:
                self._emit("add", where, where, at)
        elif at != where:
            self._emit("move", where, at)
        self.done |= self.store_bit[i]

    def _compute(self, root: int) -> None:
        stack = [root]
        while stack:
            node = stack[-1]
            missing = [arg for arg in self.args[node] if arg not in self.at]
            if missing and node not in self.at:  # the one that needs most comes first: fewer values wait for it
                stack.extend(sorted(missing, key=lambda arg: (self.mask[arg] & ~self.done).bit_count()))
                continue
            stack.pop()
            if node not in self.at:
                op, args = self.graph.nodes[node].op, [self.at[arg] for arg in self.args[node]]
                self.done |= self.bit[node]
                to = self._target(node)
                where = self.splats.get(node)
                self.at[node] = self._emit(op, to, *args) if where is None else self._emit("splat", to, where)

    def _target(self, node: int) -> Operand:
        """A place where it is to be stored anyway, if it can be written now and read by those who still need it."""
        for (stored, where), bit in zip(self.stores, self.store_bit, strict=True):
            can = stored == node and where.space not in (At.PARTIAL, *ADDED_TO) and self._free(where, bit)
            if can and (where.space != At.Y or not self.users[node] & ~(self.done | bit)):
                self.done |= bit
                return where
        return self._register()

    def _allocated(self) -> Program:
        """Registers by linear scan; a result may take the place of an argument that is not read any more."""
        last = {operand: k for k, (_, operands) in enumerate(self.list) for operand in operands}
        free: list[int] = []
        given: dict[Operand, Operand] = {}
        count = 0
        instructions = []
        for k, (op, (to, *args)) in enumerate(self.list):
            read = [given.get(arg, arg) for arg in args]
            for arg in {arg for arg in args if arg.space == At.REGISTER and last[arg] == k}:
                heappush(free, given[arg].number)
            if to.space == At.REGISTER:
                if not free:
                    heappush(free, count)
                    count += 1
                given[to] = Operand(At.REGISTER, heappop(free))
            instructions.append(Instruction(op, (given.get(to, to), *read)))
        if count > MAX_REGISTERS:
            raise ValueError(
                f"formula: expected at most {MAX_REGISTERS} values at work at once in a phase, got {count}; write it with "
                "fewer values that are used far apart"
            )
        return Program(tuple(instructions), count, tuple(self.constants.values()))
