/* Flash in memory, a camera with one frame, an LED that remembers; a test's main() sets them
 * through stand_ins.h. */
#include "stand_ins.h"

#include "driver/gpio.h"
#include "esp_camera.h"
#include "esp_partition.h"
#include "esp_timer.h"
#include "freertos/task.h"

#include <string.h>

static _Alignas(64) uint8_t content[2][STAND_IN_PARTITION_BYTES];
static const esp_partition_t partitions[2] = {
    {ESP_PARTITION_TYPE_DATA, 0x190000, STAND_IN_PARTITION_BYTES, 4096, "model"},
    {ESP_PARTITION_TYPE_DATA, 0x290000, STAND_IN_PARTITION_BYTES, 4096, "model_kept"},
};
int stand_in_led = -1, stand_in_mapped, stand_in_writes_left = 1 << 30;
int64_t stand_in_microseconds;
camera_fb_t *stand_in_frame;
int stand_in_frames_out;

uint8_t *stand_in_flash(int number)
{
    return content[number];
}

const esp_partition_t *esp_partition_find_first(esp_partition_type_t type,
                                                esp_partition_subtype_t subtype, const char *label)
{
    (void)subtype;
    for (int i = 0; i < 2; ++i) {
        if (partitions[i].type == type && strcmp(partitions[i].label, label) == 0) {
            return &partitions[i];
        }
    }
    return NULL;
}

esp_err_t esp_partition_mmap(const esp_partition_t *partition, size_t offset, size_t size,
                             esp_partition_mmap_memory_t memory, const void **out_ptr,
                             esp_partition_mmap_handle_t *out_handle)
{
    (void)memory;
    (void)size;
    *out_ptr = content[partition - partitions] + offset;
    *out_handle = (esp_partition_mmap_handle_t)(partition - partitions);
    ++stand_in_mapped;
    return ESP_OK;
}

void esp_partition_munmap(esp_partition_mmap_handle_t handle)
{
    (void)handle;
    --stand_in_mapped;
}

esp_err_t esp_partition_read(const esp_partition_t *partition, size_t src_offset, void *dst,
                             size_t size)
{
    memcpy(dst, content[partition - partitions] + src_offset, size);
    return ESP_OK;
}

/* Power is cut when no write is left: what remains is not written, and nothing after it. */
esp_err_t esp_partition_write(const esp_partition_t *partition, size_t dst_offset, const void *src,
                              size_t size)
{
    uint8_t *to = content[partition - partitions] + dst_offset;
    for (size_t i = 0; i < size; ++i) {
        if (stand_in_writes_left <= 0) {
            return ESP_FAIL;
        }
        --stand_in_writes_left;
        to[i] &= ((const uint8_t *)src)[i];
    }
    return ESP_OK;
}

esp_err_t esp_partition_erase_range(const esp_partition_t *partition, size_t offset, size_t size)
{
    if (offset % 4096 || size % 4096 || offset + size > partition->size) {
        return ESP_FAIL;
    }
    memset(content[partition - partitions] + offset, 0xFF, size);
    return ESP_OK;
}

int64_t esp_timer_get_time(void)
{
    return stand_in_microseconds;
}

esp_err_t esp_camera_init(const camera_config_t *config)
{
    return config->pixel_format == PIXFORMAT_RGB565 ? ESP_OK : ESP_FAIL;
}

camera_fb_t *esp_camera_fb_get(void)
{
    stand_in_frames_out += stand_in_frame != NULL;
    return stand_in_frame;
}

void esp_camera_fb_return(camera_fb_t *fb)
{
    (void)fb;
    --stand_in_frames_out;
}

esp_err_t gpio_reset_pin(gpio_num_t gpio_num)
{
    (void)gpio_num;
    return ESP_OK;
}

esp_err_t gpio_set_direction(gpio_num_t gpio_num, gpio_mode_t mode)
{
    (void)gpio_num;
    return mode == GPIO_MODE_OUTPUT ? ESP_OK : ESP_FAIL;
}

esp_err_t gpio_set_level(gpio_num_t gpio_num, uint32_t level)
{
    (void)gpio_num;
    stand_in_led = (int)level;
    return ESP_OK;
}

void vTaskDelay(TickType_t ticks)
{
    stand_in_microseconds += (int64_t)ticks * 10000;
}
