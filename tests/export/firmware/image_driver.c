/* Draws flash images, most of which lie under matching hashes, opens them and runs those that the
 * loader takes. With -DDRIVER_MAIN a program: SEED IMAGES SECONDS; with -DDRIVER_LIBFUZZER a target
 * of libFuzzer; else a library for the tests. Meant for -fsanitize=address,undefined. */
#include "edgeemo_image.c"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ARENA_BYTES 65536U
#define IMAGE_BYTES 65536U

void seal(uint8_t *image, uint32_t size);
uint32_t drawn_image(uint64_t seed, uint8_t *image);
uint32_t tried(const uint8_t *bytes, uint32_t size, uint32_t *crc);

/* xorshift64*. */
static uint64_t state;

static uint32_t drawn(uint32_t below)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * 0x2545F4914F6CDD1DU) >> 33) % below;
}

static int one_in(uint32_t n)
{
    return drawn(n) == 0;
}

static void put16(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
}

static void put32(uint8_t *p, uint32_t value)
{
    put16(p, value);
    put16(p + 2, value >> 16);
}

/* Makes a header's marks and hashes fit, as somebody who means it would. */
void seal(uint8_t *image, uint32_t size)
{
    memcpy(image, "edgeemo", 8);
    put32(image + 8, EDGEEMO_IMAGE_SCHEMA);
    put32(image + 12, HEADER_BYTES);
    put32(image + 16, size);
    put32(image + 60, labels_crc32());
    memcpy(image + 64, EDGEEMO_INPUT_FINGERPRINT, 16);
    sha256(image + HEADER_BYTES, size - HEADER_BYTES, image + 80);
    put32(image + HEADER_BYTES - 4, edgeemo_crc32(0, image, HEADER_BYTES - 4));
}

static uint32_t size_of_image;

/* A table of bytes, most of them drawn by `draw`, at the end of the image; its offset. */
static uint32_t added(uint8_t *image, uint32_t bytes, uint8_t (*draw)(void))
{
    const uint32_t at = (size_of_image + 3) / 4 * 4;
    if (bytes == 0 || at + bytes > IMAGE_BYTES) {
        return 0;
    }
    for (uint32_t i = 0; i < bytes; ++i) {
        image[at + i] = draw();
    }
    size_of_image = at + bytes;
    return at;
}

static uint32_t kind;

static uint8_t drawn_weight(void)
{
    switch (kind) {
    case 0: return 0x80;
    case 1: return 0x7F;
    case 2: return 0;
    default: return (uint8_t)drawn(256);
    }
}

static uint8_t any_byte(void)
{
    return (uint8_t)drawn(256);
}

static int32_t drawn_bias(void)
{
    static const int32_t edges[] = {INT32_MAX, INT32_MIN, 1 << 30, -(1 << 30), 0, 128, -127};
    const int32_t edge = edges[drawn(7)];
    switch (drawn(4)) {
    case 0: return (int32_t)((uint32_t)edge + drawn(5) - 2);
    case 1: return (int32_t)((uint32_t)edge + (drawn(1U << 24) - (1U << 23)));
    case 2: return (int32_t)(drawn(1U << 31) + drawn(2) * (1U << 31));
    default: return (int32_t)drawn(512) - 256;
    }
}

static int32_t drawn_multiplier(void)
{
    static const int32_t edges[] = {INT32_MAX, INT32_MIN, 0, -1, 1 << 30, 1};
    return one_in(12) ? edges[drawn(6)] : (int32_t)drawn(1U << 31);
}

static uint8_t drawn_shift(void)
{
    switch (drawn(12)) {
    case 0: return any_byte();
    case 1: return 29;
    case 2: return (uint8_t)-31;
    case 3: return (uint8_t)drawn(12);
    default: return (uint8_t)-(int)drawn(16);
    }
}

/* Biases, multipliers and shifts, most of them small enough for a sum. */
static void add_parameters(uint8_t *image, uint8_t *layer, uint32_t count, int tame)
{
    const uint32_t bias = added(image, 4 * count, any_byte),
                   multiplier = added(image, 4 * count, any_byte),
                   shift = added(image, count, drawn_shift);
    put32(layer + 4, bias);
    put32(layer + 8, multiplier);
    put32(layer + 12, shift);
    for (uint32_t i = 0; bias && multiplier && i < count; ++i) {
        put32(image + bias + 4 * i, (uint32_t)(tame ? (int32_t)drawn(256) - 127 : drawn_bias()));
        put32(image + multiplier + 4 * i,
              (uint32_t)(tame ? (int32_t)drawn(1U << 31) : drawn_multiplier()));
        if (tame && shift) {
            image[shift + i] = (uint8_t)-(int)drawn(20);
        }
    }
}

/* Somewhere in the arena, most often where nothing else of the layer is. */
static uint32_t place(uint32_t *next, uint64_t bytes)
{
    const uint32_t at = *next;
    if (one_in(40)) {
        return drawn(ARENA_BYTES);
    }
    *next += (uint32_t)(bytes + 3) / 4 * 4;
    return at;
}

/* The second input of a kernel of two: of the output's sides or of 1, in the arena or constant. */
static void draw_second(edgeemo_layer *l)
{
    l->out_height = l->in_height;
    l->out_width = l->in_width;
    l->in_height = one_in(2) ? 1 : l->in_height;
    l->in_width = one_in(2) ? 1 : l->in_width;
    l->in_channels = one_in(4) ? 1 : l->in_channels;
    if (one_in(3)) {
        l->weight_bytes = (uint32_t)l->in_height * l->in_width * l->in_channels;
    }
}

/* A shape that the operator's kernel can run, most often. */
static void draw_shapes(edgeemo_layer *l)
{
    l->op = (uint8_t)(1 + drawn(17));
    l->in_height = (uint16_t)(1 + drawn(9));
    l->in_width = (uint16_t)(1 + drawn(9));
    l->in_channels = (uint16_t)(1 + drawn(one_in(4) ? 40 : 6));
    l->kernel_height = (uint8_t)(1 + drawn(4));
    l->kernel_width = (uint8_t)(1 + drawn(4));
    l->stride_height = (uint8_t)(1 + drawn(3));
    l->stride_width = (uint8_t)(1 + drawn(3));
    l->pad_top = (uint8_t)drawn(l->kernel_height);
    l->pad_left = (uint8_t)drawn(l->kernel_width);
    l->out_height = (uint16_t)((l->in_height + l->pad_top - 1) / l->stride_height + 1);
    l->out_width = (uint16_t)((l->in_width + l->pad_left - 1) / l->stride_width + 1);
    l->out_channels = l->in_channels;
    if (l->op == EDGEEMO_LOOKUP || l->op == EDGEEMO_SOFTMAX || l->op == EDGEEMO_ADD) {
        l->out_height = l->in_height;
        l->out_width = l->in_width;
    } else if (l->op == EDGEEMO_BROADCAST_ADD || l->op == EDGEEMO_MUL) {
        draw_second(l);
    } else if (l->op == EDGEEMO_RESIZE_NEAREST || l->op == EDGEEMO_RESIZE_BILINEAR) {
        l->out_height = (uint16_t)(1 + drawn(12));
        l->out_width = (uint16_t)(1 + drawn(12));
    } else if (l->op == EDGEEMO_CONCATENATION) {
        l->out_height = (uint16_t)(l->in_height + drawn(3));
        l->out_width = (uint16_t)(l->in_width + drawn(3));
        l->out_channels = (uint16_t)(l->in_channels + drawn(5));
    } else if (l->op == EDGEEMO_CONV_2D || l->op == EDGEEMO_WIDE_CONV_2D) {
        l->out_channels = (uint16_t)(1 + drawn(20));
    } else if (l->op == EDGEEMO_DEPTHWISE_CONV_2D ||
               l->op == EDGEEMO_WIDE_DEPTHWISE_CONV_2D) {
        l->out_channels = (uint16_t)(l->in_channels * (1 + drawn(3)));
    } else if (l->op == EDGEEMO_FULLY_CONNECTED) {
        l->in_height = l->in_width = l->out_height = l->out_width = 1;
        l->out_channels = (uint16_t)(1 + drawn(20));
    } else if (l->op == EDGEEMO_MEAN) {
        l->out_height = l->out_width = 1;
    } else if (l->op == EDGEEMO_PAD) {
        l->out_height = (uint16_t)(l->in_height + l->pad_top + drawn(3));
        l->out_width = (uint16_t)(l->in_width + l->pad_left + drawn(3));
    }
}

/* A table that the operator's kernel can use, most often, where it has one. */
static void draw_table(const edgeemo_layer *l, uint8_t *table)
{
    const uint32_t bytes = table_bytes(l), count = (uint32_t)l->out_height + l->out_width;
    if (l->op == EDGEEMO_SOFTMAX) {
        uint32_t value = one_in(16) ? drawn(1U << 31) : INT32_MAX;
        const uint32_t step = drawn(1U << drawn(32));
        for (uint32_t i = 0; i < 256; ++i, value -= value < step ? value : step) {
            put32(table + 4 * i, value);
        }
    } else if (l->op == EDGEEMO_RESIZE_NEAREST || l->op == EDGEEMO_RESIZE_BILINEAR) {
        for (uint32_t i = 0; i < count; ++i, table += bytes) {
            const uint32_t side = i < l->out_height ? l->in_height : l->in_width;
            put16(table, drawn(side + (uint32_t)one_in(400)));
            if (bytes > 2) {
                put16(table + 2, drawn(side + (uint32_t)one_in(400)));
                put16(table + 4, one_in(400) ? drawn(65536) : drawn(1025));
            }
        }
    }
}

static void draw_layer(uint8_t *image, uint8_t *p)
{
    const int tame = one_in(2);
    edgeemo_layer l;
    needs n;
    uint32_t next = 0;
    memset(&l, 0, sizeof l);
    draw_shapes(&l);
    (void)find_needs(&l, &n);
    kind = drawn(12);
    put32(p, added(image, (uint32_t)n.weights, drawn_weight));
    if (u32_at(p)) {
        draw_table(&l, image + u32_at(p));
    }
    add_parameters(image, p, (uint32_t)n.parameters, tame);
    put32(p + 16, (uint32_t)n.weights);
    put32(p + 20, place(&next, n.in));
    put32(p + 24, place(&next, n.in2));
    put32(p + 32, place(&next, n.scratch));
    put32(p + 28, works_in_place(&l) && one_in(2)
                      ? u32_at(p + 20)
                      : place(&next, n.out));
    put16(p + 36, l.in_height);
    put16(p + 38, l.in_width);
    put16(p + 40, l.in_channels);
    put16(p + 42, l.out_height);
    put16(p + 44, l.out_width);
    put16(p + 46, l.out_channels);
    put16(p + 48, (uint32_t)n.parameters);
    memcpy(p + 50, &l.op, 7); /* to pad_left */
    p[57] = any_byte();
    p[58] = any_byte();
    p[59] = one_in(3) ? any_byte() : 0x80;
    p[60] = one_in(3) ? any_byte() : 0x7F;
}

/* Draws an image of at most IMAGE_BYTES; its size. */
uint32_t drawn_image(uint64_t seed, uint8_t *image)
{
    static const uint8_t values[] = {0, 1, 2, 4, 127, 128, 255};
    uint32_t layers, softmax, at;
    state = (seed + 1) * 0x9E3779B97F4A7C15U;
    layers = 1 + drawn(4);
    memset(image, 0, HEADER_BYTES + layers * LAYER_BYTES);
    size_of_image = HEADER_BYTES + layers * LAYER_BYTES;
    put32(image + 20, one_in(8) ? drawn(ARENA_BYTES) : ARENA_BYTES);
    put32(image + 24, layers);
    put32(image + 28, HEADER_BYTES);
    softmax = added(image, 512, any_byte);
    for (uint32_t i = 0; i < 256; ++i) {
        put16(image + softmax + 2 * i, i < 128 ? 32768 - 256 * i : 0);
    }
    put32(image + 32, one_in(8) ? 0 : softmax);
    put32(image + 40, one_in(16) ? 0 : 1 + drawn(2));
    put32(image + 36, added(image, u32_at(image + 40) * (EDGEEMO_INPUT_BYTES + EDGEEMO_LABEL_COUNT),
                            any_byte));
    put32(image + 44, one_in(8) ? drawn(ARENA_BYTES) : 0);
    put32(image + 48, one_in(8) ? drawn(ARENA_BYTES) : 4 * drawn(64));
    put32(image + 52, EDGEEMO_INPUT_BYTES);
    put32(image + 56, EDGEEMO_LABEL_COUNT);
    memcpy(image + 132, "drawn", 5);
    put32(image + 200, one_in(3) ? drawn(4) : 0);
    put32(image + 196, added(image, 256 * u32_at(image + 200), any_byte));
    for (uint32_t i = 0; i < layers; ++i) {
        draw_layer(image, image + HEADER_BYTES + i * LAYER_BYTES);
    }
    for (uint32_t lies = one_in(2) ? 0 : drawn(4); lies; --lies) {
        at = one_in(6) ? 20 + drawn(184) : HEADER_BYTES + drawn(size_of_image - HEADER_BYTES);
        if (!one_in(4)) {
            at = HEADER_BYTES + drawn(layers * LAYER_BYTES);
        }
        image[at] = one_in(2) ? values[drawn(7)] : any_byte();
    }
    seal(image, size_of_image);
    return size_of_image;
}

/* Opens an image and, where it is good, runs it: the loader's answer. Image and arena end where
 * the sanitizer watches; `crc` goes on over what the network leaves. */
uint32_t tried(const uint8_t *bytes, uint32_t size, uint32_t *crc)
{
    static edgeemo_image image;
    uint8_t *copy = malloc(size);
    uint32_t error;
    memcpy(copy, bytes, size);
    error = edgeemo_image_open(&image, copy, size, ARENA_BYTES);
    if (error == EDGEEMO_IMAGE_OK) {
        const uint32_t arena_bytes = image.network.arena_bytes;
        int8_t *arena = malloc(arena_bytes), logits[EDGEEMO_LABEL_COUNT];
        uint16_t scores[EDGEEMO_LABEL_COUNT];
        memset(arena, 3, arena_bytes);
        (void)edgeemo_image_selftest(&image, arena);
        memset(arena, 3, arena_bytes);
        for (uint32_t i = 0; i < image.network.layer_count; ++i) {
            edgeemo_run_layer(&image.layers[i], arena);
            /* The scratch is whatever a variant leaves. A part of a concatenation may begin so that
             * the whole would end beyond the arena. */
            const size_t most = arena_bytes - image.layers[i].out,
                         whole = (size_t)image.layers[i].out_height * image.layers[i].out_width *
                                 image.layers[i].out_channels;
            *crc = edgeemo_crc32(*crc, arena + image.layers[i].out, whole < most ? whole : most);
            memset(arena, (int)i, arena_bytes);
        }
        edgeemo_run(&image.network, arena, image.vectors, logits);
        edgeemo_scores_q15(image.network.exponentials, logits, scores, EDGEEMO_LABEL_COUNT);
        free(arena);
    }
    free(copy);
    return error;
}

#ifdef DRIVER_LIBFUZZER
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t image[IMAGE_BYTES];
    uint32_t crc = 0;
    if (size > HEADER_BYTES && size <= IMAGE_BYTES) {
        memcpy(image, data, size);
        seal(image, (uint32_t)size);
        (void)tried(image, (uint32_t)size, &crc);
    }
    return 0;
}
#endif

#ifdef DRIVER_MAIN
/* How many images were taken, of how many, and a sum over what they computed. */
int main(int count, char **arguments)
{
    static uint8_t image[IMAGE_BYTES];
    const uint64_t seed = count > 1 ? strtoull(arguments[1], NULL, 10) : 0;
    const uint64_t images = count > 2 ? strtoull(arguments[2], NULL, 10) : UINT64_MAX;
    const time_t end = time(NULL) + (count > 3 ? strtol(arguments[3], NULL, 10) : 1L << 30);
    uint64_t taken = 0, i;
    uint32_t crc = 0;
    for (i = 0; i < images && time(NULL) < end; ++i) {
        const uint32_t size = drawn_image(seed + i, image);
        taken += tried(image, size, &crc) == EDGEEMO_IMAGE_OK;
    }
    printf("%llu of %llu taken, %08lX\n", (unsigned long long)taken, (unsigned long long)i,
           (unsigned long)crc);
    return 0;
}
#endif
