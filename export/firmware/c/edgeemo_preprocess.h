/* SPDX-License-Identifier: MIT */
/* From a camera's frame to the network's input, with the very bytes that training saw: crop, grey
 * and resize of edgeemo's contract (edgeemo/contract/preprocess.py) in integer arithmetic.
 * Hand-written C99, no heap, no floats. */
#ifndef EDGEEMO_PREPROCESS_H
#define EDGEEMO_PREPROCESS_H

#include "model_settings.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    EDGEEMO_GREY8,
    EDGEEMO_RGB888,
    EDGEEMO_BGR888,
    EDGEEMO_RGB565_BE, /* the high byte first, as ESP32 cameras send it */
    EDGEEMO_RGB565_LE,
    EDGEEMO_YUYV /* full-range BT.601: its Y is the grey; for RGB, rows hold whole pairs */
} edgeemo_pixel_format;

typedef struct {
    const uint8_t *pixels;
    int32_t width, height; /* 1 to EDGEEMO_FRAME_MAX */
    int32_t stride;        /* bytes from one row to the next */
    edgeemo_pixel_format format;
} edgeemo_frame;

/* A face detector's box in pixels; it may reach beyond the frame. */
typedef struct {
    int32_t x, y, width, height;
} edgeemo_box;

/* How a detector's box becomes what training saw, in 1/1024; EDGEEMO_CROP_... of
 * model_settings.h. */
typedef struct {
    int32_t scale_q10, shift_x_q10, shift_y_q10;
} edgeemo_crop;

#define EDGEEMO_FRAME_MAX 4096
#define EDGEEMO_REGION_MAX 4096
#define EDGEEMO_BAD_FRAME (-1) /* no pixels, a side out of range, or a stride that is too short */
/* Empty, outside of the frame, or a region of more than four times the frame's longer side or of
 * EDGEEMO_REGION_MAX pixels a side. */
#define EDGEEMO_BAD_BOX (-2)

/* Writes the input of one face: EDGEEMO_INPUT_HEIGHT rows of EDGEEMO_INPUT_WIDTH pixels, each grey
 * or, where EDGEEMO_INPUT_CHANNELS is 3, red, green and blue; 0, or one of the two above. A grey
 * frame gives three equal channels. */
int edgeemo_face_to_input(const edgeemo_frame *frame, const edgeemo_box *box,
                          const edgeemo_crop *crop, uint8_t out[EDGEEMO_INPUT_BYTES]);

#ifdef __cplusplus
}
#endif

#endif
