/* ops.c: names of the operations of programs. */
#include "ops.h"

#include "rnnfast.h"

#define RF_OP_ROW(name, arguments, ...) {#name, arguments},
#define RF_SPECIAL_ROW(name, arguments) {#name, arguments},
static const struct { const char *name; int arguments; } ops[] = {RF_OPERATIONS(RF_OP_ROW, RF_SPECIAL_ROW)};

int rf_op_count(void) { return RF_OPS; }

const char *rf_op_name(int op) { return ops[op].name; }

int rf_op_arguments(int op) { return ops[op].arguments; }
