/* SPDX-License-Identifier: MIT */
/* Which model runs: the one in the partition `model`, else the last that was good, else the one
 * built into the firmware. */
#ifndef MODEL_STORE_H
#define MODEL_STORE_H

#include "edgeemo_image.h"

typedef enum { MODEL_STORE_NEW, MODEL_STORE_KEPT, MODEL_STORE_BUILTIN } model_store_source;

typedef struct {
    const edgeemo_network *network;
    model_store_source source;
    edgeemo_image image; /* of a partition's model */
} model_store;

/* Checks and self-tests the models in that order, in an arena of `arena_bytes` (aligned to 4), and
 * takes the first good one. A new model that is good is copied into `model_kept`, its header last,
 * so that a cut in power leaves no half model that looks whole. Partitions stay mapped while
 * `store` is used. */
void model_store_open(model_store *store, int8_t *arena, uint32_t arena_bytes);

#endif
