/* SPDX-License-Identifier: MIT */
#include "edgeemo_find.h"

/* The crop of a frame, once more for the detector's input. */
#define HEIGHT EDGEEMO_FIND_HEIGHT
#define WIDTH EDGEEMO_FIND_WIDTH
#define CHANNELS 1
#define FACE_TO_INPUT static int frame_to_input
#include "edgeemo_preprocess.c"

#define ROW 5
#define REMOVED (-128) /* below every threshold: it is generated so */

/* Edges in 1/16 pixel of the input. */
typedef struct {
    int32_t left, top, right, bottom;
} edges;

/* The smallest box of the input's shape that holds the frame, in its middle. */
static edgeemo_box whole_frame(const edgeemo_frame *frame)
{
    edgeemo_box box;
    box.width = larger(frame->width, (frame->height * WIDTH + HEIGHT - 1) / HEIGHT);
    box.height = larger(frame->height, (frame->width * HEIGHT + WIDTH - 1) / WIDTH);
    box.x = floor_shift(frame->width - box.width, 1);
    box.y = floor_shift(frame->height - box.height, 1);
    return box;
}

/* max(0, q * multiplier / 2^16), rounded half up; q above the zero point. */
static int32_t away(int32_t q, int32_t multiplier)
{
    return q <= 0 ? 0 : (int32_t)(((int64_t)q * multiplier + 32768) >> 16);
}

/* The edges of a cell of all grids. */
static edges edges_of(const int8_t *rows, int32_t cell)
{
    const int8_t *row = rows + cell * ROW;
    const edgeemo_grid *grid = edgeemo_find_grids;
    int32_t x, y;
    edges e;
    while (cell >= grid->rows * grid->columns) {
        cell -= grid->rows * grid->columns;
        ++grid;
    }
    x = (2 * (cell % grid->columns) + 1) * grid->stride * 8;
    y = (2 * (cell / grid->columns) + 1) * grid->stride * 8;
    e.left = x - away(row[1] - EDGEEMO_FIND_ZERO, grid->multiplier);
    e.top = y - away(row[2] - EDGEEMO_FIND_ZERO, grid->multiplier);
    e.right = x + away(row[3] - EDGEEMO_FIND_ZERO, grid->multiplier);
    e.bottom = y + away(row[4] - EDGEEMO_FIND_ZERO, grid->multiplier);
    return e;
}

static int64_t area(const edges *e)
{
    return (int64_t)(e->right - e->left) * (e->bottom - e->top);
}

/* Whether two faces overlap by more than EDGEEMO_FIND_OVERLAP / 256 of their union. */
static int is_same(const edges *a, const edges *b)
{
    const int32_t right = a->right < b->right ? a->right : b->right;
    const int32_t bottom = a->bottom < b->bottom ? a->bottom : b->bottom;
    const int32_t width = right - larger(a->left, b->left);
    const int32_t height = bottom - larger(a->top, b->top);
    const int64_t common = width > 0 && height > 0 ? (int64_t)width * height : 0;
    return 256 * common > EDGEEMO_FIND_OVERLAP * (area(a) + area(b) - common);
}

/* floor((2 value side + 16 n) / (32 n)); `value` may be negative. */
static int32_t to_frame(int32_t value, int32_t side, int32_t n)
{
    const int64_t above = 2 * (int64_t)value * side + 16 * n, whole = 32 * (int64_t)n;
    return (int32_t)(above >= 0 ? above / whole : -((-above + whole - 1) / whole));
}

/* The best cell that is left; -1 where none reaches the threshold. */
static int32_t best_of(const int8_t *rows)
{
    int32_t best = -1;
    for (int32_t cell = 0; cell < EDGEEMO_FIND_CELLS; ++cell) {
        if (rows[cell * ROW] >= EDGEEMO_FIND_LEAST &&
            (best < 0 || rows[cell * ROW] > rows[best * ROW])) {
            best = cell;
        }
    }
    return best;
}

/* Keeps `faces` in order, largest first; of equals the one that was found first. */
static void insert(edgeemo_face *faces, int32_t count, edgeemo_face face)
{
    int32_t i = count;
    const int64_t size = (int64_t)face.box.width * face.box.height;
    for (; i > 0 && (int64_t)faces[i - 1].box.width * faces[i - 1].box.height < size; --i) {
        faces[i] = faces[i - 1];
    }
    faces[i] = face;
}

/* The rows' faces, best first until `most` of them, in the order of their size. */
static int32_t faces_of(int8_t *rows, const region *r, edgeemo_face *faces, int32_t most)
{
    int32_t count = 0, cell;
    while (count < most && (cell = best_of(rows)) >= 0) {
        const edges best = edges_of(rows, cell);
        edgeemo_face face;
        face.score = rows[cell * ROW] - EDGEEMO_FIND_ZERO;
        face.box.x = r->left + to_frame(best.left, r->width, WIDTH);
        face.box.y = r->top + to_frame(best.top, r->height, HEIGHT);
        face.box.width = larger(1, r->left + to_frame(best.right, r->width, WIDTH) - face.box.x);
        face.box.height =
            larger(1, r->top + to_frame(best.bottom, r->height, HEIGHT) - face.box.y);
        insert(faces, count++, face);
        for (int32_t other = 0; other < EDGEEMO_FIND_CELLS; ++other) {
            if (rows[other * ROW] >= EDGEEMO_FIND_LEAST) {
                const edges e = edges_of(rows, other);
                if (other == cell || is_same(&best, &e)) {
                    rows[other * ROW] = REMOVED;
                }
            }
        }
    }
    return count;
}

int32_t edgeemo_find_in(const edgeemo_frame *frame, edgeemo_face *faces, int32_t most,
                        int8_t *arena)
{
    const edgeemo_network *network = &edgeemo_find_network;
    const edgeemo_crop as_it_is = {1024, 0, 0};
    int8_t *in = arena + network->in;
    edgeemo_box box;
    region r;
    if (!is_usable(frame)) {
        return EDGEEMO_BAD_FRAME;
    }
    box = whole_frame(frame);
    /* The pixels lie where the network reads them, and become int8 in their place. */
    if (!find_region(frame, &box, &as_it_is, &r) ||
        frame_to_input(frame, &box, &as_it_is, (uint8_t *)in) != 0) {
        return EDGEEMO_BAD_FRAME;
    }
    edgeemo_run_in_place(network, arena);
    if (most > EDGEEMO_FIND_MOST) {
        most = EDGEEMO_FIND_MOST;
    }
    return faces_of(arena + network->out, &r, faces, most);
}

int32_t edgeemo_find(const edgeemo_frame *frame, edgeemo_face *faces, int32_t most)
{
    return edgeemo_find_in(frame, faces, most, edgeemo_memory());
}
