/* SPDX-License-Identifier: MIT */
/* Says whether the generated network answers on this machine as its bundle promises: exit code 0
 * or 1. */
#include "edgeemo_model.h"
#if defined(__has_include)
#if __has_include("edgeemo_find.h")
#include "edgeemo_find.h"
#define FINDS_FACES 1
#endif
#endif

#include <stdio.h>

/* The detector's tables, where one was generated: 0 if they are whole. */
static int detector_damaged(void)
{
#ifdef FINDS_FACES
    return edgeemo_find_init();
#else
    return 0;
#endif
}

int main(void)
{
    const int damaged = edgeemo_init() || detector_damaged(), failed = damaged ? 0 : edgeemo_selftest();
    if (damaged) {
        printf("the tables are damaged\n");
    } else if (failed) {
        printf("self-test: pattern %d is answered wrong\n", failed);
    } else {
        printf("self-test: %d patterns answered as promised\n", EDGEEMO_VECTOR_COUNT);
    }
    return damaged || failed;
}
