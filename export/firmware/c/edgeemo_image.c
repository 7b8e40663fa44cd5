/* SPDX-License-Identifier: MIT */
#include "edgeemo_image.h"

#include <string.h>

#define HEADER_BYTES EDGEEMO_IMAGE_HEADER_BYTES
#define LAYER_BYTES 64U
/* What sums may reach: the kernels double them. */
#define SUM_LIMIT ((int64_t)1 << 30)

static uint32_t u16_at(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t u32_at(const uint8_t *p)
{
    return u16_at(p) | u16_at(p + 2) << 16;
}

/* SHA-256 (FIPS 180-4). */
static const uint32_t sha256_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotated(uint32_t x, int bits)
{
    return x >> bits | x << (32 - bits);
}

static void sha256_block(uint32_t state[8], const uint8_t *block)
{
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; ++i) {
        const uint8_t *p = block + 4 * i;
        w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    }
    for (int i = 16; i < 64; ++i) {
        const uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (rotated(a, 7) ^ rotated(a, 18) ^ a >> 3) +
               (rotated(b, 17) ^ rotated(b, 19) ^ b >> 10);
    }
    memcpy(s, state, sizeof s);
    for (int i = 0; i < 64; ++i) {
        const uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]),
                       majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
        const uint32_t first = s[7] + (rotated(s[4], 6) ^ rotated(s[4], 11) ^ rotated(s[4], 25)) +
                               choice + sha256_constants[i] + w[i];
        const uint32_t second =
            (rotated(s[0], 2) ^ rotated(s[0], 13) ^ rotated(s[0], 22)) + majority;
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += first;
        s[0] = first + second;
    }
    for (int i = 0; i < 8; ++i) {
        state[i] += s[i];
    }
}

static void sha256(const uint8_t *data, uint32_t size, uint8_t digest[32])
{
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    uint8_t block[64];
    uint32_t left = size;
    for (; left >= 64; left -= 64, data += 64) {
        sha256_block(state, data);
    }
    memset(block, 0, sizeof block);
    memcpy(block, data, left);
    block[left] = 0x80;
    if (left >= 56) {
        sha256_block(state, block);
        memset(block, 0, sizeof block);
    }
    for (int i = 0; i < 5; ++i) {
        block[63 - i] = (uint8_t)((uint64_t)size * 8 >> (8 * i));
    }
    sha256_block(state, block);
    for (int i = 0; i < 32; ++i) {
        digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
    }
}

static uint32_t labels_crc32(void)
{
    static const char *const labels[EDGEEMO_LABEL_COUNT] = EDGEEMO_LABELS;
    uint32_t crc = 0;
    for (int i = 0; i < EDGEEMO_LABEL_COUNT; ++i) {
        crc = edgeemo_crc32(crc, "\n", i > 0);
        crc = edgeemo_crc32(crc, labels[i], strlen(labels[i]));
    }
    return crc;
}

/* Whether `bytes` at `offset` end within `size`. */
static int fits(uint64_t offset, uint64_t bytes, uint64_t size)
{
    return offset <= size && bytes <= size - offset;
}

/* A table of the image; none where nothing is expected, or where it would lie elsewhere. */
static const void *table_at(const uint8_t *data, uint32_t image_bytes, uint32_t offset,
                            uint64_t bytes, uint32_t alignment, int *good)
{
    if (bytes == 0) {
        return NULL;
    }
    if (offset < HEADER_BYTES || offset % alignment != 0 || !fits(offset, bytes, image_bytes)) {
        *good = 0;
        return NULL;
    }
    return data + offset;
}

/* What a layer's kernel will touch, and how many numbers it sums for one of its output. */
typedef struct {
    uint64_t weights, parameters, in, in2, out, scratch, terms;
} needs;

static int same_shape(const edgeemo_layer *l)
{
    return l->in_height == l->out_height && l->in_width == l->out_width &&
           l->in_channels == l->out_channels;
}

/* A second input has the output's sides, or 1 where one value serves for all. */
static int second_meets(const edgeemo_layer *l)
{
    return (l->in_height == l->out_height || l->in_height == 1) &&
           (l->in_width == l->out_width || l->in_width == 1) &&
           (l->in_channels == l->out_channels || l->in_channels == 1);
}

/* Of a kernel of two inputs: the second lies in the arena or, as the layer's weights, in the
 * image. */
static void find_inputs(const edgeemo_layer *l, needs *n)
{
    const uint64_t second = n->in;
    n->in = n->out;
    n->weights = l->weight_bytes ? second : 0;
    n->in2 = l->weight_bytes ? 0 : second;
}

/* Every window of a kernel must meet the picture. */
static int windows_meet(const edgeemo_layer *l)
{
    return l->kernel_height > l->pad_top && l->kernel_width > l->pad_left &&
           (uint32_t)(l->out_height - 1) * l->stride_height < (uint32_t)l->in_height + l->pad_top &&
           (uint32_t)(l->out_width - 1) * l->stride_width < (uint32_t)l->in_width + l->pad_left;
}

/* Of a table of a resize: for a row or a column. */
static uint32_t table_bytes(const edgeemo_layer *l)
{
    return l->op == EDGEEMO_RESIZE_BILINEAR ? 6 : 2;
}

static int find_needs(const edgeemo_layer *l, needs *n)
{
    const uint64_t area = (uint64_t)l->kernel_height * l->kernel_width,
                   size = area * l->in_channels;
    const uint64_t channels = l->out_channels;
    memset(n, 0, sizeof *n);
    n->terms = 1;
    n->in = (uint64_t)l->in_height * l->in_width * l->in_channels;
    n->out = (uint64_t)l->out_height * l->out_width * channels;
    if (!n->in || !n->out || !area || !l->stride_height || !l->stride_width) {
        return 0;
    }
    switch (l->op) {
    case EDGEEMO_LOOKUP: n->weights = 256; return n->in == n->out;
    case EDGEEMO_CONV_2D:
    case EDGEEMO_WIDE_CONV_2D:
        n->weights =
            size * channels + (16 - size % 16) % 16; /* the zeros at the end are for wide loads */
        n->parameters = channels;
        n->terms = size;
        n->scratch = 4 * ((size + 15) / 16 * 16) + 8 * channels;
        return windows_meet(l);
    case EDGEEMO_DEPTHWISE_CONV_2D:
    case EDGEEMO_WIDE_DEPTHWISE_CONV_2D:
        n->weights = area * channels;
        n->parameters = channels;
        n->terms = area;
        n->scratch = 4 * channels;
        return channels % l->in_channels == 0 && windows_meet(l);
    case EDGEEMO_FULLY_CONNECTED:
        n->weights = l->in_channels * channels;
        n->parameters = channels;
        n->terms = l->in_channels;
        return n->in == l->in_channels && n->out == channels;
    case EDGEEMO_ADD:
        n->parameters = 3;
        n->in2 = n->in;
        n->scratch = 2048;
        return same_shape(l);
    case EDGEEMO_BROADCAST_ADD:
        n->parameters = 3;
        n->scratch = 2048;
        find_inputs(l, n);
        return second_meets(l);
    case EDGEEMO_MUL:
        n->parameters = 1;
        find_inputs(l, n);
        return second_meets(l);
    case EDGEEMO_SOFTMAX:
        n->weights = 4 * 256;
        n->terms = 4;
        return same_shape(l) && channels <= EDGEEMO_IMAGE_MAX_SOFTMAX;
    case EDGEEMO_RESIZE_NEAREST:
    case EDGEEMO_RESIZE_BILINEAR:
        n->weights = (uint64_t)table_bytes(l) * ((uint64_t)l->out_height + l->out_width);
        n->terms = l->op == EDGEEMO_RESIZE_BILINEAR ? 4 : 1;
        return l->in_channels == channels;
    case EDGEEMO_CONCATENATION: /* from the first byte that it writes to the last */
        n->out = ((uint64_t)(l->in_height - 1) * l->out_width + l->in_width - 1) * channels +
                 l->in_channels;
        return l->in_height <= l->out_height && l->in_width <= l->out_width &&
               l->in_channels <= channels;
    case EDGEEMO_AVERAGE_POOL_2D:
    case EDGEEMO_MAX_POOL_2D:
        n->terms = area;
        return l->in_channels == l->out_channels && windows_meet(l);
    case EDGEEMO_MEAN:
        n->parameters = 1;
        n->terms = (uint64_t)l->in_height * l->in_width;
        return n->out == channels && l->in_channels == channels;
    case EDGEEMO_PAD:
        return l->in_channels == channels && l->in_height + l->pad_top <= l->out_height &&
               l->in_width + l->pad_left <= l->out_width;
    default: return 0;
    }
}

/* Whether two parts of the arena share no byte; none shares one with an empty part. */
static int apart(uint32_t a, uint64_t a_bytes, uint32_t b, uint64_t b_bytes)
{
    return !a_bytes || !b_bytes || a + a_bytes <= b || b + b_bytes <= a;
}

static int adds(const edgeemo_layer *l)
{
    return l->op == EDGEEMO_ADD || l->op == EDGEEMO_BROADCAST_ADD;
}

static int works_in_place(const edgeemo_layer *l)
{
    return l->op == EDGEEMO_LOOKUP || adds(l) || l->op == EDGEEMO_MUL || l->op == EDGEEMO_SOFTMAX;
}

/* A kernel's parts of the arena lie within it and apart, but for outputs in the place of an input
 * of a kernel that can work so. */
static int places_good(const edgeemo_layer *l, const needs *n, uint32_t arena_bytes)
{
    const int in_place = works_in_place(l);
    return fits(l->in, n->in, arena_bytes) && fits(l->in2, n->in2, arena_bytes) &&
           fits(l->out, n->out, arena_bytes) && fits(l->scratch, n->scratch, arena_bytes) &&
           l->scratch % 4 == 0 && apart(l->scratch, n->scratch, l->in, n->in) &&
           apart(l->scratch, n->scratch, l->in2, n->in2) &&
           apart(l->scratch, n->scratch, l->out, n->out) &&
           ((in_place && l->out == l->in) || apart(l->out, n->out, l->in, n->in)) &&
           ((in_place && n->in2 == n->out && l->out == l->in2) ||
            apart(l->out, n->out, l->in2, n->in2));
}

/* Whether all numbers from `low` to `high` stay below a limit when they are shifted left. */
static int below(int64_t limit, int64_t low, int64_t high, int32_t shift)
{
    limit >>= shift > 0 ? shift : 0;
    return low > -limit && high < limit;
}

static int below_limit(int64_t low, int64_t high, int32_t shift)
{
    return below(SUM_LIMIT, low, high, shift);
}

/* The sums of all inputs that there can be. A part of a sum lies between the same ends. */
static int products_below_limit(const edgeemo_layer *l, uint64_t terms)
{
    /* The others double their sums. */
    const int64_t limit = l->op == EDGEEMO_CONV_2D || l->op == EDGEEMO_DEPTHWISE_CONV_2D
                              ? SUM_LIMIT
                              : 2 * SUM_LIMIT;
    const int depthwise =
        l->op == EDGEEMO_DEPTHWISE_CONV_2D || l->op == EDGEEMO_WIDE_DEPTHWISE_CONV_2D;
    const size_t first = depthwise ? 1 : (size_t)terms, next = depthwise ? l->out_channels : 1;
    for (size_t c = 0; c < l->out_channels; ++c) {
        int64_t above = 0, under = 0;
        for (size_t i = 0; i < terms; ++i) {
            const int8_t w = l->weights[c * first + i * next];
            above += w > 0 ? w : 0;
            under += w < 0 ? w : 0;
        }
        if (!below(limit, l->bias[c] + 127 * under - 128 * above,
                   l->bias[c] + 127 * above - 128 * under, l->shift[c])) {
            return 0;
        }
    }
    return 1;
}

/* Both terms of an addition, and their sum. */
static int addition_below_limit(const edgeemo_layer *l)
{
    int64_t sum = 0;
    for (int i = 0; i < 2; ++i) {
        const int32_t bias = l->bias[i], shift = l->shift[i];
        const int64_t multiplier = l->multiplier[i];
        int64_t largest;
        if (bias < -127 || bias > 128) {
            return 0; /* the negative of no int8 */
        }
        largest = (int64_t)(bias > 0 ? 127 + bias : 128 - bias) << 20;
        if (!below_limit(0, largest, shift)) {
            return 0;
        }
        largest = (largest << (shift > 0 ? shift : 0)) *
                      (multiplier < 0 ? -multiplier : multiplier) >> 31;
        sum += (largest >> (shift < 0 ? -shift : 0)) + 2; /* it is rounded twice */
    }
    return below_limit(-sum, sum, l->shift[2]);
}

static int product_below_limit(const edgeemo_layer *l)
{
    const int64_t a = l->in_zero, b = l->bias[0];
    const int64_t largest = (a < 0 ? 127 - a : 128 + a) * (b > 0 ? 127 + b : 128 - b);
    return b >= -127 && b <= 128 && below_limit(-largest, largest, l->shift[0]);
}

/* The largest difference has the exponential 1; the others are no larger, and not negative. */
static int softmax_good(const int8_t *weights)
{
    const uint8_t *table = (const uint8_t *)weights;
    uint32_t before = INT32_MAX;
    for (int i = 0; i < 256; ++i) {
        const uint32_t value = u32_at(table + 4 * i);
        if (value > before || (i == 0 && value != INT32_MAX)) {
            return 0;
        }
        before = value;
    }
    return 1;
}

/* Rows or columns of the input that are there, and 0 to 1024 of 1024 for the second of two. */
static int sources_good(const edgeemo_layer *l)
{
    const uint32_t bytes = table_bytes(l), count = (uint32_t)l->out_height + l->out_width;
    const uint8_t *p = (const uint8_t *)l->weights;
    for (uint32_t i = 0; i < count; ++i, p += bytes) {
        const uint32_t side = i < l->out_height ? l->in_height : l->in_width;
        if (u16_at(p) >= side || (bytes > 2 && (u16_at(p + 2) >= side || u16_at(p + 4) > 1024))) {
            return 0;
        }
    }
    return 1;
}

static int numbers_good(const edgeemo_layer *l, const needs *n)
{
    for (uint32_t i = 0; i < l->parameters; ++i) {
        const int subtracts = adds(l) && i < 2 && l->multiplier[i] != INT32_MIN;
        if ((l->multiplier[i] < 0 && !subtracts) || l->shift[i] < -31 || l->shift[i] > 29) {
            return 0;
        }
    }
    switch (l->op) {
    case EDGEEMO_CONV_2D:
    case EDGEEMO_DEPTHWISE_CONV_2D:
    case EDGEEMO_WIDE_CONV_2D:
    case EDGEEMO_WIDE_DEPTHWISE_CONV_2D:
    case EDGEEMO_FULLY_CONNECTED: return products_below_limit(l, n->terms);
    case EDGEEMO_ADD:
    case EDGEEMO_BROADCAST_ADD: return addition_below_limit(l);
    case EDGEEMO_MUL: return product_below_limit(l);
    case EDGEEMO_SOFTMAX: return softmax_good(l->weights);
    case EDGEEMO_RESIZE_NEAREST:
    case EDGEEMO_RESIZE_BILINEAR: return sources_good(l);
    case EDGEEMO_MEAN:
        return below_limit(l->bias[0] - 128 * (int64_t)n->terms,
                           l->bias[0] + 127 * (int64_t)n->terms, l->shift[0]);
    default: return 1;
    }
}

/* Reads one layer and checks all that its kernel would trust; `work` grows by what it sums. */
static int read_layer(edgeemo_layer *l, const uint8_t *p, const uint8_t *data, uint32_t image_bytes,
                      uint32_t arena_bytes, uint64_t *work)
{
    needs n;
    int good = 1;
    memset(l, 0, sizeof *l);
    l->weight_bytes = u32_at(p + 16);
    l->in = u32_at(p + 20);
    l->in2 = u32_at(p + 24);
    l->out = u32_at(p + 28);
    l->scratch = u32_at(p + 32);
    l->in_height = (uint16_t)u16_at(p + 36);
    l->in_width = (uint16_t)u16_at(p + 38);
    l->in_channels = (uint16_t)u16_at(p + 40);
    l->out_height = (uint16_t)u16_at(p + 42);
    l->out_width = (uint16_t)u16_at(p + 44);
    l->out_channels = (uint16_t)u16_at(p + 46);
    l->parameters = (uint16_t)u16_at(p + 48);
    l->op = p[50];
    l->kernel_height = p[51];
    l->kernel_width = p[52];
    l->stride_height = p[53];
    l->stride_width = p[54];
    l->pad_top = p[55];
    l->pad_left = p[56];
    l->in_zero = (int8_t)p[57];
    l->out_zero = (int8_t)p[58];
    l->low = (int8_t)p[59];
    l->high = (int8_t)p[60];
    if (!find_needs(l, &n) || l->parameters != n.parameters || l->weight_bytes != n.weights ||
        l->low > l->high || !places_good(l, &n, arena_bytes)) {
        return 0;
    }
    *work += n.out * n.terms;
    l->weights = table_at(data, image_bytes, u32_at(p), l->weight_bytes, 1, &good);
    l->bias = table_at(data, image_bytes, u32_at(p + 4), 4 * n.parameters, 4, &good);
    l->multiplier = table_at(data, image_bytes, u32_at(p + 8), 4 * n.parameters, 4, &good);
    l->shift = table_at(data, image_bytes, u32_at(p + 12), n.parameters, 1, &good);
    return good && *work <= EDGEEMO_IMAGE_MAX_WORK && numbers_good(l, &n);
}

/* The softmax divides by their sum. */
static int exponentials_good(const uint16_t *table)
{
    for (int i = 1; i < 256; ++i) {
        if (table[i] > table[i - 1]) {
            return 0;
        }
    }
    return table[0] == 32768;
}

/* A name is written to serial ports: 1 to 64 printable letters of ASCII, and zeros. */
static int name_good(const uint8_t *name)
{
    int end = 0, i;
    while (end < EDGEEMO_IMAGE_NAME_BYTES && name[end] >= ' ' && name[end] <= '~') {
        ++end;
    }
    for (i = end; i < EDGEEMO_IMAGE_NAME_BYTES && name[i] == 0; ++i) {
    }
    return end > 0 && i == EDGEEMO_IMAGE_NAME_BYTES;
}

static edgeemo_image_error read_network(edgeemo_image *image, const uint8_t *data)
{
    const uint32_t layers_at = u32_at(data + 28), exponentials_at = u32_at(data + 32),
                   vectors_at = u32_at(data + 36);
    edgeemo_network *network = &image->network;
    const uint64_t vector_bytes =
        (uint64_t)image->vector_count * (EDGEEMO_INPUT_BYTES + EDGEEMO_LABEL_COUNT);
    const uint32_t pixel_tables_at = u32_at(data + 196);
    uint64_t work = 0;
    int good = 1;
    network->pixel_table_count = u32_at(data + 200);
    network->in = u32_at(data + 44);
    network->out = u32_at(data + 48);
    network->in_bytes = u32_at(data + 52);
    network->out_bytes = u32_at(data + 56);
    if (network->in_bytes != EDGEEMO_INPUT_BYTES || network->out_bytes != EDGEEMO_LABEL_COUNT ||
        (network->pixel_table_count > 1 && network->pixel_table_count != EDGEEMO_INPUT_CHANNELS) ||
        !network->layer_count || network->layer_count > EDGEEMO_IMAGE_MAX_LAYERS ||
        network->arena_bytes > EDGEEMO_IMAGE_MAX_ARENA || layers_at < HEADER_BYTES ||
        !fits(network->in, network->in_bytes, network->arena_bytes) ||
        !fits(network->out, network->out_bytes, network->arena_bytes) ||
        !fits(layers_at, (uint64_t)network->layer_count * LAYER_BYTES, image->image_bytes)) {
        return EDGEEMO_IMAGE_LAYERS_BAD;
    }
    /* None where the network itself ends in a softmax. */
    network->exponentials = table_at(data, image->image_bytes, exponentials_at,
                                     exponentials_at ? 512 : 0, 2, &good);
    network->pixel_tables = table_at(data, image->image_bytes, pixel_tables_at,
                                     256 * (uint64_t)network->pixel_table_count, 1, &good);
    image->vectors = table_at(data, image->image_bytes, vectors_at, vector_bytes, 1, &good);
    good = good && (!network->exponentials || exponentials_good(network->exponentials));
    for (uint32_t i = 0; good && i < network->layer_count; ++i) {
        good = read_layer(&image->layers[i], data + layers_at + i * LAYER_BYTES, data,
                          image->image_bytes, network->arena_bytes, &work);
    }
    network->layers = image->layers;
    return good ? EDGEEMO_IMAGE_OK : EDGEEMO_IMAGE_LAYERS_BAD;
}

static edgeemo_image_error read_image(edgeemo_image *image, const void *start, size_t size,
                                      uint32_t arena_capacity)
{
    const uint8_t *data = start;
    uint8_t digest[32];
    if (size < HEADER_BYTES || memcmp(data, "edgeemo", 8) != 0) {
        return EDGEEMO_IMAGE_ABSENT;
    }
    if (u32_at(data + 8) != EDGEEMO_IMAGE_SCHEMA) {
        return EDGEEMO_IMAGE_SCHEMA_OTHER;
    }
    image->image_bytes = u32_at(data + 16);
    if (u32_at(data + 12) != HEADER_BYTES || image->image_bytes <= HEADER_BYTES ||
        image->image_bytes > size || (uintptr_t)start % 4 != 0) {
        return EDGEEMO_IMAGE_CUT_OFF;
    }
    if (edgeemo_crc32(0, data, HEADER_BYTES - 4) != u32_at(data + HEADER_BYTES - 4)) {
        return EDGEEMO_IMAGE_HEADER_DAMAGED;
    }
    sha256(data + HEADER_BYTES, image->image_bytes - HEADER_BYTES, digest);
    image->sha256 = data + 80;
    if (memcmp(digest, image->sha256, sizeof digest) != 0) {
        return EDGEEMO_IMAGE_DAMAGED;
    }
    if (!name_good(data + 132)) {
        return EDGEEMO_IMAGE_HEADER_DAMAGED;
    }
    if (u32_at(data + 60) != labels_crc32()) {
        return EDGEEMO_IMAGE_LABELS_OTHER;
    }
    if (memcmp(data + 64, EDGEEMO_INPUT_FINGERPRINT, 16) != 0) {
        return EDGEEMO_IMAGE_INPUT_OTHER;
    }
    image->network.arena_bytes = u32_at(data + 20);
    if (image->network.arena_bytes > arena_capacity) {
        return EDGEEMO_IMAGE_NEEDS_RAM;
    }
    image->network.layer_count = u32_at(data + 24);
    image->vector_count = u32_at(data + 40);
    for (int i = 0; i < 3; ++i) {
        image->version[i] = (uint16_t)u16_at(data + 112 + 2 * i);
    }
    image->smoothing_window_ms = u32_at(data + 120);
    image->smoothing_hold_ms = u32_at(data + 124);
    image->smoothing_floor_q15 = u32_at(data + 128);
    memcpy(image->name, data + 132, EDGEEMO_IMAGE_NAME_BYTES);
    if (!image->vector_count || image->vector_count > EDGEEMO_IMAGE_MAX_VECTORS) {
        return EDGEEMO_IMAGE_UNTESTED;
    }
    return read_network(image, data);
}

edgeemo_image_error edgeemo_image_open(edgeemo_image *image, const void *start, size_t size,
                                       uint32_t arena_capacity)
{
    edgeemo_image_error error;
    memset(image, 0, sizeof *image);
    error = read_image(image, start, size, arena_capacity);
    if (error != EDGEEMO_IMAGE_OK) {
        memset(image, 0, sizeof *image); /* nothing of it can be run by mistake */
    }
    return error;
}

edgeemo_image_error edgeemo_image_selftest(const edgeemo_image *image, int8_t *arena)
{
    const uint8_t *outputs;
    if (!image->vector_count) {
        return EDGEEMO_IMAGE_UNTESTED;
    }
    outputs = image->vectors + (size_t)image->vector_count * EDGEEMO_INPUT_BYTES;
    for (uint32_t i = 0; i < image->vector_count; ++i) {
        int8_t logits[EDGEEMO_LABEL_COUNT];
        edgeemo_run(&image->network, arena, image->vectors + (size_t)i * EDGEEMO_INPUT_BYTES,
                    logits);
        if (memcmp(logits, outputs + (size_t)i * EDGEEMO_LABEL_COUNT, sizeof logits) != 0) {
            return EDGEEMO_IMAGE_ANSWERS_BAD;
        }
    }
    return EDGEEMO_IMAGE_OK;
}

const char *edgeemo_image_text(edgeemo_image_error error)
{
    switch (error) {
    case EDGEEMO_IMAGE_OK: return "good";
    case EDGEEMO_IMAGE_ABSENT: return "no model here";
    case EDGEEMO_IMAGE_SCHEMA_OTHER:
        return "of another schema; make it again with the edgeemo that made this firmware";
    case EDGEEMO_IMAGE_CUT_OFF: return "cut off";
    case EDGEEMO_IMAGE_HEADER_DAMAGED: return "its header is damaged";
    case EDGEEMO_IMAGE_DAMAGED: return "damaged: its SHA-256 does not match";
    case EDGEEMO_IMAGE_LABELS_OTHER: return "made for another order of labels";
    case EDGEEMO_IMAGE_INPUT_OTHER: return "made for another preprocessing than this firmware's";
    case EDGEEMO_IMAGE_NEEDS_RAM: return "needs a larger arena than this firmware has";
    case EDGEEMO_IMAGE_LAYERS_BAD: return "holds layers that this firmware cannot run";
    case EDGEEMO_IMAGE_UNTESTED: return "holds no self-test of 1 to 64 patterns";
    case EDGEEMO_IMAGE_ANSWERS_BAD: return "its self-test fails on this device";
    }
    return "unknown";
}
