/* cells/cells.c: the table of cells, numbers only. */
#include <string.h>

#include "../rnnfast.h"
#include "list.h"

#define RF_ROW(cell) RF_NUMBERS_##cell,
const rf_cell rf_cells[] = {RF_CELLS(RF_ROW)};
const int rf_cell_count = sizeof rf_cells / sizeof rf_cells[0];
_Static_assert(sizeof rf_cells / sizeof rf_cells[0] <= RF_MAX_CELLS, "raise RF_MAX_CELLS");

int rf_find_cell(const char *name)
{
    for (int i = 0; i < rf_cell_count; ++i)
        if (strcmp(rf_cells[i].name, name) == 0) return i;
    return -1;
}
