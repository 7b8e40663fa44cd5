/* SPDX-License-Identifier: MIT */
/* Says whether the generated network answers on this machine as its bundle promises: exit code 0
 * or 1. */
#include "edgeemo_model.h"

#include <stdio.h>

int main(void)
{
    const int damaged = edgeemo_init(), failed = damaged ? 0 : edgeemo_selftest();
    if (damaged) {
        printf("the tables are damaged\n");
    } else if (failed) {
        printf("self-test: pattern %d is answered wrong\n", failed);
    } else {
        printf("self-test: %d patterns answered as promised\n", EDGEEMO_VECTOR_COUNT);
    }
    return damaged || failed;
}
