/* SPDX-License-Identifier: MIT */
/* Faces in a camera's frame: the detector's network, and its rows as boxes, bit for bit as
 * edgeemo/contract/face_rows.py has them. Hand-written C99, no heap, no floats. */
#ifndef EDGEEMO_FIND_H
#define EDGEEMO_FIND_H

#include "edgeemo_find_settings.h"
#include "edgeemo_kernels.h"
#include "edgeemo_preprocess.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A face: its box in pixels of the frame, which may reach beyond it, and the network's logit above
 * its zero point, in steps of the output. */
typedef struct {
    edgeemo_box box;
    int32_t score;
} edgeemo_face;

/* Faces of a frame at most; candidates of the first look too. */
#define EDGEEMO_FIND_MOST 32

/* One of the grids whose cells the network's rows belong to; see face_rows.py. */
typedef struct {
    int32_t stride, rows, columns, multiplier;
} edgeemo_grid;

extern const edgeemo_network edgeemo_find_network;
extern const edgeemo_grid edgeemo_find_grids[EDGEEMO_FIND_GRIDS];

/* Looks for faces in the whole frame, and once more at each candidate, and writes `most` of them at
 * most, largest first: how many it wrote, or EDGEEMO_BAD_FRAME. It works in the memory that
 * edgeemo_infer works in, so one of the two may run at a time. */
int32_t edgeemo_find(const edgeemo_frame *frame, edgeemo_face *faces, int32_t most);

/* The same in `arena`, of EDGEEMO_FIND_ARENA_BYTES bytes, aligned to 4. */
int32_t edgeemo_find_in(const edgeemo_frame *frame, edgeemo_face *faces, int32_t most,
                        int8_t *arena);

/* Checks the detector's tables in flash: 0, or -1 when they are not what was generated. */
int edgeemo_find_init(void);

/* The memory of edgeemo_infer, which the detector shares. */
int8_t *edgeemo_memory(void);

#ifdef __cplusplus
}
#endif

#endif
