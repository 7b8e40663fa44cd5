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

/* Whether two faces overlap by more than `share` / 256 of their union. */
static int is_same(const edges *a, const edges *b, int32_t share)
{
    const int32_t right = a->right < b->right ? a->right : b->right;
    const int32_t bottom = a->bottom < b->bottom ? a->bottom : b->bottom;
    const int32_t width = right - larger(a->left, b->left);
    const int32_t height = bottom - larger(a->top, b->top);
    const int64_t common = width > 0 && height > 0 ? (int64_t)width * height : 0;
    return 256 * common > share * (area(a) + area(b) - common);
}

/* floor((2 value side + 16 n) / (32 n)); `value` may be negative. */
static int32_t to_frame(int32_t value, int32_t side, int32_t n)
{
    const int64_t above = 2 * (int64_t)value * side + 16 * n, whole = 32 * (int64_t)n;
    return (int32_t)(above >= 0 ? above / whole : -((-above + whole - 1) / whole));
}

/* The best cell that is left; -1 where none reaches `least`. */
static int32_t best_of(const int8_t *rows, int32_t least)
{
    int32_t best = -1;
    for (int32_t cell = 0; cell < EDGEEMO_FIND_CELLS; ++cell) {
        if (rows[cell * ROW] >= least &&
            (best < 0 || rows[cell * ROW] > rows[best * ROW])) {
            best = cell;
        }
    }
    return best;
}

/* Looks at a region of the frame: its faces whose logit is at least `least`, the surest first, at
 * most `most`; where the region cannot be seen, none. */
static int32_t look(const edgeemo_frame *frame, const edgeemo_box *box, const edgeemo_crop *crop,
                    int32_t least, int8_t *arena, edgeemo_face *faces, int32_t most)
{
    const edgeemo_network *network = &edgeemo_find_network;
    int8_t *rows = arena + network->out;
    int32_t count = 0, cell;
    region r;
    /* The pixels lie where the network reads them, and become int8 in their place. */
    if (!find_region(frame, box, crop, &r) ||
        frame_to_input(frame, box, crop, (uint8_t *)(arena + network->in)) != 0) {
        return 0;
    }
    edgeemo_run_in_place(network, arena);
    while (count < most && (cell = best_of(rows, least)) >= 0) {
        const edges best = edges_of(rows, cell);
        edgeemo_face *face = &faces[count++];
        face->score = rows[cell * ROW] - EDGEEMO_FIND_ZERO;
        face->box.x = r.left + to_frame(best.left, r.width, WIDTH);
        face->box.y = r.top + to_frame(best.top, r.height, HEIGHT);
        face->box.width = larger(1, r.left + to_frame(best.right, r.width, WIDTH) - face->box.x);
        face->box.height = larger(1, r.top + to_frame(best.bottom, r.height, HEIGHT) - face->box.y);
        for (int32_t other = 0; other < EDGEEMO_FIND_CELLS; ++other) {
            if (rows[other * ROW] >= least) {
                const edges e = edges_of(rows, other);
                if (other == cell || is_same(&best, &e, EDGEEMO_FIND_OVERLAP)) {
                    rows[other * ROW] = REMOVED;
                }
            }
        }
    }
    return count;
}

static edges edges_of_box(const edgeemo_box *box)
{
    const edges e = {box->x, box->y, box->x + box->width, box->y + box->height};
    return e;
}

/* Whether the first look at the whole frame showed the candidate at least as large as a closer one
 * would. */
static int is_close(const edgeemo_box *candidate, const edgeemo_box *whole)
{
    const int64_t longer = larger(candidate->width, candidate->height);
    const int32_t side = larger(1, (int32_t)((longer * EDGEEMO_FIND_CLOSER + 512) >> 10));
    return side_of(side, WIDTH) >= side_of(larger(whole->width, whole->height), WIDTH);
}

/* A closer look at a candidate, which becomes the surest face in its place: whether there is one. */
static int is_face(const edgeemo_frame *frame, const edgeemo_box *whole, edgeemo_face *candidate,
                   int8_t *arena)
{
    const edgeemo_crop closer = {EDGEEMO_FIND_CLOSER, 0, 0};
    const edges old = edges_of_box(&candidate->box);
    edgeemo_face found[EDGEEMO_FIND_MOST];
    int32_t count;
    if (EDGEEMO_FIND_LARGE_AT_ONCE && candidate->score >= EDGEEMO_FIND_SURE - EDGEEMO_FIND_ZERO &&
        is_close(&candidate->box, whole)) {
        return 1;
    }
    count =
        look(frame, &candidate->box, &closer, EDGEEMO_FIND_SURE, arena, found, EDGEEMO_FIND_MOST);
    for (int32_t i = 0; i < count; ++i) {
        const edges e = edges_of_box(&found[i].box);
        if (is_same(&old, &e, EDGEEMO_FIND_SAME)) {
            *candidate = found[i];
            return 1;
        }
    }
    return 0;
}

/* Whether the box's middle lies in one of the faces: then it is a part of that face. */
static int is_part(const edgeemo_box *box, const edgeemo_face *faces, int32_t count)
{
    const int32_t x = 2 * box->x + box->width, y = 2 * box->y + box->height;
    for (int32_t i = 0; i < count; ++i) {
        const edgeemo_box *whole = &faces[i].box;
        if (2 * whole->x <= x && x < 2 * (whole->x + whole->width) && 2 * whole->y <= y &&
            y < 2 * (whole->y + whole->height)) {
            return 1;
        }
    }
    return 0;
}

static int64_t value_of(const edgeemo_face *face, int by_area)
{
    return by_area ? (int64_t)face->box.width * face->box.height : face->score;
}

/* Sorts by score, or by area: largest first, equals in their order. */
static void sort(edgeemo_face *faces, int32_t count, int by_area)
{
    for (int32_t i = 1; i < count; ++i) {
        const edgeemo_face face = faces[i];
        int32_t j = i;
        for (; j > 0 && value_of(&faces[j - 1], by_area) < value_of(&face, by_area); --j) {
            faces[j] = faces[j - 1];
        }
        faces[j] = face;
    }
}

/* Drops faces that overlap a surer one; `faces` come surest first. */
static int32_t distinct(edgeemo_face *faces, int32_t count)
{
    int32_t kept = 0;
    for (int32_t i = 0; i < count; ++i) {
        const edges e = edges_of_box(&faces[i].box);
        int32_t j = 0;
        for (; j < kept; ++j) {
            const edges other = edges_of_box(&faces[j].box);
            if (is_same(&other, &e, EDGEEMO_FIND_OVERLAP)) {
                break;
            }
        }
        if (j == kept) {
            faces[kept++] = faces[i];
        }
    }
    return kept;
}

int32_t edgeemo_find_in(const edgeemo_frame *frame, edgeemo_face *faces, int32_t most,
                        int8_t *arena)
{
    const edgeemo_crop as_it_is = {1024, 0, 0};
    edgeemo_face all[EDGEEMO_FIND_MOST];
    edgeemo_box box;
    int32_t count, found = 0;
    if (!is_usable(frame)) {
        return EDGEEMO_BAD_FRAME;
    }
    box = whole_frame(frame);
    count = look(frame, &box, &as_it_is, EDGEEMO_FIND_LEAST, arena, all, EDGEEMO_FIND_MOST);
    for (int32_t i = 0; i < count; ++i) {
        if (!is_part(&all[i].box, all, found) &&
            (all[i].score >= EDGEEMO_FIND_CERTAIN || is_face(frame, &box, &all[i], arena))) {
            all[found++] = all[i];
        }
    }
    sort(all, found, 0);
    found = distinct(all, found);
    sort(all, found, 1);
    found = found < most ? found : most;
    memcpy(faces, all, (size_t)found * sizeof *faces);
    return found;
}

int32_t edgeemo_find(const edgeemo_frame *frame, edgeemo_face *faces, int32_t most)
{
    return edgeemo_find_in(frame, faces, most, edgeemo_memory());
}
