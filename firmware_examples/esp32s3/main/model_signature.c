/* SPDX-License-Identifier: MIT */
#include "model_signature.h"

#include "edgeemo_image.h"
#include "settings.h"

#include <string.h>

/* A signature's block, as edgeemo/firmware/image_signature.py writes it: magic, version, bytes of
 * the signature, id of its key, the signature in DER. */
#define BLOCK_BYTES 128U
#define MOST_BLOCKS 4U
#define ALIGNMENT 16U
#define SIGNATURE_BYTES 72U
#define KEY_BYTES 256U /* a P-256 key in PEM has 178 */

static uint32_t u32_at(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Where the first block lies; 0 as of model_signature_end. */
static size_t blocks_at(const uint8_t *data, size_t size)
{
    uint32_t bytes;
    size_t at;
    if (size < EDGEEMO_IMAGE_HEADER_BYTES || memcmp(data, "edgeemo", 8) != 0) {
        return 0;
    }
    bytes = u32_at(data + 16);
    if (bytes < EDGEEMO_IMAGE_HEADER_BYTES || bytes > size) {
        return 0;
    }
    at = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; /* no overflow: partitions are small */
    return at < size ? at : size;
}

/* The block at `at`, or NULL where there is none. */
static const uint8_t *block_at(const uint8_t *data, size_t size, size_t at)
{
    return size - at >= BLOCK_BYTES && memcmp(data + at, "edgesig", 8) == 0 ? data + at : NULL;
}

size_t model_signature_end(const uint8_t *data, size_t size)
{
    size_t at = blocks_at(data, size);
    for (uint32_t i = 0; at && i < MOST_BLOCKS && block_at(data, size, at); ++i) {
        at += BLOCK_BYTES;
    }
    return at;
}

#if SETTINGS_SIGNED_MODELS

#ifndef MODEL_KEYS_EMBEDDED
#error "SETTINGS_SIGNED_MODELS needs main/trusted_keys.pem; put it there, then: idf.py reconfigure"
#endif

#include "mbedtls/md.h"
#include "mbedtls/pk.h"

/* Put into the firmware by CMakeLists.txt, with a zero behind it. */
extern const char trusted_keys[] __asm__("_binary_trusted_keys_pem_start");

/* What is signed: these words with their zero, then the header. */
static const char signed_as[] = "edgeemo model image 1";

static const char key_begins[] = "-----BEGIN PUBLIC KEY-----";
static const char key_ends[] = "-----END PUBLIC KEY-----";

/* The key in PEM that `text` begins with, alone, as mbedtls wants it: its bytes with the zero, or 0
 * for what is no P-256 key by its length. */
static size_t copy_key(char key[KEY_BYTES], const char *text)
{
    const char *end = strstr(text, key_ends);
    const size_t size = end ? (size_t)(end - text) + sizeof key_ends - 1 : 0;
    if (!size || size >= KEY_BYTES) {
        return 0;
    }
    memcpy(key, text, size);
    key[size] = '\0';
    return size + 1;
}

static int has_signed(const char *text, const uint8_t *block, const uint8_t hash[32])
{
    char key[KEY_BYTES];
    const size_t size = copy_key(key, text);
    const uint32_t bytes = u32_at(block + 12);
    mbedtls_pk_context context;
    int signed_by_it = 0;
    if (!size || u32_at(block + 8) != 1 || bytes == 0 || bytes > SIGNATURE_BYTES) {
        return 0;
    }
    mbedtls_pk_init(&context);
    if (mbedtls_pk_parse_public_key(&context, (const unsigned char *)key, size) == 0) {
        signed_by_it =
            mbedtls_pk_verify(&context, MBEDTLS_MD_SHA256, hash, 32, block + 48, bytes) == 0;
    }
    mbedtls_pk_free(&context);
    return signed_by_it;
}

const char *model_signature_refusal(const uint8_t *data, size_t size)
{
    uint8_t message[sizeof signed_as + EDGEEMO_IMAGE_HEADER_BYTES], hash[32];
    size_t at = blocks_at(data, size);
    const uint8_t *block;
    if (!at) {
        return "no model here";
    }
    if (!block_at(data, size, at)) {
        return "not signed";
    }
    memcpy(message, signed_as, sizeof signed_as);
    memcpy(message + sizeof signed_as, data, EDGEEMO_IMAGE_HEADER_BYTES);
    if (mbedtls_md(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), message, sizeof message, hash)) {
        return "its signature cannot be checked";
    }
    for (uint32_t i = 0; i < MOST_BLOCKS && (block = block_at(data, size, at)) != NULL; ++i) {
        for (const char *key = strstr(trusted_keys, key_begins); key;
             key = strstr(key + 1, key_begins)) {
            if (has_signed(key, block, hash)) {
                return NULL;
            }
        }
        at += BLOCK_BYTES;
    }
    return "not signed by a key of trusted_keys.pem, or changed since";
}

#else

#ifdef MODEL_KEYS_EMBEDDED
#error "main/trusted_keys.pem is there: set SETTINGS_SIGNED_MODELS to 1, or take the file away"
#endif

const char *model_signature_refusal(const uint8_t *data, size_t size)
{
    (void)data;
    (void)size;
    return NULL;
}

#endif
