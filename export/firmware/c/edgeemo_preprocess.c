/* SPDX-License-Identifier: MIT */
#include "edgeemo_preprocess.h"

#include <string.h>

#ifndef FACE_TO_INPUT /* edgeemo_find.c compiles it once more, for another input */
#define HEIGHT EDGEEMO_INPUT_HEIGHT
#define WIDTH EDGEEMO_INPUT_WIDTH
#define CHANNELS EDGEEMO_INPUT_CHANNELS
#define FACE_TO_INPUT int edgeemo_face_to_input
#endif

/* What is resized: its corner may lie outside of the frame. */
typedef struct {
    int32_t left, top, width, height;
} region;

/* The two pixels of an axis between which an output pixel's centre lies, and how much the second
 * counts, in 1/(2 size); the first counts the rest. */
typedef struct {
    int32_t first, second;
    uint32_t part;
} neighbours;

/* floor(value / 2^bits), also of negative numbers, whose right shift C leaves to the compiler. */
static int32_t floor_shift(int32_t value, int bits)
{
    return value >= 0 ? value >> bits : -((-value - 1) >> bits) - 1;
}

static int32_t clamp(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}

static int32_t larger(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

#if CHANNELS == 1

/* BT.601 luma in 15 bits, as OpenCV computes it. */
static uint8_t luma(uint32_t red, uint32_t green, uint32_t blue)
{
    return (uint8_t)((9798U * red + 19235U * green + 3735U * blue + 16384U) >> 15);
}

static uint8_t value565(uint32_t pixel, int channel)
{
    const uint32_t red = pixel >> 11, green = pixel >> 5 & 63U, blue = pixel & 31U;
    (void)channel;
    return luma(red << 3 | red >> 2, green << 2 | green >> 4, blue << 3 | blue >> 2);
}

/* The grey of a row's pixel. */
static uint8_t value_at(const edgeemo_frame *frame, const uint8_t *row, int32_t x, int channel)
{
    switch (frame->format) {
    case EDGEEMO_RGB888: row += 3 * x; return luma(row[0], row[1], row[2]);
    case EDGEEMO_BGR888: row += 3 * x; return luma(row[2], row[1], row[0]);
    case EDGEEMO_RGB565_BE: row += 2 * x; return value565((uint32_t)row[0] << 8 | row[1], channel);
    case EDGEEMO_RGB565_LE: row += 2 * x; return value565((uint32_t)row[1] << 8 | row[0], channel);
    case EDGEEMO_YUYV: return row[2 * x];
    default: return row[x];
    }
}

#else

static uint8_t value565(uint32_t pixel, int channel)
{
    const uint32_t five = (channel == 0 ? pixel >> 11 : pixel) & 31U, six = pixel >> 5 & 63U;
    return (uint8_t)(channel == 1 ? six << 2 | six >> 4 : five << 3 | five >> 2);
}

/* Full-range BT.601 (JFIF) in 16 bits, rounded half up. Two pixels share U and V. */
static uint8_t value_yuyv(const uint8_t *row, int32_t x, int channel)
{
    const uint8_t *pair = row + 4 * (x / 2);
    const int32_t u = pair[1] - 128, v = pair[3] - 128;
    const int32_t colour = channel == 0   ? 91881 * v
                           : channel == 1 ? -22554 * u - 46802 * v
                                          : 116130 * u;
    return (uint8_t)clamp(row[2 * x] + floor_shift(colour + 32768, 16), 0, 255);
}

/* Red, green or blue (channel 0, 1, 2) of a row's pixel. */
static uint8_t value_at(const edgeemo_frame *frame, const uint8_t *row, int32_t x, int channel)
{
    switch (frame->format) {
    case EDGEEMO_RGB888: return row[3 * x + channel];
    case EDGEEMO_BGR888: return row[3 * x + 2 - channel];
    case EDGEEMO_RGB565_BE: row += 2 * x; return value565((uint32_t)row[0] << 8 | row[1], channel);
    case EDGEEMO_RGB565_LE: row += 2 * x; return value565((uint32_t)row[1] << 8 | row[0], channel);
    case EDGEEMO_YUYV: return value_yuyv(row, x, channel);
    default: return row[x];
    }
}

#endif

/* Bytes of a row that may be read. */
static int32_t row_bytes(const edgeemo_frame *frame)
{
    switch (frame->format) {
    case EDGEEMO_GREY8: return frame->width;
    case EDGEEMO_RGB888:
    case EDGEEMO_BGR888: return 3 * frame->width;
    case EDGEEMO_YUYV: return CHANNELS == 1 ? 2 * frame->width : (frame->width + 1) / 2 * 4;
    default: return 2 * frame->width;
    }
}

/* A pixel of the region; the frame's nearest edge stands in for what lies outside. */
static uint32_t region_at(const edgeemo_frame *frame, const region *r, int32_t y, int32_t x,
                          int channel)
{
    const int32_t row = clamp(r->top + y, 0, frame->height - 1);
    const int32_t column = clamp(r->left + x, 0, frame->width - 1);
    return value_at(frame, frame->pixels + row * frame->stride, column, channel);
}

/* Between which pixels of `side` the output pixel `i` of `size` lies; centres are at half. */
static neighbours neighbours_of(int32_t i, int32_t side, int32_t size)
{
    /* One pixel more, so that it is not negative. */
    const int32_t whole = 2 * size, centre = (2 * i + 1) * side - size + whole;
    neighbours n;
    n.first = clamp(centre / whole - 1, 0, side - 1);
    n.second = clamp(centre / whole, 0, side - 1);
    n.part = (uint32_t)(centre % whole);
    return n;
}

/* What the weights of a row or column add up to. */
static uint32_t total_weight(int32_t side, int32_t size)
{
    return (uint32_t)(side >= size ? side : 2 * size);
}

/* One row of the region, each pixel counting by its overlap with the output pixels in 1/WIDTH. */
static void shrunk_row(const edgeemo_frame *frame, const region *r, int32_t y, int channel,
                       uint32_t sums[WIDTH])
{
    int32_t column = 0, edge = r->width; /* of the output column, in 1/WIDTH pixels */
    memset(sums, 0, WIDTH * sizeof *sums);
    for (int32_t x = 0; x < r->width; ++x) {
        const uint32_t value = region_at(frame, r, y, x, channel);
        const int32_t start = x * WIDTH, stop = start + WIDTH;
        if (stop <= edge) {
            sums[column] += value * WIDTH;
        } else {
            sums[column] += value * (uint32_t)(edge - start);
            ++column;
            sums[column] += value * (uint32_t)(stop - edge);
            edge += r->width;
        }
    }
}

/* One row of the region, linear between its pixels, in 1/(2 WIDTH). */
static void enlarged_row(const edgeemo_frame *frame, const region *r, int32_t y, int channel,
                         uint32_t sums[WIDTH])
{
    for (int32_t i = 0; i < WIDTH; ++i) {
        const neighbours n = neighbours_of(i, r->width, WIDTH);
        sums[i] = region_at(frame, r, y, n.first, channel) * (2U * WIDTH - n.part) +
                  region_at(frame, r, y, n.second, channel) * n.part;
    }
}

static void row_sums(const edgeemo_frame *frame, const region *r, int32_t y, int channel,
                     uint32_t sums[WIDTH])
{
    (r->width >= WIDTH ? shrunk_row : enlarged_row)(frame, r, y, channel, sums);
}

/* An output row from sums of weights `total`, halves up. The division comes first, because a sum
 * and half the total may need 33 bits. */
static void write_row(const uint32_t sums[WIDTH], uint32_t total, uint8_t *out)
{
    for (int32_t i = 0; i < WIDTH; ++i) {
        const uint32_t rest = sums[i] % total;
        out[i * CHANNELS] = (uint8_t)(sums[i] / total + (rest >= total - total / 2));
    }
}

/* A channel of fewer rows: each row of the region counts by its overlap with the output rows. A sum
 * is at most 255 * EDGEEMO_REGION_MAX^2, which 32 bits hold. */
static void shrink(const edgeemo_frame *frame, const region *r, int channel, uint8_t *out)
{
    const uint32_t total = (uint32_t)r->height * total_weight(r->width, WIDTH);
    uint32_t band[WIDTH], next[WIDTH], sums[WIDTH];
    int32_t edge = r->height;
    memset(band, 0, sizeof band);
    for (int32_t y = 0; y < r->height; ++y) {
        const int32_t start = y * HEIGHT, stop = start + HEIGHT;
        const uint32_t above = (uint32_t)(stop <= edge ? HEIGHT : edge - start);
        const uint32_t below = HEIGHT - above;
        row_sums(frame, r, y, channel, sums);
        for (int32_t i = 0; i < WIDTH; ++i) {
            band[i] += sums[i] * above;
            next[i] = sums[i] * below;
        }
        if (stop >= edge) {
            write_row(band, total, out);
            out += WIDTH * CHANNELS;
            memcpy(band, next, sizeof band);
            edge += r->height;
        }
    }
}

/* A channel of more rows, linear between the region's. Neighbouring output rows lie between the same
 * two, or the second is the next one's first. */
static void enlarge(const edgeemo_frame *frame, const region *r, int channel, uint8_t *out)
{
    const uint32_t total = 2U * HEIGHT * total_weight(r->width, WIDTH);
    uint32_t rows[2][WIDTH], sums[WIDTH];
    int32_t held[2] = {-1, -1}; /* which rows they are */
    for (int32_t y = 0; y < HEIGHT; ++y, out += WIDTH * CHANNELS) {
        const neighbours n = neighbours_of(y, r->height, HEIGHT);
        const uint32_t *first = rows[n.first & 1], *second = rows[n.second & 1];
        for (int32_t row = n.first; row <= n.second; ++row) {
            if (held[row & 1] != row) {
                row_sums(frame, r, row, channel, rows[row & 1]);
                held[row & 1] = row;
            }
        }
        for (int32_t i = 0; i < WIDTH; ++i) {
            sums[i] = first[i] * (2U * HEIGHT - n.part) + second[i] * n.part;
        }
        write_row(sums, total, out);
    }
}

static int is_usable(const edgeemo_frame *frame)
{
    return frame->pixels && frame->width >= 1 && frame->width <= EDGEEMO_FRAME_MAX &&
           frame->height >= 1 && frame->height <= EDGEEMO_FRAME_MAX &&
           frame->stride <= 4 * EDGEEMO_FRAME_MAX && frame->stride >= row_bytes(frame);
}

/* `size` of the input's sides as a side of a region whose longer one is `side`. */
static int32_t side_of(int32_t side, int32_t size)
{
    const int64_t longer = larger(HEIGHT, WIDTH);
    return larger(1, (int32_t)((2 * (int64_t)side * size + longer) / (2 * longer)));
}

/* Whether the region lies near enough; it is empty where the box is. Boxes of millions of pixels
 * would overflow. */
static int find_region(const edgeemo_frame *frame, const edgeemo_box *box, const edgeemo_crop *crop,
                       region *r)
{
    const int32_t bound = 1 << 18;
    const int32_t longer = larger(box->width, box->height);
    int32_t side;
    if (box->width < 1 || box->height < 1 || longer > bound || box->x < -bound || box->x > bound ||
        box->y < -bound || box->y > bound) {
        return 0;
    }
    side = larger(1, (int32_t)(((int64_t)longer * crop->scale_q10 + 512) >> 10));
    if (side > 4 * larger(frame->width, frame->height) || side > EDGEEMO_REGION_MAX) {
        return 0;
    }
    r->width = side_of(side, WIDTH);
    r->height = side_of(side, HEIGHT);
    r->left = box->x + floor_shift(box->width - r->width, 1) +
              floor_shift(side * crop->shift_x_q10 + 512, 10);
    r->top = box->y + floor_shift(box->height - r->height, 1) +
             floor_shift(side * crop->shift_y_q10 + 512, 10);
    return r->left < frame->width && r->top < frame->height && r->left + r->width > 0 &&
           r->top + r->height > 0;
}

FACE_TO_INPUT(const edgeemo_frame *frame, const edgeemo_box *box, const edgeemo_crop *crop,
              uint8_t out[HEIGHT * WIDTH * CHANNELS])
{
    region r;
    if (!is_usable(frame)) {
        return EDGEEMO_BAD_FRAME;
    }
    if (!find_region(frame, box, crop, &r)) {
        return EDGEEMO_BAD_BOX;
    }
    for (int channel = 0; channel < CHANNELS; ++channel) {
        (r.height >= HEIGHT ? shrink : enlarge)(frame, &r, channel, out + channel);
    }
    return 0;
}
