/* SPDX-License-Identifier: MIT */
#include "model_store.h"

#include "edgeemo_model.h"
#include "esp_log.h"
#include "esp_partition.h"
#include "model_signature.h"

#include <string.h>

#define ERASE_BYTES 4096U

static const char *const TAG = "model";

/* Whether the model may run: who signed it first, before anything else in it is read. */
static int is_good(const char *label, edgeemo_image *image, const void *data, size_t size,
                   int8_t *arena, uint32_t arena_bytes)
{
    const char *refusal = model_signature_refusal(data, size);
    edgeemo_image_error error;
    if (!refusal) {
        error = edgeemo_image_open(image, data, size, arena_bytes);
        if (error == EDGEEMO_IMAGE_OK) {
            error = edgeemo_image_selftest(image, arena);
        }
        refusal = error == EDGEEMO_IMAGE_OK ? NULL : edgeemo_image_text(error);
    }
    if (refusal) {
        ESP_LOGW(TAG, "%s: %s", label, refusal);
    }
    return !refusal;
}

/* Maps a partition, checks its model, and runs its self-test; NULL with a word why not. */
static const esp_partition_t *try_partition(const char *label, edgeemo_image *image,
                                            const void **mapped, int8_t *arena,
                                            uint32_t arena_bytes)
{
    const esp_partition_t *partition =
        esp_partition_find_first(ESP_PARTITION_TYPE_DATA, ESP_PARTITION_SUBTYPE_ANY, label);
    esp_partition_mmap_handle_t handle;
    if (!partition) {
        ESP_LOGE(TAG, "%s: no such partition in partitions.csv", label);
        return NULL;
    }
    if (esp_partition_mmap(partition, 0, partition->size, ESP_PARTITION_MMAP_DATA, mapped,
                           &handle) != ESP_OK) {
        ESP_LOGE(TAG, "%s: cannot be mapped", label);
        return NULL;
    }
    if (!is_good(label, image, *mapped, partition->size, arena, arena_bytes)) {
        esp_partition_munmap(handle);
        return NULL;
    }
    ESP_LOGI(TAG, "%s: %s %d.%d.%d is good", label, image->name, image->version[0],
             image->version[1], image->version[2]);
    return partition;
}

/* Whether `model_kept` holds these very bytes; a copy that was cut off does not. */
static int is_kept(const esp_partition_t *kept, const uint8_t *data, size_t bytes)
{
    uint8_t part[256];
    for (size_t at = 0; at < bytes; at += sizeof part) {
        const size_t size = bytes - at < sizeof part ? bytes - at : sizeof part;
        if (esp_partition_read(kept, at, part, size) != ESP_OK ||
            memcmp(part, data + at, size) != 0) {
            return 0;
        }
    }
    return 1;
}

/* Copies a model and its signatures, `bytes` in all. */
static void keep(const uint8_t *data, size_t bytes)
{
    const esp_partition_t *kept =
        esp_partition_find_first(ESP_PARTITION_TYPE_DATA, ESP_PARTITION_SUBTYPE_ANY, "model_kept");
    const size_t size = (bytes + ERASE_BYTES - 1) / ERASE_BYTES * ERASE_BYTES;
    if (!kept || size > kept->size) {
        ESP_LOGW(TAG, "model_kept: absent or too small, this model is not kept");
        return;
    }
    if (is_kept(kept, data, bytes)) {
        return;
    }
    /* The first page, with the header, is erased first and written last. */
    if (esp_partition_erase_range(kept, 0, size) != ESP_OK ||
        (bytes > ERASE_BYTES && esp_partition_write(kept, ERASE_BYTES, data + ERASE_BYTES,
                                                    bytes - ERASE_BYTES) != ESP_OK) ||
        esp_partition_write(kept, 0, data, bytes < ERASE_BYTES ? bytes : ERASE_BYTES) != ESP_OK) {
        ESP_LOGE(TAG, "model_kept: cannot be written");
    }
}

void model_store_open(model_store *store, int8_t *arena, uint32_t arena_bytes)
{
    const void *data;
    const esp_partition_t *new_one =
        try_partition("model", &store->image, &data, arena, arena_bytes);
    store->network = &store->image.network;
    if (new_one) {
        store->source = MODEL_STORE_NEW;
        keep(data, model_signature_end(data, new_one->size));
    } else if (try_partition("model_kept", &store->image, &data, arena, arena_bytes)) {
        store->source = MODEL_STORE_KEPT;
    } else {
        store->source = MODEL_STORE_BUILTIN;
        store->network = &edgeemo_builtin_network;
        ESP_LOGI(TAG, "the built-in %s %s runs", EDGEEMO_MODEL_NAME, EDGEEMO_MODEL_VERSION);
    }
}
