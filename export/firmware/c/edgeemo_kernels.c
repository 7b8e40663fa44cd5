#include "edgeemo_kernels.h"

#include <string.h>

/* The DSP extension of Cortex-M4, M7 and M33: two 16-bit products in one instruction. -DEDGEEMO_NO_DSP leaves it out. */
#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32) && !defined(EDGEEMO_NO_DSP)
#include <arm_acle.h>
#define EDGEEMO_DSP 1
#else
#define EDGEEMO_DSP 0
#endif

/* On a PC, for tests and simulations: AVX2 and where it is there AVX-512 VNNI, asked for at run time. -DEDGEEMO_NO_AVX2 leaves it out. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(EDGEEMO_NO_AVX2)
#include <immintrin.h>
#define EDGEEMO_AVX2 1
#define AVX2_FUNCTION __attribute__((target("avx2")))
#define VNNI_FUNCTION __attribute__((target("avx2,avx512vl,avx512vnni")))
#define INLINE static inline __attribute__((always_inline))
#else
#define EDGEEMO_AVX2 0
#define INLINE static inline
#endif

/* C leaves the right shift of negative numbers to the compiler; ours must repeat the sign, as all common ones do. */
typedef char edgeemo_shifts_are_arithmetic[(-1 >> 1) == -1 ? 1 : -1];

/* gemmlowp's SaturatingRoundingDoublingHighMul, (2ab + 2^31) >> 32, for |a| < 2^30. */
INLINE int32_t high_of_doubled(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)(a * 2) * b + ((int64_t)1 << 31)) >> 32);
}

/* TFLite's MultiplyByQuantizedMultiplier: value * multiplier / 2^31 * 2^shift, rounded twice as there. */
INLINE int32_t requantize(int32_t value, int32_t multiplier, int32_t shift)
{
    const int32_t left = shift > 0 ? shift : 0, right = shift < 0 ? -shift : 0;
    const int32_t high = high_of_doubled(value * ((int32_t)1 << left), multiplier);
    return (high + (((int32_t)1 << right) >> 1) - (high < 0 && right > 0)) >> right;
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

void edgeemo_lookup(const edgeemo_layer *l, int8_t *arena)
{
    const int8_t *in = arena + l->in;
    int8_t *out = arena + l->out;
    const uint32_t count = out_count(l);
    for (uint32_t i = 0; i < count; ++i) {
        out[i] = l->weights[in[i] + 128];
    }
}

/* Whether convolutions may read their patches in the order that SXTB16 gives: bytes 0, 2, 1, 3 of each four. */
INLINE int in_pairs(const edgeemo_layer *l)
{
    return EDGEEMO_DSP && l->in_channels % 4 == 0;
}

#if EDGEEMO_AVX2
/* Sixteen int8 as 16-bit numbers. */
AVX2_FUNCTION INLINE __m256i widened_avx2(const int8_t *from)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)from));
}

AVX2_FUNCTION static uint32_t widen_avx2(int16_t *to, const int8_t *from, uint32_t count)
{
    uint32_t i;
    for (i = 0; i + 16 <= count; i += 16) {
        _mm256_storeu_si256((__m256i *)(void *)(to + i), widened_avx2(from + i));
    }
    return i;
}
#endif

INLINE int16_t *widen(int16_t *to, const int8_t *from, uint32_t count, int pairs, int avx2)
{
    uint32_t first = 0;
#if EDGEEMO_DSP
    if (pairs) {
        for (uint32_t i = 0; i < count; i += 4) {
            uint32_t four;
            int16x2_t even, odd;
            memcpy(&four, from + i, 4);
            even = __sxtb16((int8x4_t)four);
            odd = __sxtb16((int8x4_t)(four >> 8 | four << 24));
            memcpy(to + i, &even, 4);
            memcpy(to + i + 2, &odd, 4);
        }
        return to + count;
    }
#endif
#if EDGEEMO_AVX2
    if (avx2 && count >= 16) {
        first = widen_avx2(to, from, count);
    }
#endif
    (void)pairs;
    (void)avx2;
    for (uint32_t i = first; i < count; ++i) {
        to[i] = from[i];
    }
    return to + count;
}

/* What the kernel sees at one output pixel, widened to 16 bits, with the zero point where it leaves the picture. */
INLINE void gather(const edgeemo_layer *l, const int8_t *in, int32_t y, int32_t x, int16_t *patch, int avx2)
{
    const int32_t top = y * l->stride_height - l->pad_top, left = x * l->stride_width - l->pad_left;
    const int32_t first = left < 0 ? -left : 0;
    const int32_t last = left + l->kernel_width > l->in_width ? l->in_width - left : l->kernel_width;
    const uint32_t channels = l->in_channels;
    const int pairs = in_pairs(l);
    for (int32_t row = top; row < top + l->kernel_height; ++row) {
        const int inside = row >= 0 && row < l->in_height;
        const int32_t from = inside ? first : l->kernel_width, to = inside ? last : l->kernel_width;
        for (uint32_t i = (uint32_t)from * channels; i > 0; --i) {
            *patch++ = l->in_zero;
        }
        if (to > from) {
            patch = widen(patch, in + ((uint32_t)(row * l->in_width + left + from) * channels),
                          (uint32_t)(to - from) * channels, pairs, avx2);
        }
        for (uint32_t i = (uint32_t)(l->kernel_width - to) * channels; i > 0; --i) {
            *patch++ = l->in_zero;
        }
    }
}

/* Two patches times the filters from `first`, two by two: every value that is loaded is used twice. sums: [2][channels]. */
INLINE void products(const edgeemo_layer *l, const int16_t *p0, const int16_t *p1, uint32_t count, uint32_t first,
                     int32_t *sums)
{
    const uint32_t channels = l->out_channels;
    for (uint32_t c = first; c < channels; c += 2) {
        /* An odd one out is computed twice. */
        const uint32_t d = c + 1 < channels ? c + 1 : c;
        const int8_t *w0 = l->weights + c * count, *w1 = l->weights + d * count;
        int32_t s00 = l->bias[c], s01 = l->bias[d], s10 = s00, s11 = s01;
        uint32_t i = 0;
#if EDGEEMO_DSP
        for (; in_pairs(l) && i < count; i += 4) {
            uint32_t f0, f1;
            int16x2_t even0, odd0, even1, odd1, x;
            memcpy(&f0, w0 + i, 4);
            memcpy(&f1, w1 + i, 4);
            even0 = __sxtb16((int8x4_t)f0);
            odd0 = __sxtb16((int8x4_t)(f0 >> 8 | f0 << 24));
            even1 = __sxtb16((int8x4_t)f1);
            odd1 = __sxtb16((int8x4_t)(f1 >> 8 | f1 << 24));
            memcpy(&x, p0 + i, 4);
            s00 = __smlad(x, even0, s00);
            s01 = __smlad(x, even1, s01);
            memcpy(&x, p0 + i + 2, 4);
            s00 = __smlad(x, odd0, s00);
            s01 = __smlad(x, odd1, s01);
            memcpy(&x, p1 + i, 4);
            s10 = __smlad(x, even0, s10);
            s11 = __smlad(x, even1, s11);
            memcpy(&x, p1 + i + 2, 4);
            s10 = __smlad(x, odd0, s10);
            s11 = __smlad(x, odd1, s11);
        }
#endif
        for (; i < count; ++i) {
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

/* The sums of the output channels from `first` on as int8. */
INLINE void requantize_row(const edgeemo_layer *l, const int32_t *sums, int8_t *out, uint32_t first)
{
    const int32_t zero = l->out_zero, low = l->low, high = l->high;
    const uint32_t channels = l->out_channels;
    for (uint32_t c = first; c < channels; ++c) {
        out[c] = clamped(requantize(sums[c], l->multiplier[c], l->shift[c]) + zero, low, high);
    }
}

/* From the number `first` on. TFLite's left shift of 20 bits keeps what the two scales would lose. */
INLINE void add(const edgeemo_layer *l, int8_t *arena, uint32_t first)
{
    const int8_t *a = arena + l->in, *b = arena + l->in2;
    int8_t *out = arena + l->out;
    const edgeemo_layer layer = *l;
    const int32_t a_bias = layer.bias[0], a_multiplier = layer.multiplier[0], a_shift = layer.shift[0];
    const int32_t b_bias = layer.bias[1], b_multiplier = layer.multiplier[1], b_shift = layer.shift[1];
    const int32_t multiplier = layer.multiplier[2], shift = layer.shift[2];
    const uint32_t count = out_count(l);
    for (uint32_t i = first; i < count; ++i) {
        const int32_t left = requantize((a[i] + a_bias) * (1 << 20), a_multiplier, a_shift);
        const int32_t right = requantize((b[i] + b_bias) * (1 << 20), b_multiplier, b_shift);
        out[i] = clamped(requantize(left + right, multiplier, shift) + layer.out_zero, layer.low, layer.high);
    }
}

#if EDGEEMO_AVX2
/* requantize() of eight numbers. */
AVX2_FUNCTION INLINE __m256i requantize_avx2(__m256i value, __m256i multiplier, __m256i shift)
{
    const __m256i none = _mm256_setzero_si256(), one = _mm256_set1_epi32(1), half = _mm256_set1_epi64x((int64_t)1 << 31);
    const __m256i left = _mm256_max_epi32(shift, none), right = _mm256_max_epi32(_mm256_sub_epi32(none, shift), none);
    const __m256i doubled = _mm256_sllv_epi32(value, _mm256_add_epi32(left, one));
    const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(doubled, multiplier), half);
    const __m256i odd =
        _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(doubled, 32), _mm256_srli_epi64(multiplier, 32)), half);
    const __m256i high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
    const __m256i nudge = _mm256_srli_epi32(_mm256_sllv_epi32(one, right), 1);
    const __m256i away = _mm256_and_si256(_mm256_srai_epi32(high, 31), _mm256_cmpgt_epi32(right, none));
    return _mm256_srav_epi32(_mm256_add_epi32(_mm256_add_epi32(high, nudge), away), right);
}

/* Eight numbers as the output's int8; packing saturates, so that the bounds may be applied to bytes. */
AVX2_FUNCTION INLINE void store_avx2(int8_t *out, __m256i value, __m256i zero, __m128i low, __m128i high)
{
    const __m256i placed = _mm256_add_epi32(value, zero);
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(placed), _mm256_extracti128_si256(placed, 1));
    const __m128i bytes = _mm_packs_epi16(words, words);
    _mm_storel_epi64((__m128i *)(void *)out, _mm_min_epi8(_mm_max_epi8(bytes, low), high));
}

AVX2_FUNCTION INLINE __m256i load8_avx2(const int8_t *from)
{
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)from));
}

AVX2_FUNCTION static void requantize_row_avx2(const edgeemo_layer *l, const int32_t *sums, int8_t *out)
{
    const __m256i zero = _mm256_set1_epi32(l->out_zero);
    const __m128i low = _mm_set1_epi8(l->low), high = _mm_set1_epi8(l->high);
    const int32_t *multipliers = l->multiplier;
    const int8_t *shifts = l->shift;
    const uint32_t channels = l->out_channels;
    uint32_t c;
    for (c = 0; c + 8 <= channels; c += 8) {
        /* Two loads, because they were two stores: a load that spans them would wait for both to reach the cache. */
        const __m256i sum = _mm256_loadu2_m128i((const __m128i *)(const void *)(sums + c + 4), (const __m128i *)(const void *)(sums + c));
        const __m256i multiplier = _mm256_loadu_si256((const __m256i *)(const void *)(multipliers + c));
        store_avx2(out + c, requantize_avx2(sum, multiplier, load8_avx2(shifts + c)), zero, low, high);
    }
    requantize_row(l, sums, out, c);
}

AVX2_FUNCTION static void add_avx2(const edgeemo_layer *l, int8_t *arena)
{
    const int8_t *a = arena + l->in, *b = arena + l->in2;
    int8_t *out = arena + l->out;
    const uint32_t count = out_count(l);
    const __m256i a_bias = _mm256_set1_epi32(l->bias[0]), b_bias = _mm256_set1_epi32(l->bias[1]);
    const __m256i a_multiplier = _mm256_set1_epi32(l->multiplier[0]), a_shift = _mm256_set1_epi32(l->shift[0]);
    const __m256i b_multiplier = _mm256_set1_epi32(l->multiplier[1]), b_shift = _mm256_set1_epi32(l->shift[1]);
    const __m256i multiplier = _mm256_set1_epi32(l->multiplier[2]), shift = _mm256_set1_epi32(l->shift[2]);
    const __m256i zero = _mm256_set1_epi32(l->out_zero);
    const __m128i low = _mm_set1_epi8(l->low), high = _mm_set1_epi8(l->high);
    uint32_t i;
    for (i = 0; i + 8 <= count; i += 8) {
        const __m256i left = _mm256_slli_epi32(_mm256_add_epi32(load8_avx2(a + i), a_bias), 20);
        const __m256i right = _mm256_slli_epi32(_mm256_add_epi32(load8_avx2(b + i), b_bias), 20);
        const __m256i sum = _mm256_add_epi32(requantize_avx2(left, a_multiplier, a_shift),
                                             requantize_avx2(right, b_multiplier, b_shift));
        store_avx2(out + i, requantize_avx2(sum, multiplier, shift), zero, low, high);
    }
    add(l, arena, i);
}

/* The sums of the lanes of four vectors, and a bias. */
AVX2_FUNCTION INLINE void store_sums_avx2(int32_t *sums, const int32_t *bias, __m256i a, __m256i b, __m256i c, __m256i d)
{
    const __m256i all = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
    const __m128i more = _mm_loadu_si128((const __m128i *)(const void *)bias);
    _mm_storeu_si128((__m128i *)(void *)sums, _mm_add_epi32(four, more));
}

/* products() for four filters at a time; says how many channels it did. What is read beyond a filter's end meets the
 * zeros at the patch's end; beyond the last filter's nothing may be read. DOT(sum, x, f) adds products of two vectors.
 * `do`, because with a way around the loop gcc 12 copies all sums in each turn. */
#define PRODUCTS_OF_FOUR(DOT)                                                                                   \
    const uint32_t channels = l->out_channels, beyond = (count + 15) / 16 * 16 - count;                         \
    uint32_t c;                                                                                                 \
    for (c = 0; c + 4 <= channels && (c + 4) * count + beyond <= l->weight_bytes; c += 4) {                     \
        const int8_t *w = l->weights + c * count;                                                               \
        __m256i a0 = _mm256_setzero_si256(), b0 = a0, c0 = a0, d0 = a0, a1 = a0, b1 = a0, c1 = a0, d1 = a0;     \
        uint32_t i = 0;                                                                                         \
        do {                                                                                                    \
            const __m256i x0 = _mm256_loadu_si256((const __m256i *)(const void *)(p0 + i));                     \
            const __m256i x1 = _mm256_loadu_si256((const __m256i *)(const void *)(p1 + i));                     \
            __m256i f = widened_avx2(w + i);                                                                    \
            a0 = DOT(a0, x0, f);                                                                                \
            a1 = DOT(a1, x1, f);                                                                                \
            f = widened_avx2(w + count + i);                                                                    \
            b0 = DOT(b0, x0, f);                                                                                \
            b1 = DOT(b1, x1, f);                                                                                \
            f = widened_avx2(w + 2 * count + i);                                                                \
            c0 = DOT(c0, x0, f);                                                                                \
            c1 = DOT(c1, x1, f);                                                                                \
            f = widened_avx2(w + 3 * count + i);                                                                \
            d0 = DOT(d0, x0, f);                                                                                \
            d1 = DOT(d1, x1, f);                                                                                \
            i += 16;                                                                                            \
        } while (i < count);                                                                                    \
        store_sums_avx2(sums + c, l->bias + c, a0, b0, c0, d0);                                                 \
        store_sums_avx2(sums + channels + c, l->bias + c, a1, b1, c1, d1);                                      \
    }                                                                                                           \
    return c;

#define DOT_AVX2(sum, x, f) _mm256_add_epi32(sum, _mm256_madd_epi16(x, f))

AVX2_FUNCTION static uint32_t products_avx2(const edgeemo_layer *l, const int16_t *p0, const int16_t *p1, uint32_t count,
                                            int32_t *sums)
{
    PRODUCTS_OF_FOUR(DOT_AVX2)
}

VNNI_FUNCTION static uint32_t products_vnni(const edgeemo_layer *l, const int16_t *p0, const int16_t *p1, uint32_t count,
                                            int32_t *sums)
{
    PRODUCTS_OF_FOUR(_mm256_dpwssd_epi32)
}
#endif

/* The layer's scratch: two patches, each with zeros up to a multiple of 16 numbers, and two rows of sums. */
INLINE void conv_2d(const edgeemo_layer *layer, int8_t *arena, int avx2)
{
    const edgeemo_layer copy = *layer, *l = &copy; /* what is written to the arena cannot change it */
    const int8_t *in = arena + l->in;
    int8_t *out = arena + l->out;
    const uint32_t size = (uint32_t)l->kernel_height * l->kernel_width * l->in_channels, padded = (size + 15) / 16 * 16;
    const uint32_t width = l->out_width, pixels = l->out_height * width, channels = l->out_channels;
    int16_t *p0 = (int16_t *)(void *)(arena + l->scratch), *p1 = p0 + padded;
    int32_t *sums = (int32_t *)(void *)(p1 + padded);
#if EDGEEMO_AVX2
    const int vnni = __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vl");
#endif
    memset(p0 + size, 0, (padded - size) * sizeof *p0);
    memset(p1 + size, 0, (padded - size) * sizeof *p1);
    for (uint32_t pixel = 0; pixel < pixels; pixel += 2) {
        const uint32_t other = pixel + 1 < pixels ? pixel + 1 : pixel;
        gather(l, in, (int32_t)(pixel / width), (int32_t)(pixel % width), p0, avx2);
        gather(l, in, (int32_t)(other / width), (int32_t)(other % width), p1, avx2);
#if EDGEEMO_AVX2
        if (avx2) {
            products(l, p0, p1, size, (vnni ? products_vnni : products_avx2)(l, p0, p1, size, sums), sums);
            requantize_row_avx2(l, sums, out + pixel * channels);
            requantize_row_avx2(l, sums + channels, out + other * channels);
            continue;
        }
#endif
        products(l, p0, p1, size, 0, sums);
        requantize_row(l, sums, out + pixel * channels, 0);
        requantize_row(l, sums + channels, out + other * channels, 0);
    }
}

/* The layer's scratch: a row of sums. */
INLINE void depthwise_conv_2d(const edgeemo_layer *l, int8_t *arena, int avx2)
{
    const int8_t *in = arena + l->in;
    int8_t *out = arena + l->out;
    int32_t *sums = (int32_t *)(void *)(arena + l->scratch);
    const uint32_t channels = l->out_channels, copies = channels / l->in_channels;
    for (int32_t y = 0; y < l->out_height; ++y) {
        for (int32_t x = 0; x < l->out_width; ++x) {
            const int32_t top = y * l->stride_height - l->pad_top, left = x * l->stride_width - l->pad_left;
            const int8_t *weights = l->weights;
            memcpy(sums, l->bias, channels * sizeof *sums);
            for (int32_t row = top; row < top + l->kernel_height; ++row) {
                for (int32_t column = left; column < left + l->kernel_width; ++column, weights += channels) {
                    const int inside = row >= 0 && row < l->in_height && column >= 0 && column < l->in_width;
                    const int8_t *pixel = in + (inside ? (uint32_t)(row * l->in_width + column) * l->in_channels : 0);
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
            if (avx2) {
                requantize_row_avx2(l, sums, out);
            } else
#endif
            {
                requantize_row(l, sums, out, 0);
            }
            (void)avx2;
            out += channels;
        }
    }
}

#if EDGEEMO_AVX2
AVX2_FUNCTION __attribute__((flatten)) static void conv_2d_avx2(const edgeemo_layer *l, int8_t *arena)
{
    conv_2d(l, arena, 1);
}

AVX2_FUNCTION static void depthwise_conv_2d_avx2(const edgeemo_layer *l, int8_t *arena)
{
    depthwise_conv_2d(l, arena, 1);
}

#define CALL(kernel, ...) (__builtin_cpu_supports("avx2") ? kernel##_avx2(layer, arena) : kernel(__VA_ARGS__))
#else
#define CALL(kernel, ...) kernel(__VA_ARGS__)
#endif

void edgeemo_conv_2d(const edgeemo_layer *layer, int8_t *arena)
{
    CALL(conv_2d, layer, arena, 0);
}

void edgeemo_depthwise_conv_2d(const edgeemo_layer *layer, int8_t *arena)
{
    CALL(depthwise_conv_2d, layer, arena, 0);
}

void edgeemo_add(const edgeemo_layer *layer, int8_t *arena)
{
    CALL(add, layer, arena, 0);
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
                *out++ = clamped(rounded_quotient(sum, (w.bottom - w.top) * (w.right - w.left)), l->low, l->high);
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
                        const int32_t value = in[(uint32_t)(row * l->in_width + column) * l->in_channels + c];
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
        out[c] = clamped(requantize(sum, l->multiplier[0], l->shift[0]) + l->out_zero, l->low, l->high);
    }
}

void edgeemo_pad(const edgeemo_layer *l, int8_t *arena)
{
    const int8_t *in = arena + l->in;
    int8_t *out = arena + l->out;
    const uint32_t row_bytes = (uint32_t)l->in_width * l->in_channels;
    memset(out, l->in_zero, out_count(l));
    for (uint32_t y = 0; y < l->in_height; ++y) {
        memcpy(out + ((y + l->pad_top) * l->out_width + l->pad_left) * l->in_channels, in + y * row_bytes, row_bytes);
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
    default: break;
    }
}

void edgeemo_run(const edgeemo_network *network, int8_t *arena, const uint8_t *pixels, int8_t *logits)
{
    edgeemo_pixels(pixels, arena + network->in, network->in_bytes);
    for (uint32_t i = 0; i < network->layer_count; ++i) {
        edgeemo_run_layer(&network->layers[i], arena);
    }
    memcpy(logits, arena + network->out, network->out_bytes);
}

void edgeemo_scores_q15(const uint16_t *exponentials, const int8_t *logits, uint16_t *scores, uint32_t count)
{
    int32_t largest = -128;
    uint32_t sum = 0;
    for (uint32_t i = 0; i < count; ++i) {
        largest = logits[i] > largest ? logits[i] : largest;
    }
    for (uint32_t i = 0; i < count; ++i) {
        sum += exponentials[largest - logits[i]];
    }
    for (uint32_t i = 0; i < count; ++i) {
        scores[i] = (uint16_t)(((uint32_t)exponentials[largest - logits[i]] * 32768U + sum / 2) / sum);
    }
}

uint32_t edgeemo_crc32(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *byte = data;
    crc = ~crc;
    while (size--) {
        crc ^= *byte++;
        for (int bit = 0; bit < 8; ++bit) {
            crc = crc >> 1 ^ (crc & 1U ? 0xEDB88320U : 0U);
        }
    }
    return ~crc;
}

static uint32_t crc32_of_numbers(uint32_t crc, const int32_t *numbers, uint32_t count)
{
    for (uint32_t i = 0; i < count; ++i) {
        const uint32_t n = (uint32_t)numbers[i];
        const uint8_t bytes[4] = {(uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16), (uint8_t)(n >> 24)};
        crc = edgeemo_crc32(crc, bytes, sizeof bytes);
    }
    return crc;
}

uint32_t edgeemo_network_crc32(const edgeemo_network *network)
{
    uint32_t crc = 0;
    for (uint32_t i = 0; i < network->layer_count; ++i) {
        const edgeemo_layer *l = &network->layers[i];
        crc = edgeemo_crc32(crc, l->weights, l->weight_bytes);
        crc = crc32_of_numbers(crc, l->bias, l->parameters);
        crc = crc32_of_numbers(crc, l->multiplier, l->parameters);
        crc = edgeemo_crc32(crc, l->shift, l->parameters);
    }
    return crc;
}
