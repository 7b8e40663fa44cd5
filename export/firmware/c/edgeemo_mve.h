/* SPDX-License-Identifier: MIT */
/* Part of edgeemo_kernels.c: its inner loops with Helium (MVE), for Cortex-M52, M55 and M85. Needs
 * its INLINE, STEP, out_count() and gather(). Lanes beyond the end of what there is are masked, so
 * that nothing is read or written there. */

/* requantize() of four numbers: VQRDMULH rounds as high_of_doubled() does, and VRSHL to the right
 * rounds halves up, which one less makes away from zero for negative numbers. */
INLINE int32x4_t requantize_mve(int32x4_t value, int32x4_t multiplier, int32x4_t shift)
{
    const int32x4_t none = vdupq_n_s32(0), right = vminq_s32(shift, none);
    const int32x4_t high = vqrdmulhq_s32(vshlq_s32(value, vmaxq_s32(shift, none)), multiplier);
    return vrshlq_s32(vaddq_s32(high, vshrq_n_s32(vandq_s32(high, right), 31)), right);
}

/* The same where all four have one multiplier and shift. */
INLINE int32x4_t requantize_alike_mve(int32x4_t value, int32_t multiplier, int32_t shift)
{
    int32x4_t high;
    if (shift >= 0) {
        return vqrdmulhq_n_s32(vshlq_r_s32(value, shift), multiplier);
    }
    high = vqrdmulhq_n_s32(value, multiplier);
    return vrshlq_n_s32(vaddq_s32(high, vshrq_n_s32(high, 31)), shift);
}

INLINE int32x4_t placed_mve(int32x4_t value, int32_t zero, int32x4_t low, int32x4_t high)
{
    return vminq_s32(vmaxq_s32(vaddq_n_s32(value, zero), low), high);
}

/* Four patches, `padded` bytes each, times every filter, sixteen products an instruction, as int8
 * of the `count` (1 to 4) output pixels that there are. What is read beyond a filter's end meets
 * the zeros at the patch's end; weight_bytes has as many beyond the last filter's. */
STEP void products_mve(const edgeemo_layer *l, const int8_t *patches, uint32_t size,
                       uint32_t padded, int8_t *out, uint32_t count)
{
    const uint32_t channels = l->out_channels;
    const int32x4_t low = vdupq_n_s32(l->low), high = vdupq_n_s32(l->high);
    const uint32x4_t pixels = vmulq_n_u32(vidupq_n_u32(0, 1), channels);
    const mve_pred16_t there = vctp32q(count);
    const int8_t *filter = l->weights;
    for (uint32_t c = 0; c < channels; ++c, filter += size) {
        const int8_t *w = filter, *p0 = patches, *p1 = p0 + padded, *p2 = p1 + padded,
                     *p3 = p2 + padded;
        int32_t s0 = l->bias[c], s1 = s0, s2 = s0, s3 = s0;
        int32x4_t sums = vdupq_n_s32(0);
        uint32_t blocks = padded / 16;
        do {
            const int8x16_t f = vldrbq_s8(w);
            s0 = vmladavaq_s8(s0, f, vldrbq_s8(p0));
            s1 = vmladavaq_s8(s1, f, vldrbq_s8(p1));
            s2 = vmladavaq_s8(s2, f, vldrbq_s8(p2));
            s3 = vmladavaq_s8(s3, f, vldrbq_s8(p3));
            w += 16;
            p0 += 16;
            p1 += 16;
            p2 += 16;
            p3 += 16;
        } while (--blocks);
        sums = vsetq_lane_s32(s0, sums, 0);
        sums = vsetq_lane_s32(s1, sums, 1);
        sums = vsetq_lane_s32(s2, sums, 2);
        sums = vsetq_lane_s32(s3, sums, 3);
        sums = requantize_alike_mve(sums, l->multiplier[c], l->shift[c]);
        vstrbq_scatter_offset_p_s32(out + c, pixels, placed_mve(sums, l->out_zero, low, high),
                                    there);
    }
}

/* The layer's scratch: four patches, each with zeros up to a multiple of 16 bytes. */
static void conv_2d_mve(const edgeemo_layer *layer, int8_t *arena)
{
    const edgeemo_layer copy = *layer, *l = &copy;
    const uint32_t size = (uint32_t)l->kernel_height * l->kernel_width * l->in_channels,
                   padded = (size + 15) / 16 * 16;
    const uint32_t width = l->out_width, pixels = l->out_height * width;
    int8_t *patches = arena + l->scratch;
    for (uint32_t i = 0; i < 4; ++i) {
        fill_mve(patches + i * padded + size, 0, padded - size);
    }
    for (uint32_t pixel = 0; pixel < pixels; pixel += 4) {
        const uint32_t count = pixels - pixel < 4 ? pixels - pixel : 4;
        for (uint32_t i = 0; i < count; ++i) {
            gather(l, arena + l->in, (int32_t)((pixel + i) / width), (int32_t)((pixel + i) % width),
                   patches + i * padded, MVE);
        }
        products_mve(l, patches, size, padded, arena + l->out + pixel * l->out_channels, count);
    }
}

/* Four channels at a time. A kernel of several copies of each channel is left to plain C. */
static void depthwise_conv_2d_mve(const edgeemo_layer *layer, int8_t *arena)
{
    const edgeemo_layer copy = *layer, *l = &copy;
    const uint32_t channels = l->out_channels;
    const int32x4_t low = vdupq_n_s32(l->low), high = vdupq_n_s32(l->high);
    int8_t *out = arena + l->out;
    for (int32_t y = 0; y < l->out_height; ++y) {
        for (int32_t x = 0; x < l->out_width; ++x, out += channels) {
            const int32_t top = y * l->stride_height - l->pad_top,
                          left = x * l->stride_width - l->pad_left;
            for (uint32_t c = 0; c < channels; c += 4) {
                const mve_pred16_t some = vctp32q(channels - c);
                const int8_t *weights = l->weights + c;
                int32x4_t sums = vldrwq_z_s32(l->bias + c, some);
                for (int32_t row = top; row < top + l->kernel_height; ++row) {
                    const int inside = row >= 0 && row < l->in_height;
                    for (int32_t column = left; column < left + l->kernel_width;
                         ++column, weights += channels) {
                        const int32x4_t w = vldrbq_z_s32(weights, some);
                        if (inside && column >= 0 && column < l->in_width) {
                            const uint32_t pixel = (uint32_t)(row * l->in_width + column);
                            const int8_t *values = arena + l->in + pixel * channels + c;
                            sums = vaddq_s32(sums, vmulq_s32(w, vldrbq_z_s32(values, some)));
                        } else {
                            sums = vmlaq_n_s32(sums, w, l->in_zero);
                        }
                    }
                }
                sums = requantize_mve(sums, vldrwq_z_s32(l->multiplier + c, some),
                                      vldrbq_z_s32(l->shift + c, some));
                vstrbq_p_s32(out + c, placed_mve(sums, l->out_zero, low, high), some);
            }
        }
    }
}

static void add_mve(const edgeemo_layer *l, int8_t *arena)
{
    const int8_t *a = arena + l->in, *b = arena + l->in2;
    const int32x4_t low = vdupq_n_s32(l->low), high = vdupq_n_s32(l->high);
    int8_t *out = arena + l->out;
    const uint32_t count = out_count(l);
    for (uint32_t i = 0; i < count; i += 4) {
        const mve_pred16_t some = vctp32q(count - i);
        const int32x4_t left =
            vshlq_n_s32(vaddq_n_s32(vldrbq_z_s32(a + i, some), l->bias[0]), 20);
        const int32x4_t right =
            vshlq_n_s32(vaddq_n_s32(vldrbq_z_s32(b + i, some), l->bias[1]), 20);
        const int32x4_t sum =
            vaddq_s32(requantize_alike_mve(left, l->multiplier[0], l->shift[0]),
                      requantize_alike_mve(right, l->multiplier[1], l->shift[1]));
        vstrbq_p_s32(out + i,
                     placed_mve(requantize_alike_mve(sum, l->multiplier[2], l->shift[2]),
                                l->out_zero, low, high),
                     some);
    }
}
