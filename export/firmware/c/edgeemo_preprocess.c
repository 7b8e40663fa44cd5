#include "edgeemo_preprocess.h"

#include <string.h>

#define SIDE EDGEEMO_INPUT_SIDE

/* The square that is resized: its corner may lie outside of the frame. */
typedef struct {
    int32_t left, top, side;
} square;

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

/* BT.601 luma in 15 bits, as OpenCV computes it. */
static uint8_t luma(uint32_t red, uint32_t green, uint32_t blue)
{
    return (uint8_t)((9798U * red + 19235U * green + 3735U * blue + 16384U) >> 15);
}

static uint8_t luma565(uint32_t pixel)
{
    const uint32_t red = pixel >> 11, green = pixel >> 5 & 63U, blue = pixel & 31U;
    return luma(red << 3 | red >> 2, green << 2 | green >> 4, blue << 3 | blue >> 2);
}

static uint8_t grey_at(const edgeemo_frame *frame, const uint8_t *row, int32_t x)
{
    switch (frame->format) {
    case EDGEEMO_RGB888: row += 3 * x; return luma(row[0], row[1], row[2]);
    case EDGEEMO_BGR888: row += 3 * x; return luma(row[2], row[1], row[0]);
    case EDGEEMO_RGB565_BE: row += 2 * x; return luma565((uint32_t)row[0] << 8 | row[1]);
    case EDGEEMO_RGB565_LE: row += 2 * x; return luma565((uint32_t)row[1] << 8 | row[0]);
    case EDGEEMO_YUYV: return row[2 * x];
    default: return row[x];
    }
}

static int32_t bytes_per_pixel(edgeemo_pixel_format format)
{
    return format == EDGEEMO_GREY8                                ? 1
           : format == EDGEEMO_RGB888 || format == EDGEEMO_BGR888 ? 3
                                                                  : 2;
}

/* The grey of a pixel of the square; the frame's nearest edge stands in for what lies outside. */
static uint8_t square_at(const edgeemo_frame *frame, const square *s, int32_t y, int32_t x)
{
    const uint8_t *row = frame->pixels + clamp(s->top + y, 0, frame->height - 1) * frame->stride;
    return grey_at(frame, row, clamp(s->left + x, 0, frame->width - 1));
}

/* One row of the square, each pixel counting by its overlap with the output pixels in 1/SIDE
 * pixels. */
static void row_sums(const edgeemo_frame *frame, const square *s, int32_t y, uint32_t sums[SIDE])
{
    int32_t column = 0, edge = s->side; /* of the output column, in 1/SIDE pixels */
    memset(sums, 0, SIDE * sizeof *sums);
    for (int32_t x = 0; x < s->side; ++x) {
        const uint32_t grey = square_at(frame, s, y, x);
        const int32_t start = x * SIDE, stop = start + SIDE;
        if (stop <= edge) {
            sums[column] += grey * SIDE;
        } else {
            sums[column] += grey * (uint32_t)(edge - start);
            ++column;
            sums[column] += grey * (uint32_t)(stop - edge);
            edge += s->side;
        }
    }
}

/* The exact mean of each output pixel's area. A sum is at most 255 side^2, with a side of at most
 * EDGEEMO_SQUARE_MAX, which 32 bits hold. */
static void shrink(const edgeemo_frame *frame, const square *s, uint8_t *out)
{
    const uint32_t total = (uint32_t)s->side * (uint32_t)s->side;
    uint32_t band[SIDE], next[SIDE], sums[SIDE];
    int32_t edge = s->side;
    memset(band, 0, sizeof band);
    for (int32_t y = 0; y < s->side; ++y) {
        const int32_t start = y * SIDE, stop = start + SIDE;
        const uint32_t above = (uint32_t)(stop <= edge ? SIDE : edge - start), below = SIDE - above;
        row_sums(frame, s, y, sums);
        for (int32_t i = 0; i < SIDE; ++i) {
            band[i] += sums[i] * above;
            next[i] = sums[i] * below;
        }
        if (stop >= edge) {
            for (int32_t i = 0; i < SIDE; ++i) {
                /* Half up: the division first, because a sum and half the total may need 33 bits.
                 */
                const uint32_t rest = band[i] % total;
                *out++ = (uint8_t)(band[i] / total + (rest >= total - total / 2));
            }
            memcpy(band, next, sizeof band);
            edge += s->side;
        }
    }
}

/* Bilinear, pixel centres at half, weights in 1/(2 SIDE). */
static void enlarge(const edgeemo_frame *frame, const square *s, uint8_t *out)
{
    const int32_t last = s->side - 1, whole = 2 * SIDE;
    for (int32_t y = 0; y < SIDE; ++y) {
        const int32_t y_centre =
            (2 * y + 1) * s->side - SIDE + whole; /* one pixel more, so that it is not negative */
        const int32_t y0 = y_centre / whole - 1, y_part = y_centre % whole;
        for (int32_t x = 0; x < SIDE; ++x) {
            const int32_t x_centre = (2 * x + 1) * s->side - SIDE + whole;
            const int32_t x0 = x_centre / whole - 1, x_part = x_centre % whole;
            int32_t sum = whole * whole / 2;
            for (int32_t corner = 0; corner < 4; ++corner) {
                const int32_t down = corner / 2, right = corner % 2;
                const int32_t weight =
                    (down ? y_part : whole - y_part) * (right ? x_part : whole - x_part);
                sum += weight *
                       square_at(frame, s, clamp(y0 + down, 0, last), clamp(x0 + right, 0, last));
            }
            *out++ = (uint8_t)(sum / (whole * whole));
        }
    }
}

static int is_usable(const edgeemo_frame *frame)
{
    return frame->pixels && frame->width >= 1 && frame->width <= EDGEEMO_FRAME_MAX &&
           frame->height >= 1 && frame->height <= EDGEEMO_FRAME_MAX &&
           frame->stride <= 4 * EDGEEMO_FRAME_MAX &&
           frame->stride >= frame->width * bytes_per_pixel(frame->format);
}

/* Whether the square lies near enough; it is empty where the box is. Boxes of millions of pixels
 * would overflow. */
static int find_square(const edgeemo_frame *frame, const edgeemo_box *box, const edgeemo_crop *crop,
                       square *s)
{
    const int32_t bound = 1 << 18;
    const int32_t longer = larger(box->width, box->height);
    if (box->width < 1 || box->height < 1 || longer > bound || box->x < -bound || box->x > bound ||
        box->y < -bound || box->y > bound) {
        return 0;
    }
    s->side = larger(1, (int32_t)(((int64_t)longer * crop->scale_q10 + 512) >> 10));
    if (s->side > 4 * larger(frame->width, frame->height) || s->side > EDGEEMO_SQUARE_MAX) {
        return 0;
    }
    s->left = box->x + floor_shift(box->width - s->side, 1) +
              floor_shift(s->side * crop->shift_x_q10 + 512, 10);
    s->top = box->y + floor_shift(box->height - s->side, 1) +
             floor_shift(s->side * crop->shift_y_q10 + 512, 10);
    return s->left < frame->width && s->top < frame->height && s->left + s->side > 0 &&
           s->top + s->side > 0;
}

int edgeemo_face_to_input(const edgeemo_frame *frame, const edgeemo_box *box,
                          const edgeemo_crop *crop, uint8_t out[EDGEEMO_INPUT_BYTES])
{
    square s;
    if (!is_usable(frame)) {
        return EDGEEMO_BAD_FRAME;
    }
    if (!find_square(frame, box, crop, &s)) {
        return EDGEEMO_BAD_BOX;
    }
    (s.side >= SIDE ? shrink : enlarge)(frame, &s, out);
    return 0;
}
