/* SPDX-License-Identifier: MIT */
/* The integer kernels that edgeemo's generated networks are made of. Hand-written C99: no heap, no
 * floats, no dependencies.
 *
 * Every kernel answers as TensorFlow Lite's reference kernel for int8 does, bit for bit: products
 * are summed in 32 bits, multiplied by a 31-bit fixed-point multiplier with rounding, and shifted
 * with rounding half away from zero. Tensors are NHWC without the batch.
 */
#ifndef EDGEEMO_KERNELS_H
#define EDGEEMO_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* Where a generated network's tables and its static arena lie: attributes of your compiler, none by
 * default. They are set on the command line,
 *     '-DEDGEEMO_ARENA_PLACE=__attribute__((section(".dtcm")))'
 * or in a header of yours that is named there, '-DEDGEEMO_PLACES="places.h"'. */
#ifdef EDGEEMO_PLACES
#include EDGEEMO_PLACES
#endif
#ifndef EDGEEMO_TABLE_PLACE
#define EDGEEMO_TABLE_PLACE
#endif
#ifndef EDGEEMO_ARENA_PLACE
#define EDGEEMO_ARENA_PLACE
#endif
/* Weights are read four bytes at a time where that is faster. */
#ifdef __GNUC__
#define EDGEEMO_TABLE __attribute__((aligned(4))) EDGEEMO_TABLE_PLACE
#else
#define EDGEEMO_TABLE EDGEEMO_TABLE_PLACE
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The numbers are part of the format of model.bin. */
typedef enum {
    EDGEEMO_LOOKUP = 1,
    EDGEEMO_CONV_2D = 2,
    EDGEEMO_DEPTHWISE_CONV_2D = 3,
    EDGEEMO_ADD = 4,
    EDGEEMO_AVERAGE_POOL_2D = 5,
    EDGEEMO_MAX_POOL_2D = 6,
    EDGEEMO_MEAN = 7,
    EDGEEMO_PAD = 8,
    EDGEEMO_FULLY_CONNECTED = 9,
    EDGEEMO_MUL = 10,
    EDGEEMO_SOFTMAX = 11,
    EDGEEMO_RESIZE_NEAREST = 12,
    EDGEEMO_RESIZE_BILINEAR = 13,
    EDGEEMO_CONCATENATION = 14,
    EDGEEMO_WIDE_CONV_2D = 15, /* for sums of 2^30 to 2^31, which the others do not have */
    EDGEEMO_WIDE_DEPTHWISE_CONV_2D = 16,
    EDGEEMO_BROADCAST_ADD = 17
} edgeemo_op;

/* One layer. Offsets are bytes into the arena. `bias`, `multiplier` and `shift` have `parameters`
 * entries: one an output channel of the convolutions, whose bias has the input's zero point folded
 * in; the two inputs and the output for the additions, whose bias is the zero points' negatives
 * (what is subtracted has a negative multiplier); one for MEAN, whose bias is the zero point's
 * share of the sum, and for MUL, whose bias is the negative of the second input's zero point.
 *
 * For BROADCAST_ADD and MUL the first input has the output's sides, and the in_ sides are those of
 * the second: the same, or 1 where one value serves for all. The second is `weights` where there
 * are any.
 *
 * CONCATENATION copies one input; `out` is where it begins in the whole. */
typedef struct {
    const int8_t *weights; /* conv: [out][kernel h][kernel w][in]; depthwise: [kernel h][kernel
                              w][out]; fully connected: [out][in]; lookup: 256; softmax: the
                              exponentials of 256 differences in 31 bits; resize: for each row, then
                              for each column of the output, the input's (nearest), or the two that
                              it lies between and the 1024ths of the second, as 16-bit numbers; all
                              little-endian */
    const int32_t *bias;
    const int32_t *multiplier;
    const int8_t *shift; /* left if positive */
    uint32_t weight_bytes;
    uint32_t in, in2, out, scratch;
    uint16_t in_height, in_width, in_channels;
    uint16_t out_height, out_width, out_channels;
    uint16_t parameters;
    uint8_t op;
    uint8_t kernel_height, kernel_width, stride_height, stride_width, pad_top, pad_left;
    int8_t in_zero, out_zero, low, high;
} edgeemo_layer;

typedef struct {
    const edgeemo_layer *layers;
    const uint16_t *exponentials; /* 256: exp(-i * scale of the logits) in Q15; none where the
                                     network itself ends in a softmax */
    const int8_t *pixel_tables;   /* 256 each: the input's int8 by pixel; none: pixel - 128 */
    uint32_t pixel_table_count;   /* one for each channel, one for all, or 0 */
    uint32_t layer_count;
    uint32_t arena_bytes;
    uint32_t in, out; /* where the arena holds the pixels and the logits */
    uint32_t in_bytes, out_bytes;
} edgeemo_network;

void edgeemo_lookup(const edgeemo_layer *layer, int8_t *arena);
void edgeemo_conv_2d(const edgeemo_layer *layer, int8_t *arena);
void edgeemo_depthwise_conv_2d(const edgeemo_layer *layer, int8_t *arena);
void edgeemo_add(const edgeemo_layer *layer, int8_t *arena);
void edgeemo_average_pool_2d(const edgeemo_layer *layer, int8_t *arena);
void edgeemo_max_pool_2d(const edgeemo_layer *layer, int8_t *arena);
void edgeemo_mean(const edgeemo_layer *layer, int8_t *arena);
void edgeemo_pad(const edgeemo_layer *layer, int8_t *arena);
void edgeemo_fully_connected(const edgeemo_layer *layer, int8_t *arena);
void edgeemo_mul(const edgeemo_layer *layer, int8_t *arena);
void edgeemo_softmax(const edgeemo_layer *layer, int8_t *arena);
void edgeemo_resize_nearest(const edgeemo_layer *layer, int8_t *arena);
void edgeemo_resize_bilinear(const edgeemo_layer *layer, int8_t *arena);
void edgeemo_concatenation(const edgeemo_layer *layer, int8_t *arena);
void edgeemo_broadcast_add(const edgeemo_layer *layer, int8_t *arena);
void edgeemo_wide_conv_2d(const edgeemo_layer *layer, int8_t *arena);
void edgeemo_wide_depthwise_conv_2d(const edgeemo_layer *layer, int8_t *arena);

/* Pixels 0..255 as the int8 that a network's first layer reads: pixel - 128, or what the tables, of
 * which one belongs to each channel in turn, have for it. */
void edgeemo_pixels(const uint8_t *pixels, int8_t *out, uint32_t count);
void edgeemo_pixels_by_table(const int8_t *tables, uint32_t table_count, const uint8_t *pixels,
                             int8_t *out, uint32_t count);

/* One layer, whichever it is, and a whole network; `arena` has arena_bytes, aligned to 4. */
void edgeemo_run_layer(const edgeemo_layer *layer, int8_t *arena);
void edgeemo_run(const edgeemo_network *network, int8_t *arena, const uint8_t *pixels,
                 int8_t *logits);

/* The same with the pixels already where the network reads them, at arena + network->in; its answer
 * stays at arena + network->out. */
void edgeemo_run_in_place(const edgeemo_network *network, int8_t *arena);

/* Scores of `count` logits in Q15: 32768 is 1. `exponentials` as in edgeemo_network; without them
 * the logits are probabilities in 256ths above -128, and are only brought to a sum of 1. */
void edgeemo_scores_q15(const uint16_t *exponentials, const int8_t *logits, uint16_t *scores,
                        uint32_t count);

/* CRC-32 (the one of zlib and PNG) of `size` bytes, continued from `crc`; begin with 0. */
uint32_t edgeemo_crc32(uint32_t crc, const void *data, size_t size);
/* CRC-32 of the pixels' tables and of all weights, biases, multipliers and shifts, numbers
 * little-endian. */
uint32_t edgeemo_network_crc32(const edgeemo_network *network);

#ifdef __cplusplus
}
#endif

#endif
