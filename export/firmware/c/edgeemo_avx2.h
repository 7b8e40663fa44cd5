/* SPDX-License-Identifier: MIT */
/* Part of edgeemo_kernels.c: its inner loops with AVX2, for PCs. Needs its INLINE, requantize() and
 * requantize_row(). */
#include <immintrin.h>

#define AVX2_FUNCTION __attribute__((target("avx2")))
#define VNNI_FUNCTION __attribute__((target("avx2,avx512vl,avx512vnni")))

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

/* requantize() of eight numbers. */
AVX2_FUNCTION INLINE __m256i requantize_avx2(__m256i value, __m256i multiplier, __m256i shift)
{
    const __m256i none = _mm256_setzero_si256(), one = _mm256_set1_epi32(1),
                  half = _mm256_set1_epi64x((int64_t)1 << 31);
    const __m256i left = _mm256_max_epi32(shift, none),
                  right = _mm256_max_epi32(_mm256_sub_epi32(none, shift), none);
    const __m256i doubled = _mm256_sllv_epi32(value, _mm256_add_epi32(left, one));
    const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(doubled, multiplier), half);
    const __m256i odd = _mm256_add_epi64(
        _mm256_mul_epi32(_mm256_srli_epi64(doubled, 32), _mm256_srli_epi64(multiplier, 32)), half);
    const __m256i high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
    const __m256i nudge = _mm256_srli_epi32(_mm256_sllv_epi32(one, right), 1);
    const __m256i away =
        _mm256_and_si256(_mm256_srai_epi32(high, 31), _mm256_cmpgt_epi32(right, none));
    return _mm256_srav_epi32(_mm256_add_epi32(_mm256_add_epi32(high, nudge), away), right);
}

/* Eight numbers as the output's int8; packing saturates, so that the bounds may be applied to
 * bytes. */
AVX2_FUNCTION INLINE void store_avx2(int8_t *out, __m256i value, __m256i zero, __m128i low,
                                     __m128i high)
{
    const __m256i placed = _mm256_add_epi32(value, zero);
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(placed), _mm256_extracti128_si256(placed, 1));
    const __m128i bytes = _mm_packs_epi16(words, words);
    _mm_storel_epi64((__m128i *)(void *)out, _mm_min_epi8(_mm_max_epi8(bytes, low), high));
}

AVX2_FUNCTION INLINE __m256i load8_avx2(const int8_t *from)
{
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)from));
}

AVX2_FUNCTION static void requantize_row_avx2(const edgeemo_layer *l, const int32_t *sums,
                                              int8_t *out)
{
    const __m256i zero = _mm256_set1_epi32(l->out_zero);
    const __m128i low = _mm_set1_epi8(l->low), high = _mm_set1_epi8(l->high);
    const int32_t *multipliers = l->multiplier;
    const int8_t *shifts = l->shift;
    const uint32_t channels = l->out_channels;
    uint32_t c;
    for (c = 0; c + 8 <= channels; c += 8) {
        /* Two loads, because they were two stores: a load that spans them would wait for both to
         * reach the cache. */
        const __m256i sum = _mm256_loadu2_m128i((const __m128i *)(const void *)(sums + c + 4),
                                                (const __m128i *)(const void *)(sums + c));
        const __m256i multiplier =
            _mm256_loadu_si256((const __m256i *)(const void *)(multipliers + c));
        store_avx2(out + c, requantize_avx2(sum, multiplier, load8_avx2(shifts + c)), zero, low,
                   high);
    }
    requantize_row(l, sums, out, c);
}

AVX2_FUNCTION static void add_avx2(const edgeemo_layer *l, int8_t *arena)
{
    const int8_t *a = arena + l->in, *b = arena + l->in2;
    int8_t *out = arena + l->out;
    const uint32_t count = out_count(l);
    const __m256i a_bias = _mm256_set1_epi32(l->bias[0]), b_bias = _mm256_set1_epi32(l->bias[1]);
    const __m256i a_multiplier = _mm256_set1_epi32(l->multiplier[0]),
                  a_shift = _mm256_set1_epi32(l->shift[0]);
    const __m256i b_multiplier = _mm256_set1_epi32(l->multiplier[1]),
                  b_shift = _mm256_set1_epi32(l->shift[1]);
    const __m256i multiplier = _mm256_set1_epi32(l->multiplier[2]),
                  shift = _mm256_set1_epi32(l->shift[2]);
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
    for (; i < count; ++i) {
        const int32_t left =
            requantize((a[i] + l->bias[0]) * (1 << 20), l->multiplier[0], l->shift[0]);
        const int32_t right =
            requantize((b[i] + l->bias[1]) * (1 << 20), l->multiplier[1], l->shift[1]);
        const int32_t value = requantize(left + right, l->multiplier[2], l->shift[2]);
        out[i] = clamped(value + l->out_zero, l->low, l->high);
    }
}

/* The sums of the lanes of four vectors, and a bias. */
AVX2_FUNCTION INLINE void store_sums_avx2(int32_t *sums, const int32_t *bias, __m256i a, __m256i b,
                                          __m256i c, __m256i d)
{
    const __m256i all = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    const __m128i four =
        _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
    const __m128i more = _mm_loadu_si128((const __m128i *)(const void *)bias);
    _mm_storeu_si128((__m128i *)(void *)sums, _mm_add_epi32(four, more));
}

/* products() for four filters at a time; says how many channels it did. What is read beyond a
 * filter's end meets the zeros at the patch's end; beyond the last filter's nothing may be read.
 * DOT(sum, x, f) adds products of two vectors. `do`, because with a way around the loop gcc 12
 * copies all sums in each turn. */
#define PRODUCTS_OF_FOUR(DOT)                                                                      \
    const uint32_t channels = l->out_channels, beyond = (count + 15) / 16 * 16 - count;            \
    uint32_t c;                                                                                    \
    for (c = 0; c + 4 <= channels && (c + 4) * count + beyond <= l->weight_bytes; c += 4) {        \
        const int8_t *w = l->weights + c * count;                                                  \
        __m256i a0 = _mm256_setzero_si256(), b0 = a0, c0 = a0, d0 = a0, a1 = a0, b1 = a0, c1 = a0, \
                d1 = a0;                                                                           \
        uint32_t i = 0;                                                                            \
        do {                                                                                       \
            const __m256i x0 = _mm256_loadu_si256((const __m256i *)(const void *)(p0 + i));        \
            const __m256i x1 = _mm256_loadu_si256((const __m256i *)(const void *)(p1 + i));        \
            __m256i f = widened_avx2(w + i);                                                       \
            a0 = DOT(a0, x0, f);                                                                   \
            a1 = DOT(a1, x1, f);                                                                   \
            f = widened_avx2(w + count + i);                                                       \
            b0 = DOT(b0, x0, f);                                                                   \
            b1 = DOT(b1, x1, f);                                                                   \
            f = widened_avx2(w + 2 * count + i);                                                   \
            c0 = DOT(c0, x0, f);                                                                   \
            c1 = DOT(c1, x1, f);                                                                   \
            f = widened_avx2(w + 3 * count + i);                                                   \
            d0 = DOT(d0, x0, f);                                                                   \
            d1 = DOT(d1, x1, f);                                                                   \
            i += 16;                                                                               \
        } while (i < count);                                                                       \
        store_sums_avx2(sums + c, l->bias + c, a0, b0, c0, d0);                                    \
        store_sums_avx2(sums + channels + c, l->bias + c, a1, b1, c1, d1);                         \
    }                                                                                              \
    return c;

#define DOT_AVX2(sum, x, f) _mm256_add_epi32(sum, _mm256_madd_epi16(x, f))

AVX2_FUNCTION static uint32_t products_avx2(const edgeemo_layer *l, const int16_t *p0,
                                            const int16_t *p1, uint32_t count,
                                            int32_t *sums){PRODUCTS_OF_FOUR(DOT_AVX2)}

VNNI_FUNCTION static uint32_t
    products_vnni(const edgeemo_layer *l, const int16_t *p0, const int16_t *p1, uint32_t count,
                  int32_t *sums){PRODUCTS_OF_FOUR(_mm256_dpwssd_epi32)}

AVX2_FUNCTION static uint32_t products_of_four(const edgeemo_layer *l, const int16_t *p0,
                                               const int16_t *p1, uint32_t count, int32_t *sums)
{
    const int vnni = __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vl");
    return (vnni ? products_vnni : products_avx2)(l, p0, p1, count, sums);
}
