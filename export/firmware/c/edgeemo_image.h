/* SPDX-License-Identifier: MIT */
/* A network from a flash partition (model.bin, written by `python -m export flash-image`), checked
 * before it is used. Hand-written C99, no heap, no floats; it reads the image where it lies. */
#ifndef EDGEEMO_IMAGE_H
#define EDGEEMO_IMAGE_H

#include "edgeemo_kernels.h"
#include "model_settings.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EDGEEMO_IMAGE_SCHEMA 1
#define EDGEEMO_IMAGE_HEADER_BYTES 208U
#define EDGEEMO_IMAGE_MAX_LAYERS 128
#define EDGEEMO_IMAGE_NAME_BYTES 64
/* Larger images are refused; edgeemo/firmware/image_rules.py holds the same numbers. */
#define EDGEEMO_IMAGE_MAX_VECTORS 64
#define EDGEEMO_IMAGE_MAX_ARENA (1U << 28) /* bytes */
#define EDGEEMO_IMAGE_MAX_SOFTMAX 511      /* channels */
#ifndef EDGEEMO_IMAGE_MAX_WORK
#define EDGEEMO_IMAGE_MAX_WORK (1U << 30) /* numbers that one inference sums */
#endif

typedef enum {
    EDGEEMO_IMAGE_OK = 0,
    EDGEEMO_IMAGE_ABSENT, /* no image begins here */
    EDGEEMO_IMAGE_SCHEMA_OTHER,
    EDGEEMO_IMAGE_CUT_OFF, /* larger than what holds it, or not aligned to 4 bytes */
    EDGEEMO_IMAGE_HEADER_DAMAGED,
    EDGEEMO_IMAGE_DAMAGED, /* its SHA-256 is not the header's */
    EDGEEMO_IMAGE_LABELS_OTHER,
    EDGEEMO_IMAGE_INPUT_OTHER, /* made for another preprocessing than this firmware's */
    EDGEEMO_IMAGE_NEEDS_RAM,   /* a larger arena than there is */
    EDGEEMO_IMAGE_UNTESTED,    /* no self-test, or one without end */
    EDGEEMO_IMAGE_LAYERS_BAD,  /* layers that this firmware's kernels cannot run safely */
    EDGEEMO_IMAGE_ANSWERS_BAD  /* its self-test fails on this device */
} edgeemo_image_error;

typedef struct {
    edgeemo_network network; /* points into the image and to `layers`: do not copy this struct */
    edgeemo_layer layers[EDGEEMO_IMAGE_MAX_LAYERS];
    const uint8_t *vectors; /* inputs, then logits */
    uint32_t vector_count;
    uint32_t image_bytes;
    const uint8_t *sha256;
    uint16_t version[3];
    uint32_t smoothing_window_ms, smoothing_hold_ms, smoothing_floor_q15;
    char name[EDGEEMO_IMAGE_NAME_BYTES + 1];
} edgeemo_image;

/* Checks the image at `data`, of which `size` bytes may be read, and everything in it that a kernel
 * would trust. */
edgeemo_image_error edgeemo_image_open(edgeemo_image *image, const void *data, size_t size,
                                       uint32_t arena_capacity);
/* Runs the image's own self-test in `arena` (aligned to 4): OK or ANSWERS_BAD. */
edgeemo_image_error edgeemo_image_selftest(const edgeemo_image *image, int8_t *arena);
/* What is wrong, in a few words. */
const char *edgeemo_image_text(edgeemo_image_error error);

#ifdef __cplusplus
}
#endif

#endif
