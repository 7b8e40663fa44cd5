/* SPDX-License-Identifier: MIT */
#include "edgeemo_kernels.h"

#include <string.h>

/* Helium of Cortex-M52, M55 and M85: sixteen 8-bit products in one instruction. -DEDGEEMO_NO_MVE
 * leaves it out. */
#if defined(__ARM_FEATURE_MVE) && !defined(EDGEEMO_NO_MVE)
#define EDGEEMO_MVE 1
#else
#define EDGEEMO_MVE 0
#endif

/* The DSP extension of Cortex-M4, M7 and M33: two 16-bit products in one instruction.
 * -DEDGEEMO_NO_DSP leaves it out. */
#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32) && !defined(EDGEEMO_NO_DSP)
#include <arm_acle.h>
#define EDGEEMO_DSP 1
#else
#define EDGEEMO_DSP 0
#endif

/* On a PC, for tests and simulations: AVX2, and where it is there AVX-512 VNNI, asked for at run
 * time. -DEDGEEMO_NO_AVX2 leaves both out. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(EDGEEMO_NO_AVX2)
#define EDGEEMO_AVX2 1
#define INLINE static inline __attribute__((always_inline))
#define STEP INLINE /* so that the AVX2 variants are compiled for AVX2 throughout */
#else
#define EDGEEMO_AVX2 0
#define INLINE static inline
#ifdef __GNUC__
/* Each with all of a small processor's registers to itself. */
#define STEP __attribute__((noinline)) static
#else
#define STEP static
#endif
#endif

/* What has a variant as its argument becomes a function a variant, of which unused ones go. */
#ifdef __GNUC__
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#else
#define ALWAYS_INLINE static inline
#endif

/* C leaves the right shift of negative numbers to the compiler; ours must repeat the sign, as all
 * common ones do. */
typedef char edgeemo_shifts_are_arithmetic[(-1 >> 1) == -1 ? 1 : -1];

/* gemmlowp's SaturatingRoundingDoublingHighMul, (2ab + 2^31) >> 32, for |a| < 2^30. */
INLINE int32_t high_of_doubled(int32_t a, int32_t b)
{
#if EDGEEMO_DSP
    int32_t high; /* no intrinsic of arm_acle.h is this instruction */
    __asm__("smmulr %0, %1, %2" : "=r"(high) : "r"(a * 2), "r"(b));
    return high;
#endif
    return (int32_t)(((int64_t)(a * 2) * b + ((int64_t)1 << 31)) >> 32);
}

/* TFLite's MultiplyByQuantizedMultiplier: value * multiplier / 2^31 * 2^shift, rounded twice as
 * there. */
INLINE int32_t requantize(int32_t value, int32_t multiplier, int32_t shift)
{
    int32_t high;
    if (shift >= 0) {
        return high_of_doubled(value * ((int32_t)1 << shift), multiplier);
    }
    high = high_of_doubled(value, multiplier);
    /* halves away from zero */
    return (high + ((int32_t)1 << (-shift - 1)) + (high >> 31)) >> -shift;
}

INLINE int8_t clamped(int32_t value, int32_t low, int32_t high)
{
    return (int8_t)(value < low ? low : value > high ? high : value);
}

INLINE uint32_t out_count(const edgeemo_layer *l)
{
    return (uint32_t)l->out_height * l->out_width * l->out_channels;
}

void edgeemo_pixels(const uint8_t *pixels, int8_t *out, uint32_t count)
{
    for (uint32_t i = 0; i < count; ++i) {
        out[i] = (int8_t)((int32_t)pixels[i] - 128);
    }
}

void edgeemo_pixels_by_table(const int8_t *tables, uint32_t table_count, const uint8_t *pixels,
                             int8_t *out, uint32_t count)
{
    for (uint32_t i = 0; i < count; i += table_count) {
        for (uint32_t channel = 0; channel < table_count; ++channel) {
            out[i + channel] = tables[256 * channel + pixels[i + channel]];
        }
    }
}

void edgeemo_lookup(const edgeemo_layer *l, int8_t *arena)
{
    const int8_t *in = arena + l->in;
    int8_t *out = arena + l->out;
    const uint32_t count = out_count(l);
    for (uint32_t i = 0; i < count; ++i) {
        out[i] = l->weights[in[i] + 128];
    }
}

/* How a convolution is computed: in plain C, with SMLAD on pairs of numbers, with AVX2, with Helium
 * on bytes, or in plain C with sums of all 32 bits. */
typedef enum { PLAIN, PAIRS, AVX2, MVE, WIDE } variant;

#if EDGEEMO_DSP
/* What fill() has written as single numbers. */
typedef int16x2_t __attribute__((may_alias)) pair_in_memory;

/* Four bytes at a multiple of 4. (clang takes memcpy for unknown alignment, which it reads byte by
 * byte on bare metal.) */
typedef uint32_t __attribute__((may_alias)) four_in_memory;

static inline uint32_t four_at(const int8_t *place)
{
    return *(const four_in_memory *)(const void *)place;
}

/* Bytes 0 and 2, or 1 and 3, of four as 16-bit numbers. */
static inline int16x2_t even_bytes(uint32_t four)
{
    return __sxtb16((int8x4_t)four);
}

static inline int16x2_t odd_bytes(uint32_t four)
{
    int16x2_t pair; /* gcc knows no intrinsic for the rotation that is part of the instruction */
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(four));
    return pair;
}
#endif

/* Two patches times the filters from `first`, two by two: every value that is loaded is used twice.
 * sums: [2][channels]. */
STEP void products(const edgeemo_layer *l, const int16_t *p0, const int16_t *p1, uint32_t count,
                   uint32_t first, int32_t *sums)
{
    const uint32_t channels = l->out_channels;
    for (uint32_t c = first; c < channels; c += 2) {
        /* An odd one out is computed twice. */
        const uint32_t d = c + 1 < channels ? c + 1 : c;
        const int8_t *w0 = l->weights + c * count, *w1 = l->weights + d * count;
        int32_t s00 = l->bias[c], s01 = l->bias[d], s10 = s00, s11 = s01;
        for (uint32_t i = 0; i < count; ++i) {
            const int16_t f0 = w0[i], f1 = w1[i];
            s00 += p0[i] * f0;
            s01 += p0[i] * f1;
            s10 += p1[i] * f0;
            s11 += p1[i] * f1;
        }
        sums[c] = s00;
        sums[d] = s01;
        sums[channels + c] = s10;
        sums[channels + d] = s11;
    }
}

#if EDGEEMO_DSP
/* products() of patches in PAIRS. Filter by filter, so that all fits into the registers, which
 * gcc's scheduler would undo. */
#ifdef __clang__
#define UNSCHEDULED
#else
#define UNSCHEDULED __attribute__((optimize("no-schedule-insns")))
#endif
UNSCHEDULED STEP void products_dsp(const edgeemo_layer *l, const int16_t *patches, uint32_t count,
                                   int32_t *sums)
{
    const uint32_t channels = l->out_channels;
    for (uint32_t c = 0; c < channels; c += 2) {
        const uint32_t d = c + 1 < channels ? c + 1 : c;
        const int8_t *w0 = l->weights + c * count, *w1 = l->weights + d * count;
        const pair_in_memory *p = (const pair_in_memory *)(const void *)patches;
        int32_t s00 = l->bias[c], s01 = l->bias[d], s10 = s00, s11 = s01;
        uint32_t left = count;
        do {
            const uint32_t four0 = four_at(w0), four1 = four_at(w1);
            int16x2_t x0 = p[0], x1 = p[1], pair = even_bytes(four0);
            w0 += 4;
            w1 += 4;
            __asm__("" : "+r"(left)); /* or gcc computes it from w0 in each turn */
            s00 = __smlad(x0, pair, s00);
            s10 = __smlad(x1, pair, s10);
            pair = even_bytes(four1);
            s01 = __smlad(x0, pair, s01);
            s11 = __smlad(x1, pair, s11);
            x0 = p[2];
            x1 = p[3];
            p += 4;
            pair = odd_bytes(four0);
            s00 = __smlad(x0, pair, s00);
            s10 = __smlad(x1, pair, s10);
            pair = odd_bytes(four1);
            s01 = __smlad(x0, pair, s01);
            s11 = __smlad(x1, pair, s11);
        } while (left -= 4);
        sums[c] = s00;
        sums[d] = s01;
        sums[channels + c] = s10;
        sums[channels + d] = s11;
    }
}
#endif

/* gemmlowp's SaturatingRoundingDoublingHighMul for all 32 bits but the lowest number, and its
 * RoundingDivideByPOT, halves away from zero. */
static int32_t high_product(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}

static int32_t divided_by_power(int32_t value, int32_t exponent)
{
    const int32_t mask = (int32_t)(((uint32_t)1 << exponent) - 1), remainder = value & mask;
    return (value >> exponent) + (remainder > (mask >> 1) + (value < 0));
}

/* The sums of the output channels from `first` on as int8. */
STEP void requantize_row(const edgeemo_layer *l, const int32_t *sums, int8_t *out, uint32_t first)
{
    const int32_t zero = l->out_zero, low = l->low, high = l->high;
    const uint32_t channels = l->out_channels;
    for (uint32_t c = first; c < channels; ++c) {
        out[c] = clamped(requantize(sums[c], l->multiplier[c], l->shift[c]) + zero, low, high);
    }
}

/* The same for sums that may have all of 32 bits. */
static void requantize_wide_row(const edgeemo_layer *l, const int32_t *sums, int8_t *out)
{
    const int32_t zero = l->out_zero, low = l->low - zero, high = l->high - zero;
    for (uint32_t c = 0; c < l->out_channels; ++c) {
        const int32_t shift = l->shift[c], left = shift > 0 ? shift : 0;
        const int32_t value = high_product(sums[c] * ((int32_t)1 << left), l->multiplier[c]);
        int32_t placed = divided_by_power(value, left - shift);
        placed = placed < low ? low : placed > high ? high : placed;
        out[c] = (int8_t)(placed + zero);
    }
}

/* The terms of a sum by their 256 possible int8, so that each is computed once. TFLite's left shift
 * of 20 bits keeps what the two scales would lose. */
static void add_terms(const edgeemo_layer *l, int which, int32_t terms[256])
{
    for (int32_t i = 0; i < 256; ++i) {
        terms[i] = requantize((i - 128 + l->bias[which]) * (1 << 20), l->multiplier[which],
                              l->shift[which]);
    }
}

/* The layer's scratch: the terms of both inputs. */
static void add(const edgeemo_layer *l, int8_t *arena)
{
    const int8_t *a = arena + l->in, *b = arena + l->in2;
    int8_t *out = arena + l->out;
    int32_t *a_terms = (int32_t *)(void *)(arena + l->scratch), *b_terms = a_terms + 256;
    const int32_t multiplier = l->multiplier[2], shift = l->shift[2], zero = l->out_zero,
                  low = l->low, high = l->high;
    const uint32_t count = out_count(l);
    add_terms(l, 0, a_terms);
    add_terms(l, 1, b_terms);
    for (uint32_t i = 0; i < count; ++i) {
        const int32_t sum = a_terms[a[i] + 128] + b_terms[b[i] + 128];
        out[i] = clamped(requantize(sum, multiplier, shift) + zero, low, high);
    }
}

#if EDGEEMO_AVX2
#include "edgeemo_avx2.h"
#endif

#if EDGEEMO_MVE
#include <arm_mve.h>

INLINE int8_t *copy_mve(int8_t *to, const int8_t *from, uint32_t count)
{
    int8_t *const end = to + count;
    for (; to < end; to += 16, from += 16) {
        const mve_pred16_t some = vctp8q((uint32_t)(end - to));
        vstrbq_p_s8(to, vldrbq_z_s8(from, some), some);
    }
    return end;
}

INLINE int8_t *fill_mve(int8_t *to, int8_t value, uint32_t count)
{
    int8_t *const end = to + count;
    for (; to < end; to += 16) {
        vstrbq_p_s8(to, vdupq_n_s8(value), vctp8q((uint32_t)(end - to)));
    }
    return end;
}
#endif

/* `count` numbers widened to 16 bits; says where the next ones go. PAIRS puts two patches beside
 * each other, two numbers of each in turn, of every four 0 and 2 before 1 and 3. MVE leaves them
 * bytes. */
INLINE void *widen(void *place, const int8_t *from, uint32_t count, variant how)
{
    int16_t *to = place;
    uint32_t i = 0;
#if EDGEEMO_MVE
    if (how == MVE) {
        return copy_mve(place, from, count);
    }
#endif
#if EDGEEMO_DSP
    if (how == PAIRS) {
        pair_in_memory *pairs = place;
        for (const int8_t *end = from + count; from < end; from += 4, pairs += 4) {
            pairs[0] = even_bytes(four_at(from));
            pairs[2] = odd_bytes(four_at(from));
        }
        return pairs;
    }
#endif
#if EDGEEMO_AVX2
    if (how == AVX2 && count >= 16) {
        i = widen_avx2(to, from, count);
    }
#endif
    (void)how;
    for (; i < count; ++i) {
        to[i] = from[i];
    }
    return to + count;
}

INLINE void *fill(void *place, int8_t value, uint32_t count, variant how)
{
    int16_t *to = place;
#if EDGEEMO_MVE
    if (how == MVE) {
        return fill_mve(place, value, count);
    }
#endif
    for (uint32_t i = 0; i < count; ++i) {
        *to++ = value;
        if (how == PAIRS && i % 2 == 1) {
            to += 2;
        }
    }
    return to;
}

/* What the kernel sees at one output pixel, with the zero point where it leaves the picture. */
STEP void gather(const edgeemo_layer *l, const int8_t *in, int32_t y, int32_t x, void *patch,
                 variant how)
{
    const int32_t top = y * l->stride_height - l->pad_top, left = x * l->stride_width - l->pad_left;
    const int32_t first = left < 0 ? -left : 0;
    const int32_t last =
        left + l->kernel_width > l->in_width ? l->in_width - left : l->kernel_width;
    const uint32_t channels = l->in_channels;
    for (int32_t row = top; row < top + l->kernel_height; ++row) {
        const int inside = row >= 0 && row < l->in_height;
        const int32_t from = inside ? first : l->kernel_width, to = inside ? last : l->kernel_width;
        patch = fill(patch, l->in_zero, (uint32_t)from * channels, how);
        if (to > from) {
            const int8_t *pixels = in + (uint32_t)(row * l->in_width + left + from) * channels;
            patch = widen(patch, pixels, (uint32_t)(to - from) * channels, how);
        }
        patch = fill(patch, l->in_zero, (uint32_t)(l->kernel_width - to) * channels, how);
    }
}

#if EDGEEMO_MVE
#include "edgeemo_mve.h"
#endif

/* The layer's scratch: two patches, each with zeros up to a multiple of 16 numbers, and two rows of
 * sums. */
ALWAYS_INLINE void conv_2d(const edgeemo_layer *layer, int8_t *arena, variant how)
{
    /* A copy: what is written to the arena cannot change it. */
    const edgeemo_layer copy = *layer, *l = &copy;
    const int8_t *in = arena + l->in;
    int8_t *out = arena + l->out;
    const uint32_t size = (uint32_t)l->kernel_height * l->kernel_width * l->in_channels,
                   padded = (size + 15) / 16 * 16;
    const uint32_t width = l->out_width, pixels = l->out_height * width, channels = l->out_channels;
    int16_t *p0 = (int16_t *)(void *)(arena + l->scratch), *p1 = p0 + (how == PAIRS ? 2 : padded);
    int32_t *sums = (int32_t *)(void *)(p0 + 2 * padded);
    if (how != PAIRS) {
        memset(p0 + size, 0, (padded - size) * sizeof *p0);
        memset(p1 + size, 0, (padded - size) * sizeof *p1);
    }
    for (uint32_t pixel = 0; pixel < pixels; pixel += 2) {
        const uint32_t other = pixel + 1 < pixels ? pixel + 1 : pixel;
        gather(l, in, (int32_t)(pixel / width), (int32_t)(pixel % width), p0, how);
        gather(l, in, (int32_t)(other / width), (int32_t)(other % width), p1, how);
#if EDGEEMO_DSP
        if (how == PAIRS) {
            products_dsp(l, p0, size, sums);
        }
#endif
#if EDGEEMO_AVX2
        if (how == AVX2) {
            products(l, p0, p1, size, products_of_four(l, p0, p1, size, sums), sums);
            requantize_row_avx2(l, sums, out + pixel * channels);
            requantize_row_avx2(l, sums + channels, out + other * channels);
            continue;
        }
#endif
        if (how == PLAIN || how == WIDE) {
            products(l, p0, p1, size, 0, sums);
        }
        if (how == WIDE) {
            requantize_wide_row(l, sums, out + pixel * channels);
            requantize_wide_row(l, sums + channels, out + other * channels);
            continue;
        }
        requantize_row(l, sums, out + pixel * channels, 0);
        requantize_row(l, sums + channels, out + other * channels, 0);
    }
}

/* The layer's scratch: a row of sums. */
ALWAYS_INLINE void depthwise_conv_2d(const edgeemo_layer *l, int8_t *arena, variant how)
{
    const int8_t *in = arena + l->in;
    int8_t *out = arena + l->out;
    int32_t *sums = (int32_t *)(void *)(arena + l->scratch);
    const uint32_t channels = l->out_channels, copies = channels / l->in_channels;
    for (int32_t y = 0; y < l->out_height; ++y) {
        for (int32_t x = 0; x < l->out_width; ++x) {
            const int32_t top = y * l->stride_height - l->pad_top,
                          left = x * l->stride_width - l->pad_left;
            const int8_t *weights = l->weights;
            memcpy(sums, l->bias, channels * sizeof *sums);
            for (int32_t row = top; row < top + l->kernel_height; ++row) {
                for (int32_t column = left; column < left + l->kernel_width;
                     ++column, weights += channels) {
                    const int inside =
                        row >= 0 && row < l->in_height && column >= 0 && column < l->in_width;
                    const int8_t *pixel =
                        in + (inside ? (uint32_t)(row * l->in_width + column) * l->in_channels : 0);
                    if (!inside) {
                        for (uint32_t c = 0; c < channels; ++c) {
                            sums[c] += weights[c] * l->in_zero;
                        }
                    } else if (copies == 1) {
                        for (uint32_t c = 0; c < channels; ++c) {
                            sums[c] += weights[c] * pixel[c];
                        }
                    } else {
                        for (uint32_t c = 0; c < channels; ++c) {
                            sums[c] += weights[c] * pixel[c / copies];
                        }
                    }
                }
            }
#if EDGEEMO_AVX2
            if (how == AVX2) {
                requantize_row_avx2(l, sums, out);
            }
#endif
            if (how == WIDE) {
                requantize_wide_row(l, sums, out);
            } else if (how != AVX2) {
                requantize_row(l, sums, out, 0);
            }
            out += channels;
        }
    }
}

#if EDGEEMO_AVX2
AVX2_FUNCTION __attribute__((flatten)) static void conv_2d_avx2(const edgeemo_layer *l,
                                                                int8_t *arena)
{
    conv_2d(l, arena, AVX2);
}

AVX2_FUNCTION static void depthwise_conv_2d_avx2(const edgeemo_layer *l, int8_t *arena)
{
    depthwise_conv_2d(l, arena, AVX2);
}
#endif

void edgeemo_conv_2d(const edgeemo_layer *layer, int8_t *arena)
{
#if EDGEEMO_MVE
    conv_2d_mve(layer, arena);
    return;
#endif
#if EDGEEMO_DSP
    /* Then every row of a patch and every filter begins at a multiple of 4. A model.bin of another
     * maker need not be so. */
    if (((uintptr_t)layer->weights | layer->in | layer->in_channels) % 4 == 0) {
        conv_2d(layer, arena, PAIRS);
        return;
    }
#endif
#if EDGEEMO_AVX2
    if (__builtin_cpu_supports("avx2")) {
        conv_2d_avx2(layer, arena);
        return;
    }
#endif
    conv_2d(layer, arena, PLAIN);
}

void edgeemo_depthwise_conv_2d(const edgeemo_layer *layer, int8_t *arena)
{
#if EDGEEMO_MVE
    if (layer->in_channels == layer->out_channels) {
        depthwise_conv_2d_mve(layer, arena);
        return;
    }
#endif
#if EDGEEMO_AVX2
    if (__builtin_cpu_supports("avx2")) {
        depthwise_conv_2d_avx2(layer, arena);
        return;
    }
#endif
    depthwise_conv_2d(layer, arena, PLAIN);
}

void edgeemo_wide_conv_2d(const edgeemo_layer *layer, int8_t *arena)
{
    conv_2d(layer, arena, WIDE);
}

void edgeemo_wide_depthwise_conv_2d(const edgeemo_layer *layer, int8_t *arena)
{
    depthwise_conv_2d(layer, arena, WIDE);
}

void edgeemo_add(const edgeemo_layer *layer, int8_t *arena)
{
#if EDGEEMO_MVE
    add_mve(layer, arena);
    return;
#endif
#if EDGEEMO_AVX2
    if (__builtin_cpu_supports("avx2")) {
        add_avx2(layer, arena);
        return;
    }
#endif
    add(layer, arena);
}

/* The second input of a kernel of two, and how far its next value lies in each direction: nowhere
 * where it has one value for all. */
typedef struct {
    const int8_t *values;
    uint32_t row, column, channel;
} second_input;

static second_input second_of(const edgeemo_layer *l, const int8_t *arena)
{
    second_input s;
    s.values = l->weights ? l->weights : arena + l->in2;
    s.row = l->in_height > 1 ? (uint32_t)l->in_width * l->in_channels : 0;
    s.column = l->in_width > 1 ? l->in_channels : 0;
    s.channel = l->in_channels > 1;
    return s;
}

/* The layer's scratch: the terms of both inputs. */
void edgeemo_broadcast_add(const edgeemo_layer *l, int8_t *arena)
{
    const int8_t *a = arena + l->in;
    const second_input second = second_of(l, arena);
    int8_t *out = arena + l->out;
    int32_t *a_terms = (int32_t *)(void *)(arena + l->scratch), *b_terms = a_terms + 256;
    const int32_t multiplier = l->multiplier[2], shift = l->shift[2], zero = l->out_zero,
                  low = l->low, high = l->high;
    add_terms(l, 0, a_terms);
    add_terms(l, 1, b_terms);
    for (uint32_t y = 0; y < l->out_height; ++y) {
        for (uint32_t x = 0; x < l->out_width; ++x) {
            const int8_t *b = second.values + y * second.row + x * second.column;
            for (uint32_t c = 0; c < l->out_channels; ++c, b += second.channel) {
                const int32_t sum = a_terms[*a++ + 128] + b_terms[*b + 128];
                *out++ = clamped(requantize(sum, multiplier, shift) + zero, low, high);
            }
        }
    }
}

void edgeemo_mul(const edgeemo_layer *l, int8_t *arena)
{
    const int8_t *a = arena + l->in;
    const second_input second = second_of(l, arena);
    int8_t *out = arena + l->out;
    const int32_t a_zero = l->in_zero, b_bias = l->bias[0], multiplier = l->multiplier[0],
                  shift = l->shift[0];
    for (uint32_t y = 0; y < l->out_height; ++y) {
        for (uint32_t x = 0; x < l->out_width; ++x) {
            const int8_t *b = second.values + y * second.row + x * second.column;
            for (uint32_t c = 0; c < l->out_channels; ++c, b += second.channel) {
                const int32_t product = (*a++ - a_zero) * (*b + b_bias);
                *out++ = clamped(requantize(product, multiplier, shift) + l->out_zero, l->low,
                                 l->high);
            }
        }
    }
}

/* Rounded once, unlike all others: the reference kernel does so. */
void edgeemo_fully_connected(const edgeemo_layer *l, int8_t *arena)
{
    const int8_t *in = arena + l->in;
    int8_t *out = arena + l->out;
    for (uint32_t c = 0; c < l->out_channels; ++c) {
        const int8_t *weights = l->weights + (size_t)c * l->in_channels;
        const int32_t right = 31 - l->shift[c];
        int32_t sum = l->bias[c];
        for (uint32_t i = 0; i < l->in_channels; ++i) {
            sum += weights[i] * in[i];
        }
        sum = (int32_t)(((int64_t)sum * l->multiplier[c] + ((int64_t)1 << (right - 1))) >> right);
        out[c] = clamped(sum + l->out_zero, l->low, l->high);
    }
}

/* The part of a pooling window that lies inside the picture. */
typedef struct {
    int32_t top, bottom, left, right;
} window;

static window window_at(const edgeemo_layer *l, int32_t y, int32_t x)
{
    window w;
    w.top = y * l->stride_height - l->pad_top;
    w.left = x * l->stride_width - l->pad_left;
    w.bottom = w.top + l->kernel_height < l->in_height ? w.top + l->kernel_height : l->in_height;
    w.right = w.left + l->kernel_width < l->in_width ? w.left + l->kernel_width : l->in_width;
    w.top = w.top < 0 ? 0 : w.top;
    w.left = w.left < 0 ? 0 : w.left;
    return w;
}

INLINE int32_t rounded_quotient(int32_t sum, int32_t count)
{
    return (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
}

void edgeemo_average_pool_2d(const edgeemo_layer *l, int8_t *arena)
{
    const int8_t *in = arena + l->in;
    int8_t *out = arena + l->out;
    for (int32_t y = 0; y < l->out_height; ++y) {
        for (int32_t x = 0; x < l->out_width; ++x) {
            const window w = window_at(l, y, x);
            for (uint32_t c = 0; c < l->out_channels; ++c) {
                int32_t sum = 0;
                for (int32_t row = w.top; row < w.bottom; ++row) {
                    for (int32_t column = w.left; column < w.right; ++column) {
                        sum += in[(uint32_t)(row * l->in_width + column) * l->in_channels + c];
                    }
                }
                *out++ = clamped(rounded_quotient(sum, (w.bottom - w.top) * (w.right - w.left)),
                                 l->low, l->high);
            }
        }
    }
}

void edgeemo_max_pool_2d(const edgeemo_layer *l, int8_t *arena)
{
    const int8_t *in = arena + l->in;
    int8_t *out = arena + l->out;
    for (int32_t y = 0; y < l->out_height; ++y) {
        for (int32_t x = 0; x < l->out_width; ++x) {
            const window w = window_at(l, y, x);
            for (uint32_t c = 0; c < l->out_channels; ++c) {
                int32_t largest = -128;
                for (int32_t row = w.top; row < w.bottom; ++row) {
                    for (int32_t column = w.left; column < w.right; ++column) {
                        const int32_t value =
                            in[(uint32_t)(row * l->in_width + column) * l->in_channels + c];
                        largest = value > largest ? value : largest;
                    }
                }
                *out++ = clamped(largest, l->low, l->high);
            }
        }
    }
}

void edgeemo_mean(const edgeemo_layer *l, int8_t *arena)
{
    const int8_t *in = arena + l->in;
    int8_t *out = arena + l->out;
    const uint32_t pixels = (uint32_t)l->in_height * l->in_width;
    for (uint32_t c = 0; c < l->out_channels; ++c) {
        int32_t sum = l->bias[0];
        for (uint32_t pixel = 0; pixel < pixels; ++pixel) {
            sum += in[pixel * l->in_channels + c];
        }
        out[c] =
            clamped(requantize(sum, l->multiplier[0], l->shift[0]) + l->out_zero, l->low, l->high);
    }
}

void edgeemo_pad(const edgeemo_layer *l, int8_t *arena)
{
    const int8_t *in = arena + l->in;
    int8_t *out = arena + l->out;
    const uint32_t row_bytes = (uint32_t)l->in_width * l->in_channels;
    memset(out, l->in_zero, out_count(l));
    for (uint32_t y = 0; y < l->in_height; ++y) {
        memcpy(out + ((y + l->pad_top) * l->out_width + l->pad_left) * l->in_channels,
               in + y * row_bytes, row_bytes);
    }
}

static uint32_t u16_in(const int8_t *p)
{
    return (uint32_t)(uint8_t)p[0] | (uint32_t)(uint8_t)p[1] << 8;
}

static int32_t i32_in(const int8_t *p)
{
    return (int32_t)(u16_in(p) | u16_in(p + 2) << 16);
}

/* 1 / (1 + x) for 0 <= x < 1, all in 31 bits: Newton's division as gemmlowp has it, with 3 rounds
 * from 48/17 - 32/17 of half the denominator, in 29 bits. */
static int32_t reciprocal_of_one_plus(int32_t x)
{
    const int32_t half = (int32_t)(((int64_t)x + INT32_MAX + 1) / 2);
    int64_t r = 1515870810 + (int64_t)high_product(half, -1010580540);
    for (int i = 0; i < 3; ++i) {
        const int32_t rest = ((int32_t)1 << 29) - high_product(half, (int32_t)r);
        r += (int64_t)high_product((int32_t)r, rest) * 4;
    }
    return (int32_t)(r >= 1 << 30 ? INT32_MAX : r * 2);
}

/* Along the channels. The exponentials are those of the differences to the largest, in 31 bits;
 * their sum has 19 bits behind the point. */
void edgeemo_softmax(const edgeemo_layer *l, int8_t *arena)
{
    const int8_t *in = arena + l->in;
    int8_t *out = arena + l->out;
    const uint32_t rows = (uint32_t)l->in_height * l->in_width, channels = l->in_channels;
    for (uint32_t row = 0; row < rows; ++row, in += channels, out += channels) {
        int32_t largest = -128, sum = 0, zeros = 0, scale;
        for (uint32_t c = 0; c < channels; ++c) {
            largest = in[c] > largest ? in[c] : largest;
        }
        for (uint32_t c = 0; c < channels; ++c) {
            sum += divided_by_power(i32_in(l->weights + 4 * (largest - in[c])), 12);
        }
        while (!((uint32_t)sum << zeros & 0x80000000U)) {
            ++zeros;
        }
        scale = reciprocal_of_one_plus((int32_t)(((uint32_t)sum << zeros) - 0x80000000U));
        for (uint32_t c = 0; c < channels; ++c) {
            const int32_t part = high_product(scale, i32_in(l->weights + 4 * (largest - in[c])));
            out[c] = clamped(divided_by_power(part, 12 - zeros + 31 - 8) - 128, -128, 127);
        }
    }
}

void edgeemo_resize_nearest(const edgeemo_layer *l, int8_t *arena)
{
    const int8_t *in = arena + l->in, *rows = l->weights, *columns = rows + 2 * l->out_height;
    int8_t *out = arena + l->out;
    for (uint32_t y = 0; y < l->out_height; ++y) {
        const int8_t *row = in + u16_in(rows + 2 * y) * l->in_width * l->in_channels;
        for (uint32_t x = 0; x < l->out_width; ++x, out += l->out_channels) {
            memcpy(out, row + u16_in(columns + 2 * x) * l->in_channels, l->out_channels);
        }
    }
}

/* Two rows or columns of the input and how many 1024ths count of each. */
typedef struct {
    uint32_t first, second;
    int32_t of_first, of_second;
} between;

static between between_at(const int8_t *p)
{
    between b;
    b.first = u16_in(p);
    b.second = u16_in(p + 2);
    b.of_second = (int16_t)u16_in(p + 4);
    b.of_first = 1024 - b.of_second;
    return b;
}

void edgeemo_resize_bilinear(const edgeemo_layer *l, int8_t *arena)
{
    const int8_t *in = arena + l->in, *rows = l->weights, *columns = rows + 6 * l->out_height;
    int8_t *out = arena + l->out;
    const uint32_t channels = l->in_channels, row_bytes = l->in_width * channels;
    for (uint32_t y = 0; y < l->out_height; ++y) {
        const between v = between_at(rows + 6 * y);
        const int8_t *upper = in + v.first * row_bytes, *lower = in + v.second * row_bytes;
        for (uint32_t x = 0; x < l->out_width; ++x) {
            const between h = between_at(columns + 6 * x);
            const uint32_t left = h.first * channels, right = h.second * channels;
            for (uint32_t c = 0; c < channels; ++c) {
                const int32_t above = upper[left + c] * h.of_first + upper[right + c] * h.of_second,
                              below = lower[left + c] * h.of_first + lower[right + c] * h.of_second;
                *out++ = (int8_t)rounded_quotient(above * v.of_first + below * v.of_second,
                                                  1 << 20);
            }
        }
    }
}

void edgeemo_concatenation(const edgeemo_layer *l, int8_t *arena)
{
    const int8_t *in = arena + l->in;
    for (uint32_t y = 0; y < l->in_height; ++y) {
        int8_t *out = arena + l->out + y * l->out_width * l->out_channels;
        for (uint32_t x = 0; x < l->in_width; ++x) {
            memcpy(out, in, l->in_channels);
            in += l->in_channels;
            out += l->out_channels;
        }
    }
}

void edgeemo_run_layer(const edgeemo_layer *layer, int8_t *arena)
{
    switch (layer->op) {
    case EDGEEMO_LOOKUP: edgeemo_lookup(layer, arena); break;
    case EDGEEMO_CONV_2D: edgeemo_conv_2d(layer, arena); break;
    case EDGEEMO_DEPTHWISE_CONV_2D: edgeemo_depthwise_conv_2d(layer, arena); break;
    case EDGEEMO_ADD: edgeemo_add(layer, arena); break;
    case EDGEEMO_AVERAGE_POOL_2D: edgeemo_average_pool_2d(layer, arena); break;
    case EDGEEMO_MAX_POOL_2D: edgeemo_max_pool_2d(layer, arena); break;
    case EDGEEMO_MEAN: edgeemo_mean(layer, arena); break;
    case EDGEEMO_PAD: edgeemo_pad(layer, arena); break;
    case EDGEEMO_FULLY_CONNECTED: edgeemo_fully_connected(layer, arena); break;
    case EDGEEMO_MUL: edgeemo_mul(layer, arena); break;
    case EDGEEMO_SOFTMAX: edgeemo_softmax(layer, arena); break;
    case EDGEEMO_RESIZE_NEAREST: edgeemo_resize_nearest(layer, arena); break;
    case EDGEEMO_RESIZE_BILINEAR: edgeemo_resize_bilinear(layer, arena); break;
    case EDGEEMO_CONCATENATION: edgeemo_concatenation(layer, arena); break;
    case EDGEEMO_WIDE_CONV_2D: edgeemo_wide_conv_2d(layer, arena); break;
    case EDGEEMO_WIDE_DEPTHWISE_CONV_2D: edgeemo_wide_depthwise_conv_2d(layer, arena); break;
    case EDGEEMO_BROADCAST_ADD: edgeemo_broadcast_add(layer, arena); break;
    default: break;
    }
}

/* The layers of a network whose input is in its place as int8. */
static void run_layers(const edgeemo_network *network, int8_t *arena)
{
    for (uint32_t i = 0; i < network->layer_count; ++i) {
        edgeemo_run_layer(&network->layers[i], arena);
    }
}

/* Pixels as the network stores them. */
static void store_pixels(const edgeemo_network *network, const uint8_t *pixels, int8_t *out)
{
    if (network->pixel_table_count) {
        edgeemo_pixels_by_table(network->pixel_tables, network->pixel_table_count, pixels, out,
                                network->in_bytes);
    } else {
        edgeemo_pixels(pixels, out, network->in_bytes);
    }
}

void edgeemo_run(const edgeemo_network *network, int8_t *arena, const uint8_t *pixels,
                 int8_t *logits)
{
    store_pixels(network, pixels, arena + network->in);
    run_layers(network, arena);
    memcpy(logits, arena + network->out, network->out_bytes);
}

void edgeemo_run_in_place(const edgeemo_network *network, int8_t *arena)
{
    int8_t *in = arena + network->in;
    store_pixels(network, (const uint8_t *)in, in);
    run_layers(network, arena);
}

/* What a label has of the sum of all. */
static uint32_t share_of(const uint16_t *exponentials, int32_t logit, int32_t largest)
{
    return exponentials ? exponentials[largest - logit] : (uint32_t)(logit + 128);
}

void edgeemo_scores_q15(const uint16_t *exponentials, const int8_t *logits, uint16_t *scores,
                        uint32_t count)
{
    int32_t largest = -128;
    uint32_t sum = 0;
    for (uint32_t i = 0; i < count; ++i) {
        largest = logits[i] > largest ? logits[i] : largest;
    }
    for (uint32_t i = 0; i < count; ++i) {
        sum += share_of(exponentials, logits[i], largest);
    }
    for (uint32_t i = 0; i < count; ++i) {
        const uint32_t share = share_of(exponentials, logits[i], largest);
        scores[i] = (uint16_t)(sum ? (share * 32768U + sum / 2) / sum : 0U);
    }
}

/* The CRC of four bits: 64 bytes of flash, for a sixth of the instructions of bit by bit, 10 a
 * byte. (A table for eight bits would take 1 KB.) */
static const uint32_t crc32_of_four_bits[16] = {
    0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
    0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
};

uint32_t edgeemo_crc32(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *byte = data;
    crc = ~crc;
    while (size--) {
        crc ^= *byte++;
        crc = crc >> 4 ^ crc32_of_four_bits[crc & 15U];
        crc = crc >> 4 ^ crc32_of_four_bits[crc & 15U];
    }
    return ~crc;
}

static uint32_t crc32_of_numbers(uint32_t crc, const int32_t *numbers, uint32_t count)
{
    for (uint32_t i = 0; i < count; ++i) {
        const uint32_t n = (uint32_t)numbers[i];
        const uint8_t bytes[4] = {(uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16),
                                  (uint8_t)(n >> 24)};
        crc = edgeemo_crc32(crc, bytes, sizeof bytes);
    }
    return crc;
}

uint32_t edgeemo_network_crc32(const edgeemo_network *network)
{
    uint32_t crc = edgeemo_crc32(0, network->pixel_tables, 256 * network->pixel_table_count);
    for (uint32_t i = 0; i < network->layer_count; ++i) {
        const edgeemo_layer *l = &network->layers[i];
        crc = edgeemo_crc32(crc, l->weights, l->weight_bytes);
        crc = crc32_of_numbers(crc, l->bias, l->parameters);
        crc = crc32_of_numbers(crc, l->multiplier, l->parameters);
        crc = edgeemo_crc32(crc, l->shift, l->parameters);
    }
    return crc;
}
